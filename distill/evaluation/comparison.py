"""Statistics of a comparison of methods: ranking by accuracy, significance, cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.statistics import (
    Z,
    balanced_accuracy,
    paired_error,
    t_quantile,
    two_sided,
    wilson,
)

FORMAT = 1
SIGNIFICANCE = 0.05
"""Probability that any difference of a comparison is called significant where there is none."""
CLOSE = 0.01
"""Accuracy that a faster student may lack to be recommended, if it is not significantly worse."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What the students of an architecture cost.

    Attributes:
        arch: timm's name.
        milliseconds: for one image on one thread of this machine's CPU.
        megabytes: of the saved weights.
    """

    arch: str
    milliseconds: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.milliseconds:.1f} ms and {self.megabytes:.1f} MB"


@dataclass(frozen=True)
class Standing:
    """The result of one method on the images that all methods were tested on.

    Attributes:
        method: its name, with the student's where there are several students.
        accuracy: mean over the seeds, 0..1.
        low, high: ends of its 95 % interval over new images and seeds: Wilson's, of as many images
            as have its variance, that of the seeds enlarged where they are few.
        behind: accuracy of the best method minus its own.
        chance: p-value of the difference from the best method, adjusted by Holm's method for all
            pairs of methods; 1 for the best.
        seconds: training time, all its students together.
        seed_deviation: standard deviation of a student's accuracy over seeds; None for one seed.
        cost: of its students; None if it was not measured.
        balanced_accuracy: mean over the classes of its accuracy on their images, 0..1; None if
            the classes are unknown.
    """

    method: str
    accuracy: float
    low: float
    high: float
    behind: float
    chance: float
    seconds: float
    seed_deviation: float | None = None
    cost: Cost | None = None
    balanced_accuracy: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Methods on the same images, the best first.

    Attributes:
        standings: of every method.
        images: on how many images each was tested.
        folds: of the cross-validation; 0 for held-out images.
        seeds: students of each method on each fold.
        majority_class_accuracy: of always predicting the most frequent class, 0..1; None if the
            classes are unknown.

    Example:
        >>> comparison = compare_methods("imgs", ranker=ranker)
        >>> comparison.best, comparison.verdict
    """

    standings: tuple[Standing, ...]
    images: int
    folds: int
    seeds: int = 1
    majority_class_accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The comparison as `zoo compare --json` shows it."""
        words = {"best": self.best, "recommended": self.recommended, "verdict": self.verdict}
        return {"format": FORMAT, **words, **asdict(self)}

    @property
    def best(self) -> str:
        """The most accurate method."""
        return self.standings[0].method

    @property
    def recommended(self) -> str:
        """The method to ship: of the fastest student that is hardly worse than the best one.

        It lacks at most `CLOSE` of the best accuracy, and not significantly.
        """
        close = [s for s in self.standings if s.behind <= CLOSE and s.chance >= SIGNIFICANCE]
        return min(close, key=lambda s: s.cost.milliseconds if s.cost else 0.0).method

    @property
    def verdict(self) -> str:
        """The result in a few sentences; of one seed, what it says about its students only."""
        first, *others = self.standings
        beaten = [f"{s.method} by {100 * s.behind:.1f}" for s in others if s.chance < SIGNIFICANCE]
        close = [s for s in others if s.chance >= SIGNIFICANCE]
        equal = [s.method for s in close if s.behind < 0.0005]
        tied = [f"{s.method} by {100 * s.behind:.1f}" for s in close if s.behind >= 0.0005]
        kind = "method" if self.seeds > 1 else "student"
        parts = [f"Best {kind}: {first.method}, {first.accuracy:.1%}."]
        if beaten:
            parts.append(f"Significantly better than {', '.join(beaten)} points.")
        if equal:
            parts.append(f"As accurate as {', '.join(equal)}.")
        if tied:
            parts.append(f"Ahead of {', '.join(tied)} points, which is not significant.")
        parts += [*self._weigh_costs(), *self._weigh_classes()]
        if others and self.seeds == 1:
            parts.append(
                "With one seed this holds for these students: another seed may order the methods "
                "differently, so compare with --seeds 3."
            )
        return " ".join(parts)

    def _weigh_classes(self) -> list[str]:
        """Which method is best where every class counts alike, if that is another one."""
        known = [row for row in self.standings if row.balanced_accuracy is not None]
        if not known:
            return []
        fairest = max(known, key=lambda row: row.balanced_accuracy or 0.0)
        first = self.standings[0].balanced_accuracy or 0.0
        if (fairest.balanced_accuracy or 0.0) - first < CLOSE:
            return []
        return [
            f"Where every class counts alike, {fairest.method} is best: balanced accuracy "
            f"{fairest.balanced_accuracy:.1%}, {self.best} {first:.1%}."
        ]

    def _weigh_costs(self) -> list[str]:
        """What the best student costs, and what a faster one lacks; nothing for one kind of it."""
        best, faster = self.standings[0].cost, dict[str, Standing]()
        for row in self.standings:  # the first of an architecture is its most accurate
            if best and row.cost and row.cost.milliseconds < best.milliseconds:
                faster.setdefault(row.cost.arch, row)
        parts = [
            f"{row.method} needs {row.cost} instead of {best}, for {100 * row.behind:.1f} points."
            for row in faster.values()
        ]
        if parts and self.recommended != self.best:
            parts.append(f"Ship {self.recommended}: it is faster and hardly worse.")
        return parts


def compare(
    correct: Mapping[str, tuple[Bools, float]],
    *,
    folds: Sequence[int] = (),
    costs: Mapping[str, Cost] | None = None,
    labels: NDArray[np.int64] | None = None,
) -> Comparison:
    """Order methods by accuracy and test each against the best.

    `correct` has by method which of the same N images the student of each of S seeds classified
    correctly, [S, N] or [N], and the training time of all in seconds. Of equally accurate methods
    the first is the best, so put the simplest first. `folds` are the numbers of images of each fold
    of a cross-validation, one fold after the other; `labels` [N] the classes of the images.
    """
    hits = {name: np.atleast_2d(rows).astype(np.float64) for name, (rows, _) in correct.items()}
    best = max(hits, key=lambda name: hits[name].sum())
    seeds, images = hits[best].shape
    parts = np.split(np.arange(images), np.cumsum(folds)[:-1].astype(int))
    chances = _adjust(_test_pairs(hits, parts))
    standings: list[Standing] = []
    for name, rows in hits.items():
        accuracy = float(rows.mean())
        # few seeds do not know their variance: each component is as wide as its Student's t
        known = find_components(rows, parts)
        variance = sum(part * (t_quantile(freedom) / Z) ** 2 for part, freedom in known)
        count = images if not variance else min(images, accuracy * (1 - accuracy) / variance)
        deviation = float(np.sqrt(_seed_variance(rows, parts))) if seeds > 1 else None
        standings.append(
            Standing(
                name, accuracy, *wilson(accuracy * count, count),
                behind=float(hits[best].mean()) - accuracy,
                chance=1.0 if name == best else chances[frozenset((name, best))],
                seconds=correct[name][1],
                seed_deviation=deviation,
                cost=(costs or {}).get(name),
                balanced_accuracy=None if labels is None else balanced_accuracy(rows, labels),
            )
        )  # fmt: skip
    order = sorted(standings, key=lambda standing: (standing.behind, standing.method != best))
    majority = None if labels is None else float(np.bincount(labels).max() / images)
    return Comparison(tuple(order), images, len(folds), seeds, majority)


def _test_pairs(
    hits: Mapping[str, Floats], parts: Sequence[NDArray[np.int64]]
) -> dict[frozenset[str], float]:
    """p-value of each pair of methods, [S, N] hits each, alone."""
    seeds, images = next(iter(hits.values())).shape
    if seeds == 1 and len(parts) == 1:
        return {
            frozenset((one, other)): mcnemar(hits[one][0] > 0, hits[other][0] > 0)
            for one, other in combinations(hits, 2)
        }
    typical = 2 * float(np.mean([_seed_variance(rows, parts) for rows in hits.values()]))
    pairs = [hits[one] - hits[other] for one, other in combinations(hits, 2)]
    between = 0.0
    if len(parts) > 1 and pairs:
        between = float(np.mean([_fold_variance(rows, parts) for rows in pairs]))
    found: dict[frozenset[str], float] = {}
    for (one, other), differences in zip(combinations(hits, 2), pairs, strict=True):
        mean = np.abs(differences.mean())
        components = find_components(
            differences, parts, at_least=typical, folds_at_least=between, estimates=len(hits)
        )
        variance, freedom = sum_components(components)
        error = max(variance**0.5, float(paired_error(mean * images, images)))
        found[frozenset((one, other))] = two_sided(float(mean) / error, freedom)
    return found


def sum_components(components: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Their total variance, and Satterthwaite's degrees of freedom; see `find_components`."""
    total = sum(variance for variance, _ in components)
    if not total:
        return 0.0, components[0][1]
    freedom = total**2 / sum(variance**2 / known for variance, known in components)
    return total, max(1.0, freedom)


