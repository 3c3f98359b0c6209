"""Statistics of a comparison of methods: ranking by accuracy, significance, cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.metrics import wilson
from zoo.errors import ImagesError
from zoo.features.linear_probe import assign_folds
from zoo.images.folder import Images

FORMAT = 1
SIGNIFICANCE = 0.05
"""Significance level: a difference with a smaller p-value counts as real."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Standing:
    """The result of one method on the images that all methods were tested on.

    Attributes:
        method: its name.
        accuracy: 0..1.
        low, high: ends of its 95 % Wilson interval.
        behind: accuracy of the best method minus its own.
        chance: p-value of the difference from the best method (exact McNemar test); 1 for the best.
        seconds: training time, all its students together.
    """

    method: str
    accuracy: float
    low: float
    high: float
    behind: float
    chance: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Methods on the same images, the best first.

    Attributes:
        standings: of every method.
        images: on how many images each was tested.
        folds: of the cross-validation; 0 for held-out images.

    Example:
        >>> comparison = compare_methods("imgs", ranker=ranker)
        >>> comparison.best, comparison.verdict
    """

    standings: tuple[Standing, ...]
    images: int
    folds: int

    def to_json(self) -> dict[str, Any]:
        """The comparison as `zoo compare --json` shows it."""
        return {"format": FORMAT, "best": self.best, "verdict": self.verdict, **asdict(self)}

    @property
    def best(self) -> str:
        """The most accurate method."""
        return self.standings[0].method

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        first, *others = self.standings
        beaten = [f"{s.method} by {100 * s.behind:.1f}" for s in others if s.chance < SIGNIFICANCE]
        tied = [f"{s.method} by {100 * s.behind:.1f}" for s in others if s.chance >= SIGNIFICANCE]
        parts = [f"Best method: {first.method}, {first.accuracy:.1%}."]
        if beaten:
            parts.append(f"Significantly better than {', '.join(beaten)} points.")
        if tied:
            parts.append(f"Ahead of {', '.join(tied)} points, which is not significant.")
        return " ".join(parts)


def compare(correct: Mapping[str, tuple[Bools, float]], *, folds: int = 0) -> Comparison:
    """Order methods by accuracy and test each against the best.

    Args:
        correct: by method, which of the same N images it classified correctly, [N], and its
            training time in seconds. Of equally accurate methods the first is the best, so put the
            simplest first.
        folds: of the cross-validation; 0 for held-out images.
    """
    best = max(correct, key=lambda name: correct[name][0].sum())
    top = correct[best][0]
    standings: list[Standing] = []
    for name, (hits, seconds) in correct.items():
        low, high = wilson(int(hits.sum()), len(top))
        accuracy, behind = float(hits.mean()), float(top.mean() - hits.mean())
        chance = mcnemar(top, hits)
        standings.append(Standing(name, accuracy, low, high, behind, chance, seconds))
    order = sorted(standings, key=lambda standing: (standing.behind, standing.method != best))
    return Comparison(tuple(order), len(top), folds)


def mcnemar(one: Bools, other: Bools) -> float:
    """Two-sided p-value of the exact McNemar test (Psychometrika 1947) of two methods.

    Args:
        one: [N], which images a method classified correctly.
        other: [N], the same of another method on the same images.
    """
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = wins + losses
    tail = sum(comb(discordant, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def divide(
    images: Images, test: Images | None, folds: int
) -> tuple[list[tuple[Images, Images]], int]:
    """Training and test images of each fold, and their number: `split`, or one with `test`."""
    return ([(images, test)], 0) if test else (split(images, folds), folds)


def split(images: Images, folds: int) -> list[tuple[Images, Images]]:
    """Training and test images of each fold of a stratified cross-validation.

    Unlabeled images are in the training set of every fold.

    Raises:
        ImagesError: a class has too few labeled images.
    """
    known = np.flatnonzero(images.labels >= 0)
    counts = np.bincount(images.labels[known], minlength=len(images.classes))
    if counts.min() < 3:
        name = images.classes[int(counts.argmin())]
        raise ImagesError(
            f"Class {name!r} in {images.root} has {counts.min()} labeled images, and "
            "cross-validation needs 3: label more, or pass --test."
        )
    if counts.max() < folds:
        raise ImagesError(
            f"{images.root} has at most {counts.max()} labeled images per class, too few for "
            f"{folds} folds: lower --folds, or pass --test."
        )
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(folds)]
    for number, part in enumerate(assign_folds(images.labels[known])):
        held[number % folds].append(known[part])
    everything = np.arange(len(images))
    tests = [np.sort(np.concatenate(rows)) for rows in held]
    return [(images.subset(np.setdiff1d(everything, rows)), images.subset(rows)) for rows in tests]
