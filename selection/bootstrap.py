"""Bootstrap and permutation test of a score: its interval, and what chance would score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics import METRICS, SCORERS
from selection.metrics.checks import Floats, Labels, check_input
from zoo.errors import RankingError
from zoo.features.store import Features

RESAMPLES = 200
PERMUTATIONS = 40
SLOW = 30
"""Resamples of a metric that is not in SCORERS, and so is computed anew for each."""


def measure(
    metric: str, features: Features, labels: Labels, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, Floats, Floats]:
    """The score of a teacher, with its bootstrap and its scores for permuted labels.

    Metrics of `SCORERS` are bootstrapped: images drawn with replacement within each class. Others
    would take copies of an image for agreement, so they are scored on halves of each class drawn
    without replacement, centered on the score; the spread of such halves about the whole is that
    of the whole about the truth. Every teacher gets the same draws, so that differences between
    teachers can be compared resample by resample.

    Args:
        metric: a name in METRICS.
        features: of N images.
        labels: [N], -1 for an unlabeled image.
        resamples: how many; 0 for none, and no permutations.
        seed: of all draws.

    Returns:
        The score, the bootstrap and the permutations; the latter two may be empty, or hold NaN
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
        once = np.ones(len(known))
        value = score(once)
        bootstrap = [score(counts) for counts in draw_counts(known, rng, resamples)]
        trials = min(resamples, PERMUTATIONS)
        permutations = [scorer(rng.permutation(known))(once) for _ in range(trials)]
        return value, np.array(bootstrap), np.array(permutations)

    def score_again(labels: Labels) -> float:
        try:
            return METRICS[metric](features, labels)
        except RankingError:
            return float("nan")

    value = METRICS[metric](features, labels)
    few = range(min(resamples, SLOW))
    halves = np.array([score_again(_hide_half(labels, rng)) for _ in few])
    permutations = [score_again(_permute(labels, labeled, rng)) for _ in few]
    bootstrap = value + halves - np.nanmean(halves) if np.isfinite(halves).any() else np.empty(0)
    return value, bootstrap, np.array(permutations)


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
            draws = rng.multinomial(size, np.full(size, 1 / size), size=len(rows))
            counts[np.ix_(rows, members)] = draws
            paired |= np.count_nonzero(draws, axis=1) > 1
        rows = rows[~paired]
    return counts


def _hide_half(labels: Labels, rng: np.random.Generator) -> Labels:
    """The labels without half of each class; at least two images of a class keep their label."""
    hidden = labels.copy()
    for label in np.unique(labels[labels >= 0]):
        members = rng.permutation(np.flatnonzero(labels == label))
        hidden[members[max(2, len(members) // 2) :]] = -1
    return hidden


def _permute(labels: Labels, labeled: NDArray[np.int64], rng: np.random.Generator) -> Labels:
    permuted = labels.copy()
    permuted[labeled] = rng.permutation(labels[labeled])
    return permuted