def find_components(
    rows: Floats,
    parts: Sequence[NDArray[np.int64]],
    *,
    at_least: float = 0.0,
    folds_at_least: float = 0.0,
    estimates: int = 1,
) -> list[tuple[float, float]]:
    """What the variance of the mean over new images and new seeds is the sum of.

    Each component with its degrees of freedom: of images, of seeds and of folds. Images and seeds
    are crossed: the variance is that of images plus that of students, each of which holds the
    variance of both together, which is taken out once. Students of a
    cross-validation share training images: its variance is multiplied by 1 + K / (K - 1), K folds
    (Nadeau and Bengio, Machine Learning 2003: 1/K becomes 1/K + tested/trained), or is theirs of
    the means of folds, if these differ by more than images and seeds explain.

    Rows are [S, N], hits of the students of S seeds, or differences of hits; parts the images of
    each fold, or of all. The least variances between students of different seeds, and between means
    of folds, were estimated from so many methods.
    """
    seeds, images = rows.shape
    folds = len(parts)
    means = rows.mean(axis=0)
    centers = np.concatenate([np.full(len(part), means[part].mean()) for part in parts])
    spare = max(1, images - folds)
    by_image = float(np.square(means - centers).sum()) / spare / images
    wider = 1 + folds / (folds - 1) if folds > 1 else 1.0
    components = [(wider * by_image, float(spare))]
    if seeds > 1:
        levels = np.concatenate(
            [np.repeat(rows[:, part].mean(axis=1, keepdims=True), len(part), 1) for part in parts],
            axis=1,
        )
        both = float(np.square(rows - means - levels + centers).sum()) / (seeds - 1) / spare
        students = max(_seed_variance(rows, parts), at_least)
        by_seed = max(0.0, students / (seeds * folds) - both / (seeds * images))
        components.append((wider * by_seed, float(estimates * folds * (seeds - 1))))
    if folds > 1:
        spread = max(_fold_variance(rows, parts), folds_at_least)
        explained = sum(variance for variance, _ in components)
        more = max(0.0, spread * (1 / folds + 1 / (folds - 1)) - explained)
        components.append((more, float(max(1, estimates - 1) * (folds - 1))))
    return components


