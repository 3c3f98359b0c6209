"""Pairs of images by distance: are pairs of one class nearer than pairs of two?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 4_000_000
"""Pairs that are looked at, at most: all of 2,829 images. Of more images so many are drawn, evenly
and with replacement. The score stays unbiased; its standard error, measured by
`tests/bench_metrics.py --large`, is below 0.001 for 100 equal classes."""

Scorer = Callable[[NDArray[np.int64]], Callable[[NDArray[np.float64]], float]]
"""Given labels [L], the score of a resample that holds image i counts[i] times, counts [L]."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """M pairs of L images, the nearest first.

    Attributes:
        first: [M] row number of one image.
        second: [M] row number of the other.
        runs: [T] where each run of equal distances starts; T = M without ties.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    runs: NDArray[np.intp]


def sort_pairs(rows: NDArray[np.float64], *, most: int = MOST, seed: int = 0) -> Pairs:
    """Sort pairs of images by 1 - the product of their rows; O(M log M) for M pairs.

    Args:
        rows: [L, R], of length 1.
        most: pairs to look at; of more than these so many are drawn.
        seed: of that draw.
    """
    count = len(rows)
    if count * (count - 1) // 2 <= most:
        first, second = np.triu_indices(count, k=1)
        near = (rows @ rows.T)[first, second]
    else:
        draw = np.random.default_rng(seed)
        first = draw.integers(0, count, most)
        second = (first + draw.integers(1, count, most)) % count
        near = np.concatenate(
            [
                np.einsum("ij,ij->i", rows[one], rows[other])
                for one, other in zip(
                    np.array_split(first, 32), np.array_split(second, 32), strict=True
                )
            ]
        )
    # rounding lets duplicates of an image tie, whatever the order of the sums
    far = (1 - near).round(10)
    order = far.argsort()
    first, second, far = first[order], second[order], far[order]
    return Pairs(first, second, np.flatnonzero(np.r_[True, far[1:] != far[:-1]]))


def correlate(pairs: Pairs) -> Scorer:
    """Spearman correlation of distance with "two classes", from -1 to 1, in O(M) a resample.

    The second variable takes two values, so Spearman reduces to
    (2 AUC - 1) sqrt(3 q (1 - q) / (1 - sum t^3)): AUC = P(same < different) + P(equal) / 2,
    q the share of same-class pairs, t the share of pairs in each run of equal distances. An image
    makes no pair with its own copy.
    """

    def label(labels: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], float]:
        same = np.flatnonzero(labels[pairs.first] == labels[pairs.second])
        same_run = pairs.runs.searchsorted(same, side="right") - 1

        def score(counts: NDArray[np.float64]) -> float:
            weights = counts[pairs.first] * counts[pairs.second]
            alike = weights[same]
            if len(pairs.runs) < len(weights):
                weights = np.add.reduceat(weights, pairs.runs)
            seen = weights.cumsum()
            total, q = seen[-1], alike.sum() / seen[-1]
            ties = weights / total
            spread = 1 - np.square(ties) @ ties
            if spread == 0 or not 0 < q < 1:
                return 0.0  # all distances are equal, or one kind of pair was not drawn
            ranks = seen[same_run] - weights[same_run] / 2
            advantage = (1 - 2 * (alike @ ranks) / alike.sum() / total) / (1 - q)
            return float(advantage * np.sqrt(3 * q * (1 - q) / spread))

        return score

    return label
