"""PARC: are pairs of images of one class nearer than pairs of two classes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, Scorer, check_input
from zoo.errors import RankingError
from zoo.features.linear_probe import decompose
from zoo.features.store import Features

MOST = 16_000_000
"""Pairs at most: all of 5,657 images. Of more images so many are drawn with replacement: the score
stays unbiased."""

SORTED = 1_000_000
"""Pairs up to which distances are compared to ten digits, by sorting."""

STEPS = 1 << 20
"""Of more pairs, the steps to which distances 0 to 2 are rounded. Pairs within a step tie, which
moves a score by 1e-9, and by less than 1e-6 where thousands of copies tie."""

BLOCK = 256
"""Images whose products with all others are one matrix product."""


def parc(features: Features, labels: Labels) -> float:
    """Pairwise annotation representation comparison, from -1 to 1; chance is 0.

    Spearman correlation of two distances over all pairs of labeled images: 1 - Pearson between
    their rows of 32 standardized principal components, and whether their labels differ (PARC of
    Bolya et al., NeurIPS 2021, who multiply by 100); `correlate` has the formula. The ceiling
    sqrt(3 q (1 - q)), q the share of same-class pairs, is 0.87 for two classes, 0.52 for 10 and
    0.10 for 200: compare teachers within a target, not targets.

    The projection is fitted on all rows, labeled or not; without unlabeled rows this is the
    published form. That form fails with few labels: N images standardized in N - 1 directions are
    all equally far. O(N D min(N, D) + M) for M pairs, at most MOST.

    Example:
        >>> labels = np.arange(8) % 2
        >>> rows = np.random.default_rng(0).normal(size=(8, 4)) + 9 * np.eye(2, 4)[labels]
        >>> round(parc(Features(rows.astype(np.float32), np.empty((8, 0))), labels), 2)
        0.27
    """
    return prepare_parc(features, labels)(labels[labels >= 0])


def prepare_parc(features: Features, labels: Labels) -> Scorer:
    """Images are compared once; those that are left out help to fit the projection."""
    labeled = check_input(features, labels)
    rows = decompose(features.embeddings, 32)[0] * np.sqrt(len(labels))
    if rows.shape[1] < 2:
        raise RankingError("its features vary in one direction only")
    rows = rows[labeled] - rows[labeled].mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() < 1e-6:
        raise RankingError("its principal components are constant for an image")
    pairs = compare_pairs(rows / lengths)
    if not np.ptp(pairs.steps):
        raise RankingError("its features put every pair of images equally far apart")
    return correlate(pairs)


@dataclass(frozen=True, eq=False)
class Pairs:
    """M pairs of L images, by their row numbers [M].

    `steps` [M] is how far apart they are, from 0; equal where the distances tie.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    steps: NDArray[np.intp]


def compare_pairs(rows: Floats, *, most: int = MOST, seed: int = 0) -> Pairs:
    """Order pairs of images by 1 - the product of their rows [L, R] of length 1.

    Of more than so many pairs, so many are drawn.
    """
    count = len(rows)
    if count * (count - 1) // 2 <= most:
        places = np.arange(count)
        first = np.repeat(places, places[::-1])
        second = np.concatenate([places[row + 1 :] for row in range(count)])
        near = np.concatenate(
            [
                line[place + 1 :]
                for begin in range(0, count, BLOCK)
                for place, line in enumerate(rows[begin : begin + BLOCK] @ rows[begin:].T)
            ]
        )
    else:
        draw = np.random.default_rng(seed)
        first = draw.integers(0, count, most)
        second = (first + draw.integers(1, count, most)) % count
        parts = [np.array_split(each, 1 + most // 100_000) for each in (first, second)]
        near = np.concatenate(
            [np.einsum("ij,ij->i", rows[a], rows[b]) for a, b in zip(*parts, strict=True)]
        )
    return Pairs(first, second, _number(np.subtract(1, near, out=near)))


def _number(far: Floats) -> NDArray[np.intp]:
    """Number distances in ascending order, in their own memory; an image and its copy tie."""
    if len(far) <= SORTED:
        return np.unique(far.round(10), return_inverse=True)[1]
    far *= STEPS / 2
    return np.rint(far, out=far).astype(np.intp)


def correlate(pairs: Pairs) -> Scorer:
    """Spearman correlation of distance with "two classes", from -1 to 1, in O(M).

    The second variable takes two values, so Spearman reduces to
    (2 AUC - 1) sqrt(3 q (1 - q) / (1 - sum t^3)): AUC = P(same < different) + P(equal) / 2,
    q the share of same-class pairs, t the share of pairs at each distance. Nothing is sorted: the
    ranks are the running sum of a histogram.
    """

    def score(labels: Labels) -> float:
        kept = labels >= 0
        both = slice(None) if kept.all() else kept[pairs.first] & kept[pairs.second]
        steps = pairs.steps[both]
        same = steps[labels[pairs.first[both]] == labels[pairs.second[both]]]
        ties = np.bincount(steps)
        seen = ties.cumsum()
        total, q = len(steps), len(same) / len(steps)
        spread = 1 - float(((ties / total) ** 3).sum())
        if spread == 0 or not 0 < q < 1:
            return 0.0  # all distances are equal, or there is one kind of pair only
        ranks = (seen - ties / 2)[same]
        advantage = (1 - 2 * ranks.sum() / len(same) / total) / (1 - q)
        return float(advantage * np.sqrt(3 * q * (1 - q) / spread))

    return score
