"""A teacher in a ranking: its score, interval, rank and share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

WORSE = "significantly worse than a control"
LEFT_OUT = "left out by --top"
"""Why a teacher that did not fail has share 0."""


@dataclass(frozen=True)
class RankedTeacher:
    """One row of a ranking.

    Attributes:
        name: of the teacher, unique in the ranking.
        domain: what its images show.
        score: by the ranking's first metric, higher is closer; None if the teacher failed.
        low: lower end of its 95 % bootstrap interval; None without one.
        high: upper end.
        share: alpha, the weight of the teacher in distillation, 0 or more; 0 if it failed or is a
            control.
        status: `ok`, `failed`, or `control` for a domain-agnostic baseline.
        reason: why it failed or has share 0, one line; empty otherwise.
        chance: permutation baseline, the 95th percentile of its scores with permuted labels; None
            without a permutation test.
        rank: 1 + the number of teachers that are significantly better (see `rank`), so that
            teachers that do not differ share a rank; None for failed teachers, for controls, and
            without resamples.
        scores: by each metric, where there are several.

    Example:
        >>> RankedTeacher("birds", "birds", 0.8, 0.7, 0.9, 1.0, "ok", rank=1).share
        1.0
    """

    name: str
    domain: str
    score: float | None
    low: float | None
    high: float | None
    share: float
    status: Literal["ok", "failed", "control"]
    reason: str = ""
    chance: float | None = None
    rank: int | None = None
    scores: Mapping[str, float] = field(default_factory=lambda: {})

    def __post_init__(self) -> None:
        if self.status not in ("ok", "failed", "control"):
            raise ValueError(f"the status of {self.name!r} is not 'ok', 'failed' or 'control'")
        if (self.score is None) != (self.status == "failed"):
            raise ValueError(f"the status of {self.name!r} does not fit its score")
        if not (math.isfinite(self.share) and self.share >= 0):
            raise ValueError(f"the share of {self.name!r} is not a number of 0 or more")
        if self.status != "ok" and self.share > 0:
            raise ValueError(f"{self.name!r} has a share, but its status is {self.status!r}")
