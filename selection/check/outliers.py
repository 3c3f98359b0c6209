"""Outliers: images whose features are far from those of all others, and images that are small."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import Standardization
from zoo.features.store import Features

Floats = NDArray[np.float64]

FENCE = 3.0
"""Interquartile ranges above the upper quartile: far out (Tukey, 1977)."""
LEAST = 20
"""Of fewer images none is called an outlier."""
SMALL_SIDE = 32
"""Pixels of the shorter side below which an image is small."""
SMALL_PART = 0.25
"""Of the median shorter side: an image below it is small for its folder."""


def measure_distances(features: Mapping[str, Features], shares: Mapping[str, float]) -> Floats:
    """How far each image is from the mean of all, [N]: squared deviations, 1 on average.

    The Mahalanobis distance with a diagonal covariance, squared and divided by the number of
    features; the mean of the teachers, by share. It finds foreign images better than the distance
    to the nearest neighbors, because a few foreign images are near each other.
    """
    return sum(
        (
            share * Standardization.of(features[name].embeddings).mean_squares()
            for name, share in shares.items()
        ),
        np.zeros(len(next(iter(features.values())))),
    )


def find_outliers(distances: Floats) -> NDArray[np.int64]:
    """Rows of the images that are farther than usual, the farthest first."""
    if len(distances) < LEAST:
        return np.empty(0, dtype=np.int64)
    low, high = np.quantile(distances, [0.25, 0.75])
    outside = np.flatnonzero(distances > high + FENCE * (high - low))
    return outside[np.argsort(-distances[outside], kind="stable")]


def find_small(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of images that are small, and smaller than most of the folder, by shorter sides [N]."""
    median = float(np.median(sides)) if len(sides) else 0.0
    small = (sides < SMALL_SIDE) & (sides < median / 2) | (sides < SMALL_PART * median)
    rows = np.flatnonzero(small)
    return rows[np.argsort(sides[rows], kind="stable")]
