"""Rank teachers without any label: weaker than with labels, and the output says so.

To add a score, write a function of all teachers' features and name it in UNLABELED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from selection.index import find_centers, find_nearest, unit_rows
from zoo.features.store import Features

NEIGHBORS = 10

Score = Callable[[Mapping[str, Features]], dict[str, float]]


def agreement(features: Mapping[str, Features]) -> dict[str, float]:
    """How far a teacher's neighbors are those that the other teachers see, from 0 to 1.

    Mean over images and over the other teachers of the share of common nearest neighbors, k = 10
    by cosine; chance is k / (N - 1). What several networks that learned from different data agree
    on is in the images (mutual k-nearest-neighbor alignment of Huh et al., ICML 2024, here as a
    vote). Fails where most of the zoo is blind to what the task is about: the majority wins.
    O(T N^2 D + T^2 N k) for T teachers.
    """
    found = {name: _neighbors(one) for name, one in features.items()}
    if len(found) < 2:
        return dict.fromkeys(found, 0.0)
    return {
        name: float(
            np.mean([_overlap(mine, theirs) for other, theirs in found.items() if other != name])
        )
        for name, mine in found.items()
    }


def clusters(features: Mapping[str, Features]) -> dict[str, float]:
    """How well a teacher's features fall into clusters, from 0 to 1; chance is near 0.

    Mean cosine of an image to the nearest of 10 k-means centers, less the same after shuffling each
    column of the features. A teacher whose features part the images into groups sees something in
    them; whether those are the user's classes nobody knows. O(T N D) per step of k-means.
    """
    return {name: _clusterability(one) for name, one in features.items()}


def confidence(features: Mapping[str, Features]) -> dict[str, float]:
    """Mean largest class probability of a teacher, from 1/K to 1, rescaled to 0..1.

    A teacher that is sure of its classes has seen something like the images, or is badly
    calibrated: the many-class teachers of a zoo are rarely sure. Teachers without classes get 0.
    """
    return {name: _certainty(one) for name, one in features.items()}


def _neighbors(features: Features) -> NDArray[np.int64]:
    return find_nearest(features.embeddings, k=min(NEIGHBORS, len(features) - 1))


def _overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float((one[:, :, None] == other[:, None, :]).any(axis=2).mean())


def _clusterability(features: Features) -> float:
    rows = features.embeddings - features.embeddings.mean(axis=0)
    shuffled = np.random.default_rng(0).permuted(rows, axis=0)
    return max(0.0, _cohesion(rows) - _cohesion(shuffled))


def _cohesion(rows: NDArray[np.float32]) -> float:
    unit = unit_rows(rows)
    centers = find_centers(unit, max(2, min(10, len(rows) // 4)))
    return float((unit @ centers.T).max(axis=1).mean())


def _certainty(features: Features) -> float:
    classes = features.logits.shape[1]
    if classes < 2:
        return 0.0
    scores = features.logits.astype(np.float64)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    largest = float((1 / odds.sum(axis=1)).mean())
    return (largest - 1 / classes) / (1 - 1 / classes)


UNLABELED: dict[str, Score] = {
    "agreement": agreement,
    "clusters": clusters,
    "confidence": confidence,
}
