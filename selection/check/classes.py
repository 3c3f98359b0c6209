"""Classes that cannot be distinguished, and images that are small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from zoo.statistics import wilson

Floats = NDArray[np.float64]

APART = 0.8
"""Accuracy between two classes below which, with 95 % confidence, they count as alike."""
SMALL_SIDE = 32
"""Pixels of the shorter side below which an image is small."""
SMALL_PART = 0.25
"""Of the median shorter side: an image below it is small for its folder."""


@dataclass(frozen=True)
class AlikeClasses:
    """Two classes that the probe confuses.

    Attributes:
        one: a class.
        other: another class.
        accuracy: balanced accuracy of the choice between the two, 0.5 is chance.
        low: lower end of its 95 % interval.
        high: upper end.
        images: labeled images of both.

    Example:
        >>> AlikeClasses("flat fern", "field fern", 0.55, 0.45, 0.65, 80)
    """

    one: str
    other: str
    accuracy: float
    low: float
    high: float
    images: int


def find_alike_classes(
    probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]
) -> list[AlikeClasses]:
    """Pairs of classes that are distinguished in less than `APART` of cases, with 95 % confidence.

    Args:
        probabilities: [L, C], by a probe that did not see the image's label.
        labels: [L].
        classes: C names.

    Returns:
        The pairs, the most alike first.
    """
    found: list[AlikeClasses] = []
    members = [probabilities[labels == label] for label in range(len(classes))]
    for a, b in combinations(range(len(classes)), 2):
        one, other = members[a], members[b]
        counts = len(one), len(other)
        if not all(counts):
            continue
        right = (one[:, a] >= one[:, b]).mean(), (other[:, a] < other[:, b]).mean()
        accuracy = float(sum(right)) / 2
        # as many images of one class as give the variance of the mean of both
        effective = 4 * counts[0] * counts[1] / sum(counts)
        low, high = wilson(accuracy * effective, effective)
        if high < APART:
            pair = AlikeClasses(classes[a], classes[b], accuracy, low, high, sum(counts))
            found.append(pair)
    return sorted(found, key=lambda pair: (pair.accuracy, pair.one, pair.other))


def find_small(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of images that are small, and smaller than most images of the folder.

    Args:
        sides: [N], shorter sides in pixels.
    """
    median = float(np.median(sides)) if len(sides) else 0.0
    small = (sides < SMALL_SIDE) & (sides < median / 2) | (sides < SMALL_PART * median)
    rows = np.flatnonzero(small)
    return rows[np.argsort(sides[rows], kind="stable")]
