"""Half-samples and permutations of a score: its standard error, and what chance would score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics import METRICS, SCORERS
from selection.metrics.checks import Floats, Labels, Scorer, check_input
from zoo.errors import RankingError
from zoo.features.store import Features
from zoo.statistics import t_quantile, wilson

HALVES = 40
PERMUTATIONS = 19
"""So many that 5 % of all orders, the true one included, is a whole number."""
HIT_RATES = frozenset({"knn", "linear_probe"})
"""Metrics that are a fraction of the labeled images: their error is that of a count at least."""


def measure(
    metric: str, features: Features, labels: Labels, *, resamples: int = HALVES, seed: int = 0
) -> tuple[float, Floats, Floats]:
    """The score of a teacher, with its half-samples and its scores for permuted labels.

    A half-sample keeps the labels of half of each class, drawn without replacement; the rest is
    unlabeled. The variance of such halves about their mean is that of the whole about its
    expectation (Shao and Wu, Annals of Statistics 1989). Copies of an image, which the bootstrap
    draws, would count as agreement. Every teacher gets the same draws, so that differences between
    teachers can be compared draw by draw.

    Args:
        metric: a name in METRICS.
        features: of N images.
        labels: [N], -1 for an unlabeled image.
        resamples: how many halves; 0 for none, and no permutations.
        seed: of all draws.

    Returns:
        The score; the halves, moved to it and scaled so that their standard deviation is its
        standard error; and the permutations. The latter two may be empty, or hold NaN where the
        labels that were kept could not be scored.

    Raises:
        RankingError: the teacher cannot be scored.
    """
    rng = np.random.default_rng(seed)
    known = labels[check_input(features, labels)]
    scorer = prepare(metric, features, labels)
    value = scorer(known)
    kept, width = draw_halves(known, rng, resamples)
    halves: Floats = np.array([scorer(np.where(half, known, -1)) for half in kept])
    permutations = [scorer(rng.permutation(known)) for _ in range(min(resamples, PERMUTATIONS))]
    if np.isfinite(halves).any():
        halves = value + (halves - float(np.nanmean(halves))) / width
    return value, halves, np.array(permutations)


def prepare(metric: str, features: Features, labels: Labels) -> Scorer:
    """A scorer of the metric, which gives NaN for labels that cannot be scored."""
    labeled = np.flatnonzero(labels >= 0)
    prepared = SCORERS[metric](features, labels) if metric in SCORERS else None

    def score(known: Labels) -> float:
        if prepared:
            return prepared(known)
        changed = labels.copy()
        changed[labeled] = known
        return METRICS[metric](features, changed)

    first = score(labels[labeled])  # raises what makes the teacher fail

    def score_again(known: Labels) -> float:
        if np.array_equal(known, labels[labeled]):
            return first
        try:
            return score(known)
        except RankingError:
            return float("nan")

    return score_again


def draw_halves(
    labels: Labels, rng: np.random.Generator, draws: int
) -> tuple[NDArray[np.bool_], float]:
    """Halves of each class, drawn without replacement.

    Of an odd class one image more or less is kept. Two images of every class stay, and of a class
    of two both or one of them; two of one class always do, since a score needs a pair.

    Args:
        labels: [L], classes, one of them of two images at least.
        rng: of the draws.
        draws: how many.

    Returns:
        Which images are kept [draws, L], and the standard deviation of the mean of those that are
        kept over the standard error of the mean of all: 1 for even classes. No half is returned
        where nothing can be left out.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    kept = np.zeros((draws, len(labels)), dtype=np.bool_)
    spread = 0.0
    for half in kept:
        sizes = [_draw_size(len(members), rng) for members in classes]
        while max(sizes) < 2:
            sizes = [_draw_size(len(members), rng) for members in classes]
        for members, size in zip(classes, sizes, strict=True):
            half[rng.permutation(members)[:size]] = True
            spread += len(labels) * size * (1 - size / len(members)) / sum(sizes) ** 2
    return (kept, float(np.sqrt(spread / draws))) if spread else (kept[:0], 1.0)


def _draw_size(count: int, rng: np.random.Generator) -> int:
    """How many of a class are kept."""
    if count <= 2:
        return count - int(rng.integers(count))
    return max(2, (count + int(rng.integers(2))) // 2)


def find_interval(
    metric: str, score: float, halves: Floats, labels: Labels
) -> tuple[float, float] | None:
    """95 % interval of a score, by Student's t with L - C degrees of freedom.

    That of a fraction of images is no narrower than Wilson's, and stays in 0..1.

    Args:
        metric: a name in METRICS or UNLABELED.
        score: of the teacher.
        halves: of `measure`.
        labels: [N], -1 for an unlabeled image.

    Returns:
        Its ends; None where no error is known.
    """
    known = labels[labels >= 0]
    if not len(halves):
        return None
    freedom = max(1, len(known) - len(np.unique(known)))
    reach = t_quantile(freedom) * standard_error(halves)
    low, high = score - reach, score + reach
    if metric in HIT_RATES:
        least, most = wilson(score * len(known), len(known))
        low, high = max(0.0, min(low, least)), min(1.0, max(high, most))
    return (low, high) if low < high else None


def standard_error(halves: Floats) -> float:
    """Standard deviation of the halves that could be scored; 0 where fewer than half were."""
    known = halves[np.isfinite(halves)]
    return float(known.std(ddof=1)) if len(known) > max(1, len(halves) // 2) else 0.0
