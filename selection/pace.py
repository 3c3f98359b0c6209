"""How fast this machine scores a teacher: one that is made up, by few resamples."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoo.budget import Pace
from zoo.errors import RankingError
from zoo.features import Features

from .metrics import SCORERS
from .resampling import PERMUTATIONS, RESAMPLES, SLOW
from .scoring import METRIC, rank

FEW = 2
DIMENSIONS, CLASSES = 256, 10
"""Of the made-up teacher."""


def measure_scoring(
    labels: NDArray[np.int64],
    *,
    metric: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Pace:
    """The pace of scoring a teacher on labelled images; each is one of them.

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
    made_up = {"made up": Features(rows[:, :DIMENSIONS], rows[:, DIMENSIONS:])}
    metric = metric or METRIC

    def seconds(resamples: int) -> float:
        began = clock()
        rank(made_up, labels, metric=metric, resamples=resamples)
        return clock() - began

    try:
        once, more = seconds(0), seconds(FEW)
    except RankingError:  # which the ranking itself says better
        return Pace(0.0)
    all_looks = RESAMPLES + PERMUTATIONS if metric.split(",")[0] in SCORERS else 2 * SLOW
    return Pace((once + max(0.0, more - once) * all_looks / (2 * FEW)) / known)
