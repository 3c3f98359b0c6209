"""The teachers of a zoo in order of closeness to a task, and what share of the teaching each gets.

A `Ranking` is a file that people may edit: the shares they write are the shares that are used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from zoo.card import write_whole
from zoo.errors import RankingError
from zoo.features import Features

from .metrics import BOOTSTRAPS, METRICS, check_labels
from .shares import POWER, SHAREABLE, normalise, share_by_power

RANKING_FORMAT = 1


@dataclass(frozen=True)
class RankedTeacher:
    """One row of a ranking.

    Attributes:
        name: of the teacher, unique in the ranking.
        domain: what its images show.
        score: by the ranking's metric, higher is closer; None if the teacher failed.
        low: where the 95 % bootstrap interval begins; None without one.
        high: where it ends.
        share: of the teaching, 0 or more; 0 if the teacher failed.
        status: `ok` or `failed`.
        reason: why it failed, one line; empty if it did not.
    """

    name: str
    domain: str
    score: float | None
    low: float | None
    high: float | None
    share: float
    status: Literal["ok", "failed"]
    reason: str = ""

    def __post_init__(self) -> None:
        if self.status not in ("ok", "failed"):
            raise ValueError(f"the status of {self.name!r} is neither 'ok' nor 'failed'")
        if (self.score is None) != (self.status == "failed"):
            raise ValueError(f"the status of {self.name!r} does not fit its score")
        if not (math.isfinite(self.share) and self.share >= 0):
            raise ValueError(f"the share of {self.name!r} is not a number of 0 or more")
        if self.status == "failed" and self.share > 0:
            raise ValueError(f"{self.name!r} has a share, but it failed")


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Teachers by closeness to a target task.

    `rank` fills in what it knows; who read the images adds where they came from with
    `dataclasses.replace`.

    Attributes:
        target: folder of the images.
        zoo: where the teachers were looked for.
        metric: that made the scores.
        images: that the teachers saw.
        labeled: how many of them are labelled.
        classes: among the labelled ones.
        teachers: the closest first, those that failed last.
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
    def note(self) -> str:
        """What to tell people besides the table; empty if nothing."""
        if max(self._scores().values()) > 0:
            return ""
        return "No teacher scored above 0: unless edited, shares are equal."

    def weights(self, power: float | None = None) -> dict[str, float]:
        """Share of each teacher in the teaching: above 0, sum 1; who has none is left out.

        Args:
            power: None for the shares as written, by hand or by `rank`. Else max(0, score)^power,
                normalised (alpha of Borup et al., ICCV 2023): 0 is equal for every teacher that did
                not fail, infinity is the nearest alone.

        Raises:
            RankingError: the scores are no shares, or none is above 0.
        """
        if power is None:
            return normalise({teacher.name: teacher.share for teacher in self.teachers})
        if power != 0 and self.metric not in SHAREABLE:
            raise RankingError(
                f"Scores of {self.metric!r} cannot become shares: they have no zero. "
                "Rank again with --metric parc."
            )
        return share_by_power(self._scores(), power)

    def nearest(self) -> str:
        """The teacher of highest score; of equal ones, that which stands first."""
        scores = self._scores()
        return max(scores, key=scores.__getitem__)

    def to_json(self) -> dict[str, Any]:
        """The ranking as one flat dict of what JSON knows."""
        return {"format": RANKING_FORMAT, **asdict(self), "teachers": [*map(asdict, self.teachers)]}

    def save(self, path: Path) -> None:
        """Write the ranking, whole or not at all."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(path, text + "\n")

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

    def _scores(self) -> dict[str, float]:
        return {row.name: row.score for row in self.teachers if row.score is not None}


def rank(
    features: Mapping[str, Features],
    labels: NDArray[np.int64],
    *,
    metric: str = "parc",
    power: float = POWER,
    seed: int = 0,
    resamples: int = 200,
    domains: Mapping[str, str] = {},
    failures: Mapping[str, str] = {},
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Order teachers by how close they are to the task that labels describe.

    Every teacher meets the same resamples, so its interval does not depend on who else is ranked.
    Where no score is above 0 shares are equal, and `Ranking.note` says so.

    Args:
        features: of each teacher for the same N images, by name.
        labels: [N], -1 for an unlabelled image.
        metric: a name in `METRICS`.
        power: the larger, the more the nearest teachers get; finite, 0 is equal shares.
        seed: of the resamples.
        resamples: for the intervals; 0 for none.
        domains: what each teacher's images show, by name.
        failures: why a teacher could not be run, by name; it becomes a failed row.
        progress: called with (done, total) after each teacher.

    Raises:
        RankingError: the labels can rank nobody, or every teacher failed.
    """
    if metric not in METRICS:
        raise RankingError(f"No metric is called {metric!r}. Choose one of {', '.join(METRICS)}.")
    if not (math.isfinite(power) and power >= 0):
        raise RankingError(f"The power is {power}. Choose a finite number of 0 or more.")
    check_labels(labels)
    rows = [_fail(name, reason) for name, reason in failures.items()]
    for done, (name, outputs) in enumerate(features.items(), start=1):
        rows.append(_measure(name, outputs, labels, metric, seed, resamples))
        if progress:
            progress(done, len(features))
    scores = {row.name: row.score for row in rows if row.score is not None}
    if not scores:
        reasons = "; ".join(f"{row.name}: {row.reason}" for row in rows) or "none was given"
        raise RankingError(f"No teacher could be ranked ({reasons}).")
    shares = share_by_power(scores, power if max(scores.values()) > 0 else 0.0)
    rows.sort(key=lambda row: (-scores.get(row.name, -math.inf), row.name))
    return Ranking(
        metric=metric,
        images=len(labels),
        labeled=int(np.count_nonzero(labels >= 0)),
        classes=len(np.unique(labels[labels >= 0])),
        teachers=tuple(
            replace(row, domain=domains.get(row.name, ""), share=shares.get(row.name, 0.0))
            for row in rows
        ),
        seed=seed,
        power=power,
    )


def _measure(
    name: str,
    outputs: Features,
    labels: NDArray[np.int64],
    metric: str,
    seed: int,
    resamples: int,
) -> RankedTeacher:
    try:
        score = METRICS[metric](outputs, labels)
        drawn = BOOTSTRAPS[metric](outputs, labels, np.random.default_rng(seed), resamples)
    except RankingError as error:
        return _fail(name, str(error))
    low, high = map(float, np.percentile(drawn, (2.5, 97.5))) if resamples else (None, None)
    return RankedTeacher(name, "", score, low, high, 0.0, "ok")


def _fail(name: str, reason: str) -> RankedTeacher:
    return RankedTeacher(name, "", None, None, None, 0.0, "failed", reason)


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
