"""A ranking: teachers by closeness to a task, with their shares; a file that people may edit.

The shares written into the file are the shares that distillation uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from selection.metrics import UNLABELED, current_name
from selection.shares import SECOND, SHAREABLE, find_evidence, normalize, share_by_power
from zoo.errors import RankingError
from zoo.system import json_files as js
from zoo.system.words import join_names

FORMAT = 3
"""2 was that of version 0.1, which is still read: it had `place` for `rank`."""
FEW = 20
"""With fewer images a ranking without labels is not reliable."""

WORSE = "significantly worse than a control"
LEFT_OUT = "left out by --top"
TRAINED = "trained on these images"
"""Why a teacher that did not fail has share 0."""


@dataclass(frozen=True)
class RankedTeacher:
    """One row of a ranking.

    Attributes:
        name: of the teacher, unique in the ranking.
        domain: what its images show.
        score: by the ranking's first metric, higher is closer; None if the teacher failed.
        low: lower end of its 95 % interval; None without one.
        high: upper end.
        share: alpha, the weight of the teacher in distillation, 0 or more; 0 if it failed or is a
            control.
        status: `ok`, `failed`, or `control` for a domain-agnostic baseline.
        reason: why it failed or has share 0, one line; empty otherwise.
        chance: permutation baseline: with permuted labels, any of the ranking's teachers exceeds
            its own in 5 % of rankings; None without a permutation test.
        rank: 1 + the number of teachers that are significantly better by the first metric (see
            `rank`); None for failed teachers, for controls, and without subsamples.
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


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Teachers by closeness to a target task.

    `rank` fills in the scores; `rank_images` adds where the images came from.

    Attributes:
        target: folder of the images.
        zoo: source of the teachers.
        metric: that made the scores; several with commas between: the first, and `hscore` if it is
            among them, make the shares.
        images: number of images; of very many, `rank_images` scores the teachers on a sample.
        labeled: how many of them are labeled.
        classes: among the labeled ones.
        teachers: the closest first, those that failed last; controls stand where they score.
        unlabeled: folder of more images without labels.
        labels: CSV file of the labels.
        labels_per_class: how many labels were kept; None for all.
        labels_seed: of the choice of labels to keep; None if all are kept, or for `seed`.
        seed: of the subsamples.
        digest: of the images and labels.
        power: that turned scores into shares.
        forward_passes: number of images passed through teachers to make this ranking.
        most_frequent: share of the labeled images that the most frequent class has, 0..1; 0 where
            it is unknown, as in files of version 0.1.

    Example:
        >>> ranking = Ranking.load(Path("ranking.json"))
        >>> ranking.weights()
        {'birds': 0.7, 'cars': 0.3}
    """

    target: str = ""
    zoo: str = "builtin"
    metric: str
    images: int
    labeled: int
    classes: int
    teachers: tuple[RankedTeacher, ...]
    unlabeled: str | None = None
    labels: str | None = None
    labels_per_class: int | None = None
    labels_seed: int | None = None
    seed: int
    digest: str = ""
    power: float
    forward_passes: int = 0
    most_frequent: float = 0.0

    def __post_init__(self) -> None:
        names = [teacher.name for teacher in self.teachers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is in it twice")
        if self.seed < 0 or (self.labels_per_class is not None and self.labels_per_class < 1):
            raise ValueError("its seed is below 0 or its labels_per_class below 1")
        if not any(teacher.share > 0 for teacher in self.teachers):
            raise ValueError("no teacher has a share above 0")

    @property
    def warnings(self) -> list[str]:
        """Why it may mislead, a sentence or two each; empty if nothing is wrong."""
        rows = [row for row in self.teachers if row.status == "ok"]
        best = max(row.score for row in rows if row.score is not None)
        controls = {row.name: row.score or 0.0 for row in self.teachers if row.status == "control"}
        control = max(controls, key=controls.__getitem__, default="")
        found: list[str] = []
        if control and best <= controls[control]:
            found.append(
                f"No teacher scored above the control {control!r}: teachers may not help here. "
                "Compare with `zoo distill --baseline transfer`."
            )
        if any(row.chance is not None for row in rows) and not _count_above_chance(rows):
            found.append(
                "No teacher scored above its permutation baseline: label more images before you "
                "trust the order."
            )
        metric = self.metric.partition(",")[0]
        if metric in UNLABELED:
            few = f" Only {self.images} images: it is not reliable." if self.images < FEW else ""
            better = (
                f"Leave out --metric to rank by your {self.labeled} labels."
                if self.labeled
                else "Label a few images of each class to rank by them."
            )
            found.append(f"Ranked without labels, by {metric}: a weak estimate.{few} {better}")
        elif metric not in SHAREABLE:
            found.append(f"Scores by {metric} have no zero: unless edited, shares are equal.")
        elif best <= 0:
            found.append("No teacher scored above 0: unless edited, shares are equal.")
        return found

    @property
    def explanation(self) -> list[str]:
        """How to read its table, a sentence or two each."""
        metrics = self.metric.split(",")
        rows = [row for row in self.teachers if row.status == "ok"]
        found: list[str] = []
        if metrics[1:]:
            makers = join_names([metrics[0], *([SECOND] if SECOND in metrics[1:] else [])])
            found.append(f"Order: mean rank over {join_names(metrics)}; shares: by {makers}.")
        ranks = [row.rank for row in rows if row.rank]
        if len(ranks) > 1 and set(ranks) == {1}:
            found.append(
                "No teacher is significantly better than another; more labels may change it."
            )
        elif ranks:
            by = f" by {metrics[0]}" if metrics[1:] else ""
            found.append(
                f"Rank: 1 + the number of teachers that are significantly better{by}, at 5 % for "
                "all pairs together."
            )
        if chances := [row.chance for row in rows if row.chance is not None]:
            found.append(
                f"Permutation baseline (5 % of rankings, all teachers together): {max(chances):.2f}"
                f"; {_count_above_chance(rows)} of {len(rows)} teachers above their own."
            )
        if any(row.status == "control" for row in self.teachers):
            tested = any(row.low is not None for row in self.teachers)
            rule = "; significantly worse teachers get share 0" if tested else ""
            found.append(f"Controls are domain-agnostic baselines{rule}.")
        for reason in (WORSE, LEFT_OUT, TRAINED):
            if names := [row.name for row in rows if row.reason == reason and not row.share]:
                found.append(f"Share 0, {reason}: {join_names(names)}.")
        low = [row.name for row in rows if not (row.share or row.reason or (row.score or 0) > 0)]
        if low:
            found.append(f"Share 0, no score above 0: {join_names(low)}.")
        return found

    def weights(self, power: float | None = None) -> dict[str, float]:
        """Share of each teacher: above 0, sum 1; teachers with share 0 are left out.

        Args:
            power: None for the shares as written, by hand or by `rank`. Else max(0, e)^power,
                normalized (alpha of Borup et al., ICCV 2023): 0 is equal, infinity the teacher of
                largest e alone. e is the score by the first metric and the H-score, see
                `selection.shares.find_evidence`. Teachers that have no share for a reason get none.

        Raises:
            RankingError: scores of this metric cannot become shares, or none is above 0.
        """
        if power is None:
            return normalize({teacher.name: teacher.share for teacher in self.teachers})
        metric = self.metric.partition(",")[0]
        if power != 0 and metric not in SHAREABLE:
            raise RankingError(
                f"Scores of {metric!r} cannot become shares: they have no zero. "
                "Rank again with --metric linear_probe."
            )
        scores = {row.name: {**row.scores, metric: row.score or 0.0} for row in self._scored()}
        evidence = find_evidence(scores, metric, self.classes, self.most_frequent)
        return share_by_power(evidence, power)

    def nearest(self) -> str:
        """The teacher of highest score; of equal ones, or by several metrics, the first row.

        Teachers that have no share for a reason do not count.
        """
        scored = self._scored()
        nearest = scored[0] if "," in self.metric else max(scored, key=lambda row: row.score or 0.0)
        return nearest.name

    def to_json(self) -> dict[str, Any]:
        """The ranking as one flat dict that JSON can hold, with its warnings and explanation."""
        teachers = [*map(asdict, self.teachers)]
        sentences = {"warnings": self.warnings, "explanation": self.explanation}
        return {"format": FORMAT, **asdict(self), "teachers": teachers, **sentences}

    def save(self, path: Path) -> None:
        """Write the ranking atomically.

        Raises:
            OSError: it cannot be written.
        """
        js.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking, possibly edited by hand, or written by version 0.1.

        Raises:
            RankingError: there is no such file, or it is not a ranking.
        """
        advice = "`zoo rank --target FOLDER` writes a new one."
        return js.read_json(path, _read_ranking, error=RankingError, advice=advice)

    def _scored(self) -> list[RankedTeacher]:
        """The teachers with no reason to have no share, or all where each has one."""
        rows = [row for row in self.teachers if row.status == "ok" and row.score is not None]
        return [row for row in rows if not row.reason] or rows


