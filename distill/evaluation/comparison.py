"""Which of several students to ship, and whether their difference is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.evaluate import wilson
from zoo.errors import ImagesError
from zoo.features.linear_probe import assign_folds
from zoo.images.folder import Images

FORMAT = 1
SURE = 0.05
"""A difference that chance makes less often than this is no noise."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Standing:
    """How a method did on the images that all methods were tested on.

    Attributes:
        method: its name.
        accuracy: 0..1.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
        behind: accuracy of the best method less its own.
        chance: how often two equally good methods would differ at least so much from each other
            (exact McNemar test); 1 for the best.
        seconds: of training, all its students together.
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
    """

    standings: tuple[Standing, ...]
    images: int
    folds: int

    def to_json(self) -> dict[str, Any]:
        """The comparison as `zoo compare --json` shows it."""
        return {"format": FORMAT, "best": self.best, "verdict": self.verdict, **asdict(self)}

    @property
    def best(self) -> str:
        """The method to ship: of those that chance may have parted, the most accurate."""
        return self.standings[0].method

    @property
    def verdict(self) -> str:
        """What to do, in words."""
        first, *others = self.standings
        beaten = [f"{s.method} by {100 * s.behind:.1f}" for s in others if s.chance < SURE]
        alike = [f"{s.method} ({100 * s.behind:.1f})" for s in others if s.chance >= SURE]
        words = [f"Ship {first.method}: {first.accuracy:.1%}."]
        if beaten:
            words.append(f"It beats {', '.join(beaten)} points, which is more than noise.")
        if alike:
            words.append(f"Its lead over {', '.join(alike)} points may be noise.")
        return " ".join(words)


def compare(found: Mapping[str, tuple[Bools, float]], *, folds: int = 0) -> Comparison:
    """Order methods by accuracy and test each against the best.

    Args:
        found: by method, [N], which of the same N images it classified rightly, and the seconds
            of its training.
        folds: of the cross-validation that made the hits; 0 for held-out images.
    """
    # of equally good ones the first named, so name the simplest first
    best = max(found, key=lambda name: found[name][0].sum())
    top = found[best][0]
    standings: list[Standing] = []
    for name, (right, seconds) in found.items():
        low, high = wilson(int(right.sum()), len(top))
        accuracy, behind = float(right.mean()), float(top.mean() - right.mean())
        chance = mcnemar(top, right)
        standings.append(Standing(name, accuracy, low, high, behind, chance, seconds))
    order = sorted(standings, key=lambda standing: (standing.behind, standing.method != best))
    return Comparison(tuple(order), len(top), folds)


def mcnemar(one: Bools, other: Bools) -> float:
    """Two-sided p-value of the exact McNemar test: hits [N] of two methods on the same images.

    Only images that one alone got right count; each is the toss of a fair coin if both are
    equally good (McNemar, Psychometrika 1947; the exact binomial form).
    """
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    tosses = wins + losses
    tail = sum(comb(tosses, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**tosses)


def divide(
    images: Images, test: Images | None, folds: int
) -> tuple[list[tuple[Images, Images]], int]:
    """Images to teach with and to test on, of each student of a method; and how many folds.

    With held-out images there is one student, and no fold.

    Raises:
        ImagesError: see `split`.
    """
    return ([(images, test)], 0) if test else (split(images, folds), folds)


def split(images: Images, folds: int) -> list[tuple[Images, Images]]:
    """Images to teach with and images to test on, for each fold of the labeled ones.

    Each fold holds every so-manieth labeled image of each class; unlabeled images are always
    among those to teach with.

    Raises:
        ImagesError: a class is too small to be in every fold's teaching.
    """
    known = np.flatnonzero(images.labels >= 0)
    counts = np.bincount(images.labels[known], minlength=len(images.classes))
    if counts.min() < 3:
        name = images.classes[int(counts.argmin())]
        raise ImagesError(
            f"Class {name!r} in {images.root} has {counts.min()} labeled images, and comparing "
            "by cross-validation needs 3: label more, or pass --test."
        )
    dealt: list[Sequence[NDArray[np.int64]]] = [[] for _ in range(folds)]
    for turn, fold in enumerate(assign_folds(images.labels[known])):
        dealt[turn % folds] = [*dealt[turn % folds], known[fold]]
    held = [np.sort(np.concatenate(rows)) for rows in dealt]
    everyone = np.arange(len(images))
    return [(images.subset(np.setdiff1d(everyone, rows)), images.subset(rows)) for rows in held]
