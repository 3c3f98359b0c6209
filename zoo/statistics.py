"""What intervals and tests are made of: proportions, Student's t, balanced accuracy."""

from __future__ import annotations

from functools import cache
from math import atan, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Z = 1.959964
"""Standard errors on either side that a 95 % interval spans."""


def wilson(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of the proportion `hits` of `count` (Wilson, JASA 1927).

    Both may be fractions: of as many images as have a given variance.
    """
    share = hits / count
    center = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    return max(0.0, center - half) if share else 0.0, min(1.0, center + half) if share < 1 else 1.0


def paired_error(differ: Floats, count: int) -> Floats:
    """Least standard error of the difference of two fractions of the same `count` images.

    On `differ` images, at least, they differ. With one image more that differs each way, as for
    intervals of paired proportions (Agresti and Min, Statistics in Medicine 2005), no few images in
    a row make a difference certain.
    """
    total = count + 2
    return np.sqrt((differ + 2) - differ**2 / total) / total


def two_sided(t: float, freedom: float) -> float:
    """Probability that Student's t is as far from 0 as `t`, to about five digits.

    With t = sqrt(freedom) tan(angle) the density is cos(angle)^(freedom - 1), up to a factor; a
    dozen deviations further nothing is left of it. There is one degree of freedom at least.
    """
    start, deviation = atan(abs(t) / sqrt(freedom)), 1 / sqrt(freedom)
    tail, whole = (
        (end - begin) * float(np.mean(heights[1:] + heights[:-1]))  # twice the area
        for begin in (start, 0.0)
        for end in [min(pi / 2, begin + 12 * deviation)]
        for heights in [np.cos(np.linspace(begin, end, 4001)) ** (freedom - 1)]
    )
    return min(1.0, tail / whole)


@cache
def t_quantile(freedom: float, outside: float = 0.05) -> float:
    """Standard errors on either side that leave out a probability, by Student's t.

    On both sides together they leave out 0.0001 to 1; there is one degree of freedom at least.
    """
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > outside else (low, middle)
    return high


def balanced_accuracy(
    right: NDArray[np.floating] | NDArray[np.bool_], labels: NDArray[np.int64]
) -> float:
    """Mean over the classes of the share of their images that is right, or how often, [..., N]."""
    return float(np.mean([right[..., labels == label].mean() for label in np.unique(labels)]))
