"""Resamples and permutations: how far a score may be off, and what chance would score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics import METRICS, SCORERS, Floats, Labels
from selection.metrics.checks import check_input
from zoo.errors import RankingError
from zoo.features.store import Features

RESAMPLES = 200
PERMUTATIONS = 40
SLOW = 30
"""Resamples of a metric that has to be computed anew for each."""


def measure(
    metric: str, features: Features, labels: Labels, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, Floats, Floats]:
    """The score, its resamples and what the same features score with labels dealt at random.

    Metrics of `SCORERS` are bootstrapped: images drawn with replacement within each class. Others
    would take copies of an image for agreement, so they are scored on halves of each class drawn
    without replacement, centerd on the score; the spread of such halves about the whole is that
    of the whole about the truth. Every teacher meets the same draws, so differences between
    teachers can be compared resample by resample.

    Args:
        metric: a name in METRICS.
        features: of N images.
        labels: [N], -1 for an unlabeled image.
        resamples: how many; 0 for none, and no permutations.
        seed: of all draws.

    Returns:
        The score, the resamples and the permutations; the latter two may be empty, or hold NaN
        where half of the images could not be scored.

    Raises:
        RankingError: the teacher cannot be scored.
    """
    rng = np.random.default_rng(seed)
    labeled = check_input(features, labels)
    known = labels[labeled]
    if metric in SCORERS:
        scorer = SCORERS[metric](features, labels)
        score = scorer(known)
        value = score(np.ones(len(known)))
        drawn = [score(counts) for counts in draw_counts(known, rng, resamples)]
        dealt = [
            scorer(rng.permutation(known))(np.ones(len(known)))
            for _ in range(min(resamples, PERMUTATIONS))
        ]
        return value, np.array(drawn), np.array(dealt)
    value = METRICS[metric](features, labels)
    few = min(resamples, SLOW)
    halves = [_score_again(metric, features, _hide_half(labels, rng)) for _ in range(few)]
    drawn = np.array(halves)
    dealt = [_score_again(metric, features, _deal(labels, labeled, rng)) for _ in range(few)]
    if not np.isfinite(drawn).any():
        drawn = drawn[:0]
    return value, value + drawn - np.nanmean(drawn) if len(drawn) else drawn, np.array(dealt)


def draw_counts(labels: Labels, rng: np.random.Generator, resamples: int) -> Floats:
    """Draw images with replacement, within each class as many as it has: [resamples, N] counts.

    A resample in which every class is copies of one image has no pair to score: it is redrawn.
    """
    counts = np.empty((resamples, len(labels)))
    rows = np.arange(resamples)
    while len(rows):
        paired = np.zeros(len(rows), dtype=np.bool_)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            size = len(members)
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=len(rows))
            counts[np.ix_(rows, members)] = drawn
            paired |= np.count_nonzero(drawn, axis=1) > 1
        rows = rows[~paired]
    return counts


def _hide_half(labels: Labels, rng: np.random.Generator) -> Labels:
    """The labels without half of each class; of two or three images two stay, one stays alone."""
    hidden = labels.copy()
    for label in np.unique(labels[labels >= 0]):
        members = rng.permutation(np.flatnonzero(labels == label))
        hidden[members[max(2, len(members) // 2) :]] = -1
    return hidden


def _deal(labels: Labels, labeled: NDArray[np.int64], rng: np.random.Generator) -> Labels:
    dealt = labels.copy()
    dealt[labeled] = rng.permutation(labels[labeled])
    return dealt


def _score_again(metric: str, features: Features, labels: Labels) -> float:
    try:
        return METRICS[metric](features, labels)
    except RankingError:
        return float("nan")
