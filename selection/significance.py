"""Which teachers differ, and which are above chance: at most 5 % of rankings claim anything wrong.

Rules for a family of comparisons hold for all of its claims together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats
from zoo.statistics import paired_error, t_quantile

LEVEL = 0.05
"""Probability that any claim of a family is wrong."""
DRAWS = 2000
"""Random rankings of equal teachers that the largest difference is compared with."""
LEAST = 20
"""Subsamples that all teachers share, without which nothing is claimed."""
BLOCK = 1 << 22
"""Numbers that are held at once."""


def find_better(
    scores: Floats,
    subsamples: Floats,
    *,
    freedom: float,
    least: Floats | float = 0.0,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Which of T teachers are significantly better than which, [T, T]: the row's than the column's.

    A difference is divided by its standard error, from the subsamples that both share. The largest
    of all pairs is compared with that of `DRAWS` rankings of equal teachers whose scores correlate
    as the subsamples do, divided by errors that are known as badly; pairs that are beyond 95 % of
    these differ. The rest is compared again without them, until nothing is added (Romano and Wolf,
    JASA 2005). Whoever is better than a teacher is better than those that it beats.

    Args:
        scores: [T].
        subsamples: [T, B] of `resampling.measure`, with the same draws for all; NaN where there is
            no score. Of a teacher with half of them or more nothing is claimed.
        freedom: degrees of freedom of the errors, at least 1; no more than B - 1 count.
        least: standard errors of differences, [T, T], that count where the subsamples show less.
        seed: of the rankings of equal teachers.
    """
    finite = np.isfinite(subsamples)
    usable = finite.mean(axis=1) > 0.5
    known = finite[usable].all(axis=0)
    first, second = np.triu_indices(len(scores), k=1)
    better = np.zeros((len(scores), len(scores)), dtype=np.bool_)
    if known.sum() < max(LEAST, subsamples.shape[1] / 2) or not len(first):
        return better
    offsets = np.where(usable[:, None], subsamples, 0.0)[:, known]
    offsets = offsets - offsets.mean(axis=1, keepdims=True)
    errors = (offsets[first] - offsets[second]).std(axis=1, ddof=1)
    believed = np.maximum(errors, np.broadcast_to(least, better.shape)[first, second])
    distance = scores[first] - scores[second]
    tested = (believed > 0) & usable[first] & usable[second]
    tested &= (errors > 0) | (distance != 0)  # nothing is to be claimed of two that are the same
    ratio = np.divide(np.abs(distance), believed, out=np.zeros_like(errors), where=tested)
    while tested.any():
        pairs = first[tested], second[tested]
        limit = _largest_by_chance(offsets, *pairs, errors[tested], freedom, seed)
        found = tested & (ratio > limit)
        if not found.any():
            break
        tested &= ~found
        ahead = distance > 0
        better[first[found & ahead], second[found & ahead]] = True
        better[second[found & ~ahead], first[found & ~ahead]] = True
    return _close(better)


def _largest_by_chance(
    offsets: Floats,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    errors: Floats,
    freedom: float,
    seed: int,
) -> float:
    """95th percentile of the largest difference of some pairs of equal teachers, in errors.

    Pairs whose subsamples do not differ at all count as independent (Bonferroni).
    """
    draw, most = np.random.default_rng(seed), offsets.shape[1] - 1
    rows = draw.normal(size=(DRAWS, offsets.shape[1])) @ offsets.T / np.sqrt(most)
    rows /= np.sqrt(draw.chisquare(min(freedom, most), size=(DRAWS, 1)) / min(freedom, most))
    largest, still = np.zeros(DRAWS), int(np.sum(errors == 0))
    first, second, errors = first[errors > 0], second[errors > 0], errors[errors > 0]
    size = max(1, BLOCK // max(1, len(first)))
    for begin in range(0, DRAWS, size):
        part = rows[begin : begin + size]
        apart = np.abs(part[:, first] - part[:, second]) / errors
        largest[begin : begin + size] = apart.max(axis=1, initial=0.0)
    limit = float(np.quantile(largest, 1 - LEVEL))
    return max(limit, t_quantile(min(freedom, most), LEVEL / still)) if still else limit


def _close(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With every a > b and b > c also a > c."""
    while True:
        more = better | (better.astype(np.float32) @ better.astype(np.float32) > 0)
        if (more == better).all():
            return better
        better = more


def count_error(scores: Floats, labeled: int) -> Floats:
    """Least standard error of differences of fractions of the labeled images, [T, T].

    Of two fractions at least as many images differ as the fractions do, see `paired_error`.
    """
    return paired_error(np.abs(scores[:, None] - scores) * labeled, labeled)


def find_chance(scores: Floats, permutations: Floats) -> list[float | None]:
    """The score that each of T teachers must exceed to be above chance; None where it is unknown.

    Scores with permuted labels, [T, P] in the same orders for all, NaN where there is none, are
    measured in standard deviations from the mean of all others of their teacher. In 5 % of all
    orders of the labels, the true one included, the largest of all teachers is above the level
    (maxT of Westfall and Young, 1993).
    """
    count = permutations.shape[1]
    allowed = int(LEVEL * (count + 1) + 1e-9)
    if not allowed:
        return [None] * len(scores)
    every = np.concatenate([scores[:, None], permutations], axis=1)
    known = np.isfinite(every)
    filled = np.where(known, every, 0.0)
    others = np.maximum(known.sum(axis=1, keepdims=True) - known, 1)
    means = (filled.sum(axis=1, keepdims=True) - filled) / others
    squares = (np.square(filled).sum(axis=1, keepdims=True) - np.square(filled)) / others
    spread = np.sqrt(np.maximum(squares - np.square(means), 0.0))
    varies = known & (spread > 1e-9 * np.abs(means))
    ratio = np.divide(filled - means, spread, out=np.full_like(every, -np.inf), where=varies)
    level = np.sort(ratio[:, 1:].max(axis=0))[-allowed]
    return [
        float(mean + level * width) if fine and np.isfinite(level) else None
        for mean, width, fine in zip(means[:, 0], spread[:, 0], varies[:, 0], strict=True)
    ]
