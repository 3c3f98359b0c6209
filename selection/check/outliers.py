"""Outliers: images that are unlike all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.index import find_nearest, unit_rows

Floats = NDArray[np.float64]

NEIGHBORS = 5
"""Nearest images, whose mean cosine says how usual an image is."""
FENCE = 3.0
"""Interquartile ranges above the upper quartile (Tukey, 1977: far out)."""
LEAST = 20
"""Of fewer images none is called unusual."""


def find_outliers(rows: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The images that are far from their nearest neighbors.

    Args:
        rows: [N, R], features.

    Returns:
        Row numbers, the farthest first, and the distance of all images [N]: 1 minus the mean
        cosine of the `NEIGHBORS` nearest.
    """
    if len(rows) < LEAST:
        return np.empty(0, dtype=np.int64), np.zeros(len(rows))
    near = find_nearest(rows.astype(np.float32), NEIGHBORS)
    unit = unit_rows(rows)
    far = 1 - np.einsum("nr,nkr->nk", unit, unit[near]).mean(axis=1).astype(np.float64)
    low, high = np.quantile(far, [0.25, 0.75])
    outside = np.flatnonzero(far > high + FENCE * (high - low))
    return outside[np.argsort(-far[outside], kind="stable")], far
