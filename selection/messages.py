"""What to tell people of a ranking: how to read its table, and when not to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selection.metrics.unlabeled import UNLABELED
from selection.shares import SHAREABLE

if TYPE_CHECKING:
    from selection.ranking import RankedTeacher, Ranking

BEATEN = "clearly worse than a control"
LEFT_OUT = "left out by --top"
"""Why a teacher that did not fail has no share."""

FEW = 20
"""Fewer images without labels than this say next to nothing."""


def name_all(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def warn(ranking: Ranking) -> list[str]:
    """Why the ranking may mislead, a sentence or two each."""
    rows = [row for row in ranking.teachers if row.status == "ok"]
    best = max(row.score for row in rows if row.score is not None)
    return list(
        filter(
            None,
            [
                _warn_of_controls(ranking, best),
                _warn_of_chance(rows),
                _warn_of_metric(ranking, best),
            ],
        )
    )


def read_table(ranking: Ranking) -> list[str]:
    """How to read the table, a sentence or two each."""
    metrics = ranking.metric.split(",")
    rows = [row for row in ranking.teachers if row.status == "ok"]
    return list(
        filter(
            None,
            [
                f"Order: mean rank over {name_all(metrics)}; shares: by {metrics[0]}."
                if metrics[1:]
                else "",
                _read_places(rows),
                _read_chance(rows, metrics[0]),
                _read_controls(ranking),
                _without_share(rows, BEATEN),
                _without_share(rows, LEFT_OUT),
            ],
        )
    )


def _warn_of_controls(ranking: Ranking, best: float) -> str:
    controls = {
        row.name: row.score
        for row in ranking.teachers
        if row.status == "control" and row.score is not None
    }
    name = max(controls, key=controls.__getitem__, default="")
    if not name or best > controls[name]:
        return ""
    return (
        f"No teacher scored above the control {name!r}: teachers may be of no use here. "
        "Compare with `zoo distill --baseline transfer`."
    )


def _warn_of_chance(rows: Sequence[RankedTeacher]) -> str:
    if _above_chance(rows) != 0:
        return ""
    return (
        "No teacher scored above what labels dealt at random give: label more images before you "
        "trust the order."
    )


def _warn_of_metric(ranking: Ranking, best: float) -> str:
    metric = ranking.metric.partition(",")[0]
    if metric in UNLABELED:
        better = (
            f"Leave out --metric to rank by your {ranking.labeled} labels."
            if ranking.labeled
            else "Label a few images of each class to rank by them."
        )
        few = f" Only {ranking.images} images: it says next to nothing." * (ranking.images < FEW)
        return f"Ranked without labels, by {metric}: a weak guess.{few} {better}"
    if metric not in SHAREABLE:
        return f"Scores by {metric} have no zero, so unless edited, shares are equal."
    return "" if best > 0 else "No teacher scored above 0: unless edited, shares are equal."


def _above_chance(rows: Sequence[RankedTeacher]) -> int | None:
    """How many teachers score above their own chance; None where chance is unknown."""
    known = [(row.score, row.chance) for row in rows if row.chance is not None]
    return sum(score is not None and score > chance for score, chance in known) if known else None


def _read_places(rows: Sequence[RankedTeacher]) -> str:
    places = [row.place for row in rows if row.place]
    if len(places) > 1 and set(places) == {1}:
        return "No teacher is clearly better than another: with more labels some may be."
    return "Teachers of one place cannot be told apart." if places else ""


def _read_chance(rows: Sequence[RankedTeacher], metric: str) -> str:
    chances = [row.chance for row in rows if row.chance is not None]
    if not chances:
        return ""
    return (
        f"By chance, with the labels dealt at random, {metric} is up to {max(chances):.2f}; "
        f"{_above_chance(rows)} of {len(rows)} teachers are above their own chance."
    )


def _read_controls(ranking: Ranking) -> str:
    if not any(row.status == "control" for row in ranking.teachers):
        return ""
    told = any(row.low is not None for row in ranking.teachers)
    return "Controls know nothing of any domain" + (
        ": who is clearly worse has no share." if told else "."
    )


def _without_share(rows: Sequence[RankedTeacher], reason: str) -> str:
    names = [row.name for row in rows if row.reason == reason and not row.share]
    return f"No share, {reason}: {name_all(names)}." if names else ""
