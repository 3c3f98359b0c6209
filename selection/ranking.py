"""The teachers of a zoo in order of closeness to a task, and what share of the teaching each gets.

A `Ranking` is a file that people may edit: the shares they write are the shares that are used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, cast

from selection.messages import BEATEN, read_table, warn
from selection.shares import SHAREABLE, normalize, share_by_power
from zoo.errors import RankingError
from zoo.system.files import write_atomic

RANKING_FORMAT = 2


@dataclass(frozen=True)
class RankedTeacher:
    """One row of a ranking.

    Attributes:
        name: of the teacher, unique in the ranking.
        domain: what its images show.
        score: by the ranking's first metric, higher is closer; None if the teacher failed.
        low: where its 95 % interval begins; None without one.
        high: where it ends.
        share: of the teaching, 0 or more; 0 if the teacher failed or is a control.
        status: `ok`, `failed`, or `control` for features that know nothing of any domain.
        reason: why it failed or has no share, one line; empty otherwise.
        chance: what 95 % of random labels score below; None without a test.
        place: 1 + the number of teachers that are clearly better; None for who has no place.
        scores: by each metric, where there are several.
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
    place: int | None = None
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

    `rank` fills in what it knows; who read the images adds where they came from with
    `dataclasses.replace`.

    Attributes:
        target: folder of the images.
        zoo: where the teachers were looked for.
        metric: that made the scores; several with commas between, the first makes the shares.
        images: that the teachers saw.
        labeled: how many of them are labeled.
        classes: among the labeled ones.
        teachers: the closest first, those that failed last; controls stand where they score.
        unlabeled: folder of more images without labels.
        labels: CSV file of the labels.
        labels_per_class: how many labels were kept; None for all.
        seed: of the resamples, and of the choice of labels to keep.
        digest: of the images and labels.
        power: that turned scores into shares.
        forward_passes: images shown to teachers to make this ranking.
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
    def notes(self) -> list[str]:
        """Why it may mislead, a sentence or two each; empty if nothing is to be told."""
        return warn(self)

    @property
    def reading(self) -> list[str]:
        """How to read its table, a sentence or two each."""
        return read_table(self)

    def weights(self, power: float | None = None) -> dict[str, float]:
        """Share of each teacher in the teaching: above 0, sum 1; who has none is left out.

        Args:
            power: None for the shares as written, by hand or by `rank`. Else max(0, score)^power,
                normalized (alpha of Borup et al., ICCV 2023): 0 is equal for every teacher that did
                not fail, infinity is the nearest alone.

        Raises:
            RankingError: the scores are no shares, or none is above 0.
        """
        if power is None:
            return normalize({teacher.name: teacher.share for teacher in self.teachers})
        metric = self._first_metric
        if power != 0 and metric not in SHAREABLE:
            raise RankingError(
                f"Scores of {metric!r} cannot become shares: they have no zero. "
                "Rank again with --metric probe."
            )
        scores = self._scores()
        beaten = {row.name for row in self.teachers if row.reason == BEATEN}
        unbeaten = {name: score for name, score in scores.items() if name not in beaten}
        return share_by_power(unbeaten or scores, power)

    def nearest(self) -> str:
        """The teacher of highest score; of equal ones, or by several metrics, the one on top."""
        scores = self._scores()
        return next(iter(scores)) if "," in self.metric else max(scores, key=scores.__getitem__)

    def to_json(self) -> dict[str, Any]:
        """The ranking as one flat dict of what JSON knows, with what to tell people of it."""
        teachers = [*map(asdict, self.teachers)]
        words = {"notes": self.notes, "reading": self.reading}
        return {"format": RANKING_FORMAT, **asdict(self), "teachers": teachers, **words}

    def save(self, path: Path) -> None:
        """Write the ranking, whole or not at all."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking, maybe one that was edited by hand.

        Raises:
            RankingError: there is no such file, or it is no ranking.
        """
        try:
            return _read(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise RankingError(
                f"There is no ranking {path}. Make one with `zoo rank --target FOLDER`."
            ) from error
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            raise RankingError(
                f"The ranking {path} cannot be used: {error}. Mend it or run `zoo rank` again."
            ) from error

    @property
    def _first_metric(self) -> str:
        return self.metric.partition(",")[0]

    def _scores(self, status: str = "ok") -> dict[str, float]:
        return {
            row.name: row.score
            for row in self.teachers
            if row.score is not None and row.status == status
        }


_TEXT = (str,)
_COUNT = (int,)
_NUMBER = (int, float)
_RANKING: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("target", "zoo", "metric", "digest"), _TEXT),
    **dict.fromkeys(("unlabeled", "labels"), (*_TEXT, NoneType)),
    **dict.fromkeys(("images", "labeled", "classes", "seed", "forward_passes"), _COUNT),
    "labels_per_class": (*_COUNT, NoneType),
    "power": _NUMBER,
}
_TEACHER: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "domain", "status", "reason"), _TEXT),
    **dict.fromkeys(("score", "low", "high"), (*_NUMBER, NoneType)),
    "share": _NUMBER,
    "chance": (*_NUMBER, NoneType),
    "place": (*_COUNT, NoneType),
    "scores": (dict,),
}


def _read(document: Any) -> Ranking:
    entries = _check(document, {"format": (int,), "teachers": (list,)}, "the file")
    if entries["format"] != RANKING_FORMAT:
        raise ValueError(f"its format is {entries['format']}, not {RANKING_FORMAT}")
    teachers = [
        RankedTeacher(**_check(row, _TEACHER, f"teacher {number}"))
        for number, row in enumerate(entries["teachers"], start=1)
    ]
    return Ranking(**_check(document, _RANKING, "the file"), teachers=tuple(teachers))


def _check(entries: Any, types: Mapping[str, tuple[type, ...]], where: str) -> dict[str, Any]:
    """The entries that `types` names, each of one of its types and finite."""
    if not isinstance(entries, dict):
        raise ValueError(f"{where} is no JSON object")
    known = cast("dict[str, Any]", entries)
    for key, kinds in types.items():
        if key not in known:
            raise ValueError(f"{where} lacks {key!r}")
        # isinstance would let true pass for a number
        if type(known[key]) not in kinds or (float in kinds and not _is_finite(known[key])):
            raise ValueError(f"{key!r} of {where} cannot be {known[key]!r}")
    return {key: known[key] for key in types}


def _is_finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)
