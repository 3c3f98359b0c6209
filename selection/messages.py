"""Sentences about a ranking: how to read its table, and warnings that it may mislead."""

from __future__ import annotations

from collections.abc import Sequence

from selection.metrics import UNLABELED
from selection.ranked_teacher import LEFT_OUT, WORSE, RankedTeacher
from selection.shares import SHAREABLE

FEW = 20
"""With fewer images a ranking without labels is not reliable."""


def name_all(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def find_warnings(
    teachers: Sequence[RankedTeacher], metric: str, *, images: int, labeled: int
) -> list[str]:
    """Why a ranking may mislead, a sentence or two each.

    Args:
        teachers: rows of the ranking, at least one of them `ok`.
        metric: that made the scores, or several with commas.
        images: number of images.
        labeled: how many of them are labeled.
    """
    rows = [row for row in teachers if row.status == "ok"]
    best = max(row.score for row in rows if row.score is not None)
    found = [
        _warn_of_controls(teachers, best),
        "No teacher scored above its permutation baseline: label more images before you trust the "
        "order."
        if _above_chance(rows) == 0
        else "",
        _warn_of_metric(metric.partition(",")[0], best, images, labeled),
    ]
    return [text for text in found if text]


def explain(teachers: Sequence[RankedTeacher], metric: str) -> list[str]:
    """How to read the table of a ranking, a sentence or two each."""
    metrics = metric.split(",")
    rows = [row for row in teachers if row.status == "ok"]
    found = [
        f"Order: mean rank over {name_all(metrics)}; shares: by {metrics[0]}."
        if metrics[1:]
        else "",
        _explain_ranks(rows),
        _explain_chance(rows),
        _explain_controls(teachers),
        *(_name_without_share(rows, reason) for reason in (WORSE, LEFT_OUT)),
    ]
    return [text for text in found if text]


def _warn_of_controls(teachers: Sequence[RankedTeacher], best: float) -> str:
    controls = {row.name: row.score or 0.0 for row in teachers if row.status == "control"}
    name = max(controls, key=controls.__getitem__, default="")
    if not name or best > controls[name]:
        return ""
    return (
        f"No teacher scored above the control {name!r}: teachers may not help here. "
        "Compare with `zoo distill --baseline transfer`."
    )


def _warn_of_metric(metric: str, best: float, images: int, labeled: int) -> str:
    if metric in UNLABELED:
        better = (
            f"Leave out --metric to rank by your {labeled} labels."
            if labeled
            else "Label a few images of each class to rank by them."
        )
        few = f" Only {images} images: it is not reliable." if images < FEW else ""
        return f"Ranked without labels, by {metric}: a weak estimate.{few} {better}"
    if metric not in SHAREABLE:
        return f"Scores by {metric} have no zero: unless edited, shares are equal."
    return "" if best > 0 else "No teacher scored above 0: unless edited, shares are equal."


def _above_chance(rows: Sequence[RankedTeacher]) -> int | None:
    """How many teachers score above their permutation baseline; None without any."""
    known = [(row.score, row.chance) for row in rows if row.chance is not None]
    return sum(score is not None and score > chance for score, chance in known) if known else None


def _explain_ranks(rows: Sequence[RankedTeacher]) -> str:
    ranks = [row.rank for row in rows if row.rank]
    if len(ranks) > 1 and set(ranks) == {1}:
        return "No teacher is significantly better than another; more labels may change that."
    return "Teachers of the same rank do not differ significantly." if ranks else ""


def _explain_chance(rows: Sequence[RankedTeacher]) -> str:
    chances = [row.chance for row in rows if row.chance is not None]
    if not chances:
        return ""
    return (
        f"Permutation baseline (95th percentile): {max(chances):.2f}; "
        f"{_above_chance(rows)} of {len(rows)} teachers above their own."
    )


def _explain_controls(teachers: Sequence[RankedTeacher]) -> str:
    if not any(row.status == "control" for row in teachers):
        return ""
    tested = any(row.low is not None for row in teachers)
    consequence = "; significantly worse teachers get share 0" if tested else ""
    return f"Controls are domain-agnostic baselines{consequence}."


def _name_without_share(rows: Sequence[RankedTeacher], reason: str) -> str:
    names = [row.name for row in rows if row.reason == reason and not row.share]
    return f"Share 0, {reason}: {name_all(names)}." if names else ""