def _fold_variance(rows: Floats, parts: Sequence[NDArray[np.int64]]) -> float:
    """Variance over folds of their means, [S, N]."""
    return float(np.var([rows[:, part].mean() for part in parts], ddof=1))


def _seed_variance(rows: Floats, parts: Sequence[NDArray[np.int64]]) -> float:
    """Variance over seeds of the mean of a fold, mean over the folds; 0 for one seed."""
    if len(rows) == 1:
        return 0.0
    return float(np.mean([rows[:, part].mean(axis=1).var(ddof=1) for part in parts]))


def _adjust(chances: Mapping[frozenset[str], float]) -> dict[frozenset[str], float]:
    """p-values for all pairs together (Holm, Scandinavian Journal of Statistics 1979)."""
    adjusted: dict[frozenset[str], float] = {}
    largest = 0.0
    for place, pair in enumerate(sorted(chances, key=chances.__getitem__)):
        largest = max(largest, min(1.0, (len(chances) - place) * chances[pair]))
        adjusted[pair] = largest
    return adjusted


def mcnemar(one: Bools, other: Bools) -> float:
    """Two-sided p-value of the exact McNemar test (Psychometrika 1947) of two methods' hits [N]."""
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = wins + losses
    tail = sum(comb(discordant, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**discordant)
