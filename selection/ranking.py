"""A ranking: teachers by closeness to a task, with their shares; a file that people may edit.

The shares written into the file are the shares that distillation uses.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selection.messages import explain, find_warnings
from selection.metrics import current_name
from selection.ranked_teacher import WORSE, RankedTeacher
from selection.shares import SHAREABLE, normalize, share_by_power
from zoo.errors import RankingError
from zoo.system.json_files import (
    Schema,
    choice,
    integer,
    listing,
    mapping,
    nullable,
    number,
    read_json,
    record,
    text,
    write_json,
)

FORMAT = 3
"""2 was that of version 0.1, which is still read: it had `place` for `rank`."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Teachers by closeness to a target task.

    `rank` fills in the scores; `rank_images` adds where the images came from.

    Attributes:
        target: folder of the images.
        zoo: source of the teachers.
        metric: that made the scores; several with commas between, the first makes the shares.
        images: number of images that the teachers were scored on.
        labeled: how many of them are labeled.
        classes: among the labeled ones.
        teachers: the closest first, those that failed last; controls stand where they score.
        unlabeled: folder of more images without labels.
        labels: CSV file of the labels.
        labels_per_class: how many labels were kept; None for all.
        seed: of the resamples, and of the choice of labels to keep.
        digest: of the images and labels.
        power: that turned scores into shares.
        forward_passes: number of images passed through teachers to make this ranking.

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
    seed: int
    digest: str = ""
    power: float
    forward_passes: int = 0

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
        return find_warnings(self.teachers, self.metric, images=self.images, labeled=self.labeled)

    @property
    def explanation(self) -> list[str]:
        """How to read its table, a sentence or two each."""
        return explain(self.teachers, self.metric)

    def weights(self, power: float | None = None) -> dict[str, float]:
        """Share of each teacher: above 0, sum 1; teachers with share 0 are left out.

        Args:
            power: None for the shares as written, by hand or by `rank`. Else max(0, score)^power,
                normalized (alpha of Borup et al., ICCV 2023): 0 is equal for every teacher that did
                not fail, infinity is the nearest alone.

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
        scores = self._scores()
        worse = {row.name for row in self.teachers if row.reason == WORSE}
        rest = {name: score for name, score in scores.items() if name not in worse}
        return share_by_power(rest or scores, power)

    def nearest(self) -> str:
        """The teacher of highest score; of equal ones, or by several metrics, the first row."""
        scores = self._scores()
        return next(iter(scores)) if "," in self.metric else max(scores, key=scores.__getitem__)

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
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking, possibly edited by hand, or written by version 0.1.

        Raises:
            RankingError: there is no such file, or it is not a ranking.
        """
        advice = "`zoo rank --target FOLDER` writes a new one."
        return read_json(path, _read_ranking, error=RankingError, advice=advice)

    def _scores(self) -> dict[str, float]:
        return {
            row.name: row.score
            for row in self.teachers
            if row.score is not None and row.status == "ok"
        }


_REASONS = {"clearly worse than a control": WORSE}
"""Reasons as version 0.1 wrote them, and as they are now."""

_TEACHER: Schema = {
    **dict.fromkeys(("name", "domain", "reason"), text()),
    **dict.fromkeys(("score", "low", "high", "chance"), nullable(number())),
    "share": number(0),
    "status": choice("ok", "failed", "control"),
    "rank": nullable(integer(1)),
    "scores": mapping(number()),
}
_RANKING: Schema = {
    **dict.fromkeys(("target", "zoo", "metric", "digest"), text()),
    **dict.fromkeys(("unlabeled", "labels"), nullable(text())),
    **dict.fromkeys(("images", "labeled", "classes", "seed", "forward_passes"), integer()),
    "labels_per_class": nullable(integer(1)),
    "power": number(0),
}


def _read_ranking(value: Any, key: str) -> Ranking:
    version = record({"format": integer(FORMAT - 1, FORMAT)})(value, key)["format"]
    rank = "rank" if version == FORMAT else "place"
    teacher = {rank if name == "rank" else name: check for name, check in _TEACHER.items()}
    entries = record({**_RANKING, "teachers": listing(record(teacher))})(value, key)
    entries["metric"] = current_name(entries["metric"])
    for row in entries["teachers"]:
        row["rank"] = row.pop(rank)
        row["reason"] = _REASONS.get(row["reason"], row["reason"])
        row["scores"] = {current_name(name): score for name, score in row["scores"].items()}
    entries["teachers"] = tuple(RankedTeacher(**row) for row in entries["teachers"])
    return Ranking(**entries)
