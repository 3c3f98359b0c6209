"""Pairs of images by distance: are pairs of one class nearer than pairs of two?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 16_000_000
"""Pairs that are looked at, at most: all of 5,657 images. Of more images so many are drawn, evenly
and with replacement. The score stays unbiased."""

SORTED = 1_000_000
"""Pairs up to which distances are told apart to ten digits, by sorting."""

STEPS = 1 << 20
"""Of more pairs, the steps from distance 0 to 2 that are told apart. Pairs within a step count as
tied, which moves a score by 1e-9, and where thousands of copies tie by less than 1e-6."""

BLOCK = 256
"""Images whose products with all others are one matrix product."""

Scorer = Callable[[NDArray[np.int64]], Callable[[NDArray[np.float64]], float]]
"""Given labels [L], the score of a resample that holds image i counts[i] times, counts [L]."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """M pairs of L images.

    Attributes:
        first: [M] row number of one image.
        second: [M] row number of the other.
        steps: [M] how far apart they are, from 0; equal where the distances tie.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    steps: NDArray[np.intp]


def compare_pairs(rows: NDArray[np.float64], *, most: int = MOST, seed: int = 0) -> Pairs:
    """Order pairs of images by 1 - the product of their rows.

    Args:
        rows: [L, R], of length 1.
        most: pairs to look at; of more than these so many are drawn.
        seed: of that draw.
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


def _number(far: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number distances in ascending order, in their own memory; an image and its copy tie."""
    if len(far) <= SORTED:
        return np.unique(far.round(10), return_inverse=True)[1]
    far *= STEPS / 2
    return np.rint(far, out=far).astype(np.intp)


def correlate(pairs: Pairs) -> Scorer:
    """Spearman correlation of distance with "two classes", from -1 to 1, in O(M) a resample.

    The second variable takes two values, so Spearman reduces to
    (2 AUC - 1) sqrt(3 q (1 - q) / (1 - sum t^3)): AUC = P(same < different) + P(equal) / 2,
    q the share of same-class pairs, t the share of pairs at each distance. Nothing is sorted: the
    ranks are the running sum of a histogram. An image makes no pair with its own copy.
    """

    def label(labels: NDArray[np.int64]) -> Callable[[NDArray[np.float64]], float]:
        same = np.flatnonzero(labels[pairs.first] == labels[pairs.second])
        same_steps = pairs.steps[same]

        def score(counts: NDArray[np.float64]) -> float:
            weights = counts[pairs.first] * counts[pairs.second]
            alike = weights[same]
            ties = np.bincount(pairs.steps, weights)
            seen = ties.cumsum()
            total, q = seen[-1], alike.sum() / seen[-1]
            spread = 1 - float(((ties / total) ** 3).sum())
            if spread == 0 or not 0 < q < 1:
                return 0.0  # all distances are equal, or one kind of pair was not drawn
            ranks = (seen - ties / 2)[same_steps]
            advantage = (1 - 2 * (alike @ ranks) / alike.sum() / total) / (1 - q)
            return float(advantage * np.sqrt(3 * q * (1 - q) / spread))

        return score

    return label
