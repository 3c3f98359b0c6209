"""Metrics of class probabilities: accuracy, confusion matrix, calibration, confident mistakes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.statistics import wilson

BINS = 15
"""Calibration bins of equal width, as in Guo et al., ICML 2017."""

NOISE_DRAWS = 500
"""Sets of answers of a calibrated student."""

PAIRS = 5
"""How many of the most confused pairs of classes are shown."""

MISTAKES = 12
"""How many of the most confident mistakes are kept."""


@dataclass(frozen=True)
class ClassResult:
    """Results on the images of one class.

    Attributes:
        name: of the class.
        images: their number, at least 1.
        accuracy: share of them that is predicted as this class, its recall, 0..1.
        low, high: ends of its 95 % Wilson interval.
        precision: share of the images predicted as this class that are of it, 0..1; 0 if none is.
        f1: harmonic mean of recall and precision, 0..1.
    """

    name: str
    images: int
    accuracy: float
    low: float
    high: float
    precision: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence.

    Attributes:
        count: their number; the other entries are None where it is 0.
        confidence: mean probability of the predicted class, 0..1.
        accuracy: 0..1.
        low, high: ends of its 95 % Wilson interval.
    """

    count: int
    confidence: float | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy.

    Attributes:
        error: expected calibration error, 0..1: mean of |accuracy - confidence| over the images'
            bins (Guo et al., ICML 2017, eq. 3).
        confidence: mean probability of the predicted class, 0..1: overconfident above the accuracy.
        bins: bin m of M holds the confidences in ((m - 1) / M, m / M].
        noise: the error that a calibrated student with these confidences exceeds on 5 % of such
            sets of images (consistency resampling of Broecker and Smith, Weather and Forecasting
            2007).
    """

    error: float
    confidence: float
    bins: tuple[Bin, ...]
    noise: float

    @property
    def is_off(self) -> bool:
        """Whether the error is larger than the noise."""
        return self.error > self.noise


@dataclass(frozen=True)
class Mistake:
    """A misclassified image.

    Attributes:
        path: of the image; bytes that are not UTF-8 as `?`.
        label: its class.
        predicted: the predicted class.
        confidence: probability of the predicted class, 0..1.
    """

    path: str
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics on labeled images.

    Attributes:
        accuracy: top-1, 0..1.
        low, high: ends of its 95 % Wilson interval.
        images: number of labeled images.
        per_class: accuracy by class name, for the classes that occur.
        classes: the student's C class names.
        confusion: [C, C], counts of images by label (row) and predicted class (column).
        by_class: the same accuracies with intervals and counts.
        calibration: of the probabilities; None if these are unknown.
        mistakes: the most confident ones, in descending order.

    Example:
        >>> result = evaluate_student("student", "held_out")
        >>> result.accuracy, result.low, result.high
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
        """Label, predicted class and count of all confusions that occur, most frequent first."""
        pairs = [
            (self.classes[i], self.classes[j], count)
            for i, row in enumerate(self.confusion)
            for j, count in enumerate(row)
            if i != j and count
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    @property
    def majority_class_accuracy(self) -> float:
        """Accuracy of always predicting the most frequent class, 0..1."""
        return max(map(sum, self.confusion), default=0) / self.images

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the classes' accuracies, 0..1: every class counts alike."""
        return sum(row.accuracy for row in self.by_class) / max(1, len(self.by_class))

    def gain_over(self, other: Evaluation) -> tuple[float, float, float]:
        """Difference in accuracy with its 95 % interval (Newcombe, Stat. Med. 1998, method 10).

        Both count as independent samples, so for the same images the interval is conservative.
        """
        gain = self.accuracy - other.accuracy
        down = hypot(self.accuracy - self.low, other.high - other.accuracy)
        up = hypot(self.high - self.accuracy, other.accuracy - other.low)
        return gain, gain - down, gain + up


def compute_metrics(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    paths: Sequence[Path],
) -> Evaluation:
    """Metrics of probabilities [N, C] of N >= 1 images with labels [N] in 0..C-1 and paths."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = predicted == labels
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    counts = (confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0))
    by_class = tuple(
        ClassResult(
            name, count, hits / count, *wilson(hits, count),
            precision=hits / max(1, found), f1=2 * hits / (count + found),
        )
        for name, hits, count, found in zip(classes, *(c.tolist() for c in counts), strict=True)
        if count
    )  # fmt: skip
    wrong = np.flatnonzero(~correct)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    names = [os.fsencode(paths[i]).decode("utf-8", "replace") for i in worst]
    return Evaluation(
        float(correct.mean()),
        *wilson(int(correct.sum()), len(correct)),
        len(correct),
        {row.name: row.accuracy for row in by_class},
        classes,
        tuple(map(tuple, confusion.tolist())),
        by_class,
        calibrate(confidence, correct),
        tuple(
            Mistake(name, classes[labels[i]], classes[predicted[i]], float(confidence[i]))
            for name, i in zip(names, worst, strict=True)
        ),
    )


def calibrate(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Calibration:
    """Calibration of confidences [N] in 0..1, in `BINS` bins of equal width."""
    places = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins: list[Bin] = []
    error = 0.0
    for place in range(BINS):
        inside = places == place
        count, hits = int(inside.sum()), int(correct[inside].sum())
        if not count:
            bins.append(Bin(0))
            continue
        mean = float(confidence[inside].mean())
        bins.append(Bin(count, mean, hits / count, *wilson(hits, count)))
        error += abs(hits / count - mean) * count / len(correct)
    return Calibration(
        error, float(confidence.mean()), tuple(bins), _find_noise(confidence, places)
    )


def _find_noise(confidence: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    """95th percentile of the error if confidences [N], in bins [N], were chances to be right."""
    draw = np.random.default_rng(0)
    errors = [
        np.abs(np.bincount(places, confidence - (draw.random(len(places)) < confidence))).sum()
        for _ in range(NOISE_DRAWS)
    ]
    return float(np.quantile(errors, 0.95)) / len(places)
