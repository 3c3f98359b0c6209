"""What to label next: images whose labels would make a probe surer of many unsure images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STRENGTH = 0.3
"""Of the ridge, as `fit_ridge` takes it."""
MOST = 5000
"""Unlabeled images to choose from; of more a random part."""


def choose_next(
    rows: Floats, labels: NDArray[np.int64], unsure: Floats, count: int, seed: int = 0
) -> NDArray[np.int64]:
    """The unlabeled images to label next, the most useful first.

    Uncertainty times diversity, as optimal design has it (V-optimality: Fedorov, 1972): an image is
    worth the variance that knowing its label takes from ridge regression, summed over the unlabeled
    images and weighted by how unsure the probe is of each. An image like one that is labeled or
    chosen already is worth little, and so is one that no other is like.

    Args:
        rows: [N, R], features of all images.
        labels: [N], -1 for unlabeled.
        unsure: [N], probability that the probe is wrong.
        count: images to choose; all unlabeled ones if there are fewer.
        seed: of the part of a large pool.

    Returns:
        Row numbers [min(count, unlabeled)].

    Example:
        >>> rows = np.eye(4)
        >>> choose_next(rows, np.array([0, 1, -1, -1]), np.array([0, 0, 0.1, 0.5]), 1).tolist()
        [3]
    """
    pool = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(labels < 0))[:MOST])
    mean = rows.mean(axis=0)
    known: Floats = rows[labels >= 0] - mean
    others: Floats = rows[pool] - mean
    variance = np.einsum("nr,nr->", rows, rows) / len(rows) - mean @ mean
    noise = float(STRENGTH * variance)
    gram = known.T @ known
    system = gram / noise + np.eye(len(gram))
    # times the covariance of the weights, from which each choice takes a part of rank 1 away
    reach = np.linalg.solve(system, others.T).T
    weighted = reach @ ((others * unsure[pool, None]).T @ others)
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        left = noise + (reach * others).sum(axis=1)
        gain = (weighted * reach).sum(axis=1) / left
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        part = (reach @ others[best] / left[best])[:, None]
        weighted = weighted - part * weighted[best]
        reach = reach - part * reach[best]
    return pool[chosen]
