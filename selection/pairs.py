"""Pairs of images by distance: are pairs of one class nearer than pairs of two?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pairs:
    """The M = N (N - 1) / 2 pairs of N images, the nearest first.

    Attributes:
        first: [M] row number of one image.
        second: [M] row number of the other.
        runs: [T] where each run of equal distances starts; T = M without ties.
        same: [S] numbers of the pairs that are of one class.
        same_run: [S] the run that each of them belongs to.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    runs: NDArray[np.intp]
    same: NDArray[np.intp]
    same_run: NDArray[np.intp]


def sort_pairs(distances: NDArray[np.float64], labels: NDArray[np.int64]) -> Pairs:
    """Sort all pairs by distance, O(N^2 log N) time and about 50 N^2 bytes.

    Args:
        distances: [N, N], symmetric.
        labels: [N].
    """
    first, second = np.triu_indices(len(labels), k=1)
    flat = distances[first, second]
    order = flat.argsort(kind="stable")
    first, second, flat = first[order], second[order], flat[order]
    runs = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    same = np.flatnonzero(labels[first] == labels[second])
    return Pairs(first, second, runs, same, runs.searchsorted(same, side="right") - 1)


def correlate(pairs: Pairs, counts: NDArray[np.float64]) -> float:
    """Spearman correlation of distance with "two classes", from -1 to 1, in O(M).

    The second variable takes two values, so Spearman reduces to
    (2 AUC - 1) sqrt(3 q (1 - q) / (1 - sum t^3)): AUC = P(same < different) + P(equal) / 2,
    q the share of same-class pairs, t the share of pairs in each run of equal distances.

    Args:
        pairs: at least one of one class and one of two, with counts above 0.
        counts: [N] how often each image was drawn; an image makes no pair with its own copy.
    """
    weights = counts[pairs.first] * counts[pairs.second]
    alike = weights[pairs.same]
    if len(pairs.runs) < len(weights):
        weights = np.add.reduceat(weights, pairs.runs)
    seen = weights.cumsum()
    total, q = seen[-1], alike.sum() / seen[-1]
    ties = weights / total
    spread = 1 - np.square(ties) @ ties
    if spread == 0:
        return 0.0  # all distances are equal, so AUC is 1/2
    ranks = seen[pairs.same_run] - weights[pairs.same_run] / 2
    advantage = (1 - 2 * (alike @ ranks) / alike.sum() / total) / (1 - q)
    return float(advantage * np.sqrt(3 * q * (1 - q) / spread))
