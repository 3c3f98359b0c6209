"""Subsamples and permutations of a score: its standard error, and what chance would score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics import HIT_RATES, METRICS, SCORERS
from selection.metrics.checks import Floats, Labels, Scorer, check_input
from zoo.errors import RankingError
from zoo.features.store import Features
from zoo.statistics import t_quantile, wilson

PAIRS = 30
"""Pairs of subsamples."""
PERMUTATIONS = 19
"""So many that 5 % of all orders, the true one included, is a whole number."""
HALVED = HIT_RATES | {"parc"}
"""Metrics that are steps or ranks, not smooth functions of the features: half is left out."""
QUARTER = 0.25
"""What is left out for smooth metrics."""
EXCESS = {"parc": 1.5}
"""By how much the variance of a half is more than twice that of the whole: PARC averages pairs,
and the variance of products of two errors falls with the square of their number. Simulated
(docs/metrics.md)."""


def measure(
    metric: str, features: Features, labels: Labels, *, resamples: int = PAIRS, seed: int = 0
) -> tuple[float, Floats, Floats]:
    """The score of a teacher, with its subsamples and its scores for permuted labels.

    Two subsamples of each class that leave out different images are scored. Half of the squared
    difference of two disjoint halves has exactly the variance of the score of a half in
    expectation, whatever the metric; half of that is the variance of the whole where variances fall
    with the number of images. A smooth metric is biased in other ways with half of its labels
    (LogME fits them all), so that a quarter is left out: the less smooth a statistic is, the more
    must be (Shao and Wu, Annals of Statistics 1989). Copies of an image, which the bootstrap draws,
    would count as agreement. Every teacher gets the same draws, so that differences between
    teachers can be compared draw by draw.

    Returns:
        The score; one number about it per pair, `resamples` of them, whose standard deviation is
        its standard error; and the permutations. The latter two may be empty, or hold NaN where the
        labels that were kept could not be scored.

    Raises:
        RankingError: the teacher cannot be scored.
    """
    rng = np.random.default_rng(seed)
    known = labels[check_input(features, labels)]
    scorer = prepare(metric, features, labels)
    value = scorer(known)
    kept, widths = draw_pairs(metric, known, rng, resamples)
    scores = np.array([[scorer(np.where(one, known, -1)) for one in pair] for pair in kept])
    permutations = [scorer(rng.permutation(known)) for _ in range(min(resamples, PERMUTATIONS))]
    apart = np.diff(scores.reshape(-1, 2))[:, 0] / 2
    subsamples = value + apart / widths / np.sqrt(EXCESS.get(metric, 1.0))
    return value, subsamples, np.array(permutations)


def prepare(metric: str, features: Features, labels: Labels) -> Scorer:
    """A scorer of the metric, which gives NaN for labels that cannot be scored.

    Images that are left out are as good as not there; of metrics in SCORERS they keep their part in
    what is prepared once.
    """
    labeled = np.flatnonzero(labels >= 0)
    prepared = SCORERS[metric](features, labels) if metric in SCORERS else None

    def score(known: Labels) -> float:
        if prepared:
            return prepared(known)
        changed = labels.copy()
        changed[labeled] = known
        there = np.delete(np.arange(len(labels)), labeled[known < 0])
        return METRICS[metric](features.rows(there), changed[there])

    first = score(labels[labeled])  # raises what makes the teacher fail

    def score_again(known: Labels) -> float:
        if np.array_equal(known, labels[labeled]):
            return first
        try:
            return score(known)
        except RankingError:
            return float("nan")

    return score_again


def draw_pairs(
    metric: str, labels: Labels, rng: np.random.Generator, draws: int
) -> tuple[NDArray[np.bool_], Floats]:
    """Pairs of subsamples of each class that leave out different images, and equally many.

    By metric half or a quarter of each class is left out, an image at least. Of a class of two, one
    image is left out or none; two of one class always stay, since a score needs a pair.

    Returns:
        Which images are kept [draws, 2, L], and the standard deviation of half the difference of
        two such means over the standard error of the mean of all, [draws]: 1 for disjoint halves.
        No pair is returned where nothing can be left out.
    """
    part = 0.5 if metric in HALVED else QUARTER
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    counts = np.array([*map(len, classes)])
    kept = np.ones((draws, 2, len(labels)), dtype=np.bool_)
    widths: list[float] = []
    if counts.max() < 3 and np.sum(counts == 2) < 2:
        return kept[:0], np.empty(0)
    for pair in kept:
        out = _draw_out(counts, part, rng)
        while not out.any() or (counts - out).max() < 2:
            out = _draw_out(counts, part, rng)
        for members, count in zip(classes, out, strict=True):
            order = rng.permutation(members)
            pair[0, order[:count]] = pair[1, order[len(order) - count :]] = False
        widths.append(np.sqrt(len(labels) * out.sum() / 2) / (counts - out).sum())
    return kept, np.array(widths)


def _draw_out(counts: NDArray[np.intp], part: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """How many of each class are left out."""
    out = (counts * part + rng.random(len(counts))).astype(np.intp).clip(1, counts // 2)
    return np.where(counts > 2, out, (counts == 2) * rng.integers(2, size=len(counts)))


def find_interval(
    metric: str, score: float, subsamples: Floats, labels: Labels
) -> tuple[float, float] | None:
    """95 % interval of a score, by Student's t; None where no error is known.

    Its degrees of freedom are L - C, or the pairs of subsamples (of `measure`) where these are
    fewer; a rank, which looks for the largest of many differences, needs fewer (`scoring.KNOWN`).
    The interval of a fraction of images is no narrower than Wilson's, and stays in 0..1.
    """
    known = labels[labels >= 0]
    if not len(subsamples):
        return None
    freedom = max(1, min(len(known) - len(np.unique(known)), len(subsamples)))
    reach = t_quantile(freedom) * standard_error(subsamples)
    low, high = score - reach, score + reach
    if metric in HIT_RATES:
        least, most = wilson(score * len(known), len(known))
        low, high = max(0.0, min(low, least)), min(1.0, max(high, most))
    return (low, high) if low < high else None


def standard_error(subsamples: Floats) -> float:
    """Standard deviation of the subsamples that were scored; 0 where half or fewer were."""
    known = subsamples[np.isfinite(subsamples)]
    return float(known.std(ddof=1)) if len(known) > max(1, len(subsamples) // 2) else 0.0
