"""Metrics that need no labels, but all teachers at once: weaker than those with labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from selection.index import find_centers, find_nearest, unit_rows
from zoo.features.linear_probe import softmax
from zoo.features.store import Features

NEIGHBORS = 10


def agreement(
    features: Mapping[str, Features], controls: Mapping[str, Features] = {}
) -> dict[str, float]:
    """How far a teacher's nearest neighbors are those of the other teachers, from 0 to 1.

    Mean over images and over the other teachers of the share of common nearest neighbors, k = 10
    by cosine; chance is k / (N - 1). Mutual k-nearest-neighbor alignment of Huh et al., ICML 2024,
    here as a vote of networks trained on different data, in which controls are scored but have no
    vote. Fails where the features of most teachers lack what the task is about: the majority wins.
    O(T N^2 D + T^2 N k) for T teachers.
    """
    found = {
        name: find_nearest(one.embeddings, k=min(NEIGHBORS, len(one) - 1))
        for name, one in {**features, **controls}.items()
    }
    shared = {
        name: [_overlap(mine, found[other]) for other in features if other != name]
        for name, mine in found.items()
    }
    return {name: float(np.mean(each)) if each else 0.0 for name, each in shared.items()}


def clusters(
    features: Mapping[str, Features], controls: Mapping[str, Features] = {}
) -> dict[str, float]:
    """How well a teacher's features fall into clusters, from 0 to 1; chance is near 0.

    Mean cosine of an image to the nearest of 10 k-means centers, less the same after shuffling each
    column of the features. Fails where the clusters are not the classes of the task, which cannot
    be checked without labels. O(T N D) per step of k-means.
    """
    found: dict[str, float] = {}
    for name, one in {**features, **controls}.items():
        rows = one.embeddings - one.embeddings.mean(axis=0)
        shuffled = np.random.default_rng(0).permuted(rows, axis=0)
        found[name] = max(0.0, _cohesion(rows) - _cohesion(shuffled))
    return found


def confidence(
    features: Mapping[str, Features], controls: Mapping[str, Features] = {}
) -> dict[str, float]:
    """Mean largest class probability of a teacher, from 1/K to 1, rescaled to 0..1.

    High where the images resemble the training data of a teacher. Fails for teachers that are badly
    calibrated or have many classes. Teachers without classes get 0. O(N K).
    """
    return {name: _mean_confidence(one) for name, one in {**features, **controls}.items()}


def _overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float((one[:, :, None] == other[:, None, :]).any(axis=2).mean())


def _cohesion(rows: NDArray[np.float32]) -> float:
    unit = unit_rows(rows)
    centers = find_centers(unit, max(2, min(10, len(rows) // 4)))
    return float((unit @ centers.T).max(axis=1).mean())


def _mean_confidence(features: Features) -> float:
    classes = features.logits.shape[1]
    if classes < 2:
        return 0.0
    largest = float(softmax(features.logits.astype(np.float64)).max(axis=1).mean())
    return (largest - 1 / classes) / (1 - 1 / classes)
