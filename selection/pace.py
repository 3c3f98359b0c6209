"""How fast this machine scores a teacher: one that is made up, by a single resample."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selection.bootstrap import PERMUTATIONS, RESAMPLES, SLOW
from selection.metrics import METRICS, SCORERS
from selection.scoring import METRIC, rank
from zoo.budget import Pace
from zoo.errors import RankingError
from zoo.features.store import Features

DIMENSIONS, CLASSES = 256, 10
"""Of the made-up teacher."""


def measure_scoring(
    labels: NDArray[np.int64],
    *,
    metric: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pace:
    """The pace of scoring a teacher on labeled images; each is one of them.

    Args:
        labels: [N], -1 for unknown; without any label scoring takes no time worth naming.
        metric: as in `rank`.
        clock: in seconds.
    """
    known = int((labels >= 0).sum())
    if not known:
        return Pace(0.0)
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(len(labels), DIMENSIONS + CLASSES)).astype(np.float32)
    features = Features(rows[:, :DIMENSIONS], rows[:, DIMENSIONS:])
    metric = metric or METRIC
    try:
        began = clock()
        rank({"made up": features}, labels, metric=metric, resamples=0)
        once = clock() - began
        again = _resampling(metric.split(",")[0], features, labels, clock)
    except RankingError:  # which the ranking itself says better
        return Pace(0.0)
    return Pace((once + again) / known)


def _resampling(
    metric: str, features: Features, labels: NDArray[np.int64], clock: Callable[[], float]
) -> float:
    """Seconds of all resamples and permutations of a metric, by one of each."""
    if metric not in METRICS:  # it needs no labels, and all teachers at once
        return 0.0
    if metric not in SCORERS:
        began = clock()
        METRICS[metric](features, labels)
        return 2 * SLOW * (clock() - began)
    scorer, known = SCORERS[metric](features, labels), labels[labels >= 0]
    began = clock()
    score = scorer(known)
    dealt = clock()
    score(np.ones(len(known)))
    drawn = clock()
    return RESAMPLES * (drawn - dealt) + PERMUTATIONS * (drawn - began)
