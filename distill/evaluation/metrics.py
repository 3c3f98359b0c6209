"""What a network's probabilities say of it: accuracy, confusion, calibration, certain mistakes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of the calibration, equally wide, as in Guo et al., ICML 2017."""

PAIRS = 5
"""So many of the pairs of classes that are confused most are named."""

MISTAKES = 12
"""So many of the most certain mistakes are kept."""


@dataclass(frozen=True)
class ClassResult:
    """How a student does on the images of one class.

    Attributes:
        name: of the class.
        images: how many images of it were classified, at least 1.
        accuracy: 0..1.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
    """

    name: str
    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Images of which the student is about equally certain.

    Attributes:
        count: how many they are; the other numbers are None where there are none.
        confidence: mean probability of the class that it said.
        accuracy: how often that was right, 0..1.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
    """

    count: int
    confidence: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Whether the student is right as often as it claims.

    Attributes:
        error: expected calibration error, 0..1: mean of |accuracy - confidence| over the images'
            bins (Guo et al., ICML 2017, eq. 3).
        confidence: mean probability of what it said, 0..1: above the accuracy it is too certain.
        bins: bin m of M holds the confidences in ((m - 1) / M, m / M].
    """

    error: float
    confidence: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Mistake:
    """An image that the student took for another class.

    Attributes:
        path: of the image; bytes that are no UTF-8 as `?`.
        truth: its class.
        said: what the student took it for.
        probability: that it gave to that, 0..1.
    """

    path: str
    truth: str
    said: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """How a student does on labeled images.

    Attributes:
        accuracy: top-1, in 0..1.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
        images: how many images were classified.
        per_class: accuracy by class name, for the classes that occur.
        classes: the student's C class names.
        confusion: [C, C], images of the class of the row that were taken for that of the column.
        by_class: the same accuracies with intervals and counts.
        calibration: of its probabilities; None if they are not known.
        mistakes: those of the highest probability, the most certain first.
    """

    accuracy: float
    low: float
    high: float
    images: int
    per_class: dict[str, float]
    classes: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    by_class: tuple[ClassResult, ...] = ()
    calibration: Calibration | None = None
    mistakes: tuple[Mistake, ...] = ()

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """Truth, what it was taken for and how often, for all that occurs; most frequent first."""
        pairs = [
            (self.classes[i], self.classes[j], count)
            for i, row in enumerate(self.confusion)
            for j, count in enumerate(row)
            if i != j and count
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    @property
    def commonest(self) -> float:
        """Share of the most frequent class: what always saying that class would score; 0..1."""
        return max(map(sum, self.confusion), default=0) / self.images

    def gain_over(self, other: Evaluation) -> tuple[float, float, float]:
        """Accuracy less the other's, with a 95 % interval (Newcombe, Stat. Med. 1998, 10).

        Both count as independent samples, so for the same images the interval is a wide one.
        """
        gain = self.accuracy - other.accuracy
        down = hypot(self.accuracy - self.low, other.high - other.accuracy)
        up = hypot(self.high - self.accuracy, other.accuracy - other.low)
        return gain, gain - down, gain + up


def assess(
    probabilities: NDArray[np.float32],
    truth: NDArray[np.int64],
    classes: tuple[str, ...],
    paths: Sequence[Path],
) -> Evaluation:
    """What probabilities [N, C] say of N >= 1 images of the true classes [N], in 0..C-1.

    Args:
        probabilities: of a network; the class said is the most probable one.
        truth: index of each image's class.
        classes: C names.
        paths: [N], of the images.
    """
    said = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    hits = said == truth
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, said), 1)
    rows = zip(classes, confusion.sum(axis=1).tolist(), confusion.diagonal().tolist(), strict=True)
    by_class = tuple(
        ClassResult(name, count, right / count, *wilson(right, count))
        for name, count, right in rows
        if count
    )
    wrong = np.flatnonzero(~hits)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return Evaluation(
        float(hits.mean()),
        *wilson(int(hits.sum()), len(hits)),
        len(hits),
        {row.name: row.accuracy for row in by_class},
        classes,
        tuple(map(tuple, confusion.tolist())),
        by_class,
        calibrate(confidence, hits),
        tuple(
            Mistake(printable(paths[i]), classes[truth[i]], classes[said[i]], float(confidence[i]))
            for i in surest
        ),
    )


def calibrate(confidence: NDArray[np.float64], hits: NDArray[np.bool_]) -> Calibration:
    """Confidences [N] in 0..1 against what was right [N], in `BINS` equally wide bins."""
    places = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins: list[Bin] = []
    error = 0.0
    for place in range(BINS):
        inside = places == place
        count, right = int(inside.sum()), int(hits[inside].sum())
        if not count:
            bins.append(Bin(0))
            continue
        mean = float(confidence[inside].mean())
        bins.append(Bin(count, mean, right / count, *wilson(right, count)))
        error += abs(right / count - mean) * count / len(hits)
    return Calibration(error, float(confidence.mean()), tuple(bins))


def printable(path: Path) -> str:
    """The path as text that can be written anywhere: file names may hold any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share: `hits` of `count` (Wilson, JASA 1927)."""
    z = 1.959964
    share = hits / count
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, center - half), min(1.0, center + half)