_REASONS = {"clearly worse than a control": WORSE}
"""Reasons as version 0.1 wrote them, and as they are now."""

_TEACHER: js.Schema = {
    **dict.fromkeys(("name", "domain"), js.text()),
    "reason": js.text(path=True),
    **dict.fromkeys(("score", "low", "high", "chance"), js.nullable(js.number())),
    "share": js.number(0),
    "status": js.choice("ok", "failed", "control"),
    "rank": js.nullable(js.integer(1)),
    "scores": js.mapping(js.number()),
}
_RANKING: js.Schema = {
    **dict.fromkeys(("metric", "digest"), js.text()),
    **dict.fromkeys(("target", "zoo"), js.text(path=True)),
    **dict.fromkeys(("unlabeled", "labels"), js.nullable(js.text(path=True))),
    **dict.fromkeys(("images", "labeled", "classes", "seed", "forward_passes"), js.integer()),
    "labels_per_class": js.nullable(js.integer(1)),
    "labels_seed": js.optional(js.nullable(js.integer(0)), None),
    "power": js.number(0),
    "most_frequent": js.optional(js.number(0, 1), 0.0),
}


def _read_ranking(value: Any, key: str) -> Ranking:
    version = js.record({"format": js.integer(FORMAT - 1, FORMAT)})(value, key)["format"]
    rank = "rank" if version == FORMAT else "place"
    teacher = {rank if name == "rank" else name: check for name, check in _TEACHER.items()}
    entries = js.record({**_RANKING, "teachers": js.listing(js.record(teacher))})(value, key)
    entries["metric"] = current_name(entries["metric"])
    for row in entries["teachers"]:
        row["rank"] = row.pop(rank)
        row["reason"] = _REASONS.get(row["reason"], row["reason"])
        row["scores"] = {current_name(name): score for name, score in row["scores"].items()}
    entries["teachers"] = tuple(RankedTeacher(**row) for row in entries["teachers"])
    return Ranking(**entries)


def _count_above_chance(rows: Sequence[RankedTeacher]) -> int:
    """How many teachers score above their own permutation baseline."""
    known = [(row.score, row.chance) for row in rows if row.chance is not None]
    return sum(score is not None and score > chance for score, chance in known)
