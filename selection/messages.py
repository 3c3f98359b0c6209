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
    controls = {row.name: row.score or 0.0 for row in teachers if row.status == "control"}
    control = max(controls, key=controls.__getitem__, default="")
    found: list[str] = []
    if control and best <= controls[control]:
        found.append(
            f"No teacher scored above the control {control!r}: teachers may not help here. "
            "Compare with `zoo distill --baseline transfer`."
        )
    if any(row.chance is not None for row in rows) and not _count_above_chance(rows):
        found.append(
            "No teacher scored above its permutation baseline: label more images before you trust "
            "the order."
        )
    metric = metric.partition(",")[0]
    if metric in UNLABELED:
        few = f" Only {images} images: it is not reliable." if images < FEW else ""
        better = (
            f"Leave out --metric to rank by your {labeled} labels."
            if labeled
            else "Label a few images of each class to rank by them."
        )
        found.append(f"Ranked without labels, by {metric}: a weak estimate.{few} {better}")
    elif metric not in SHAREABLE:
        found.append(f"Scores by {metric} have no zero: unless edited, shares are equal.")
    elif best <= 0:
        found.append("No teacher scored above 0: unless edited, shares are equal.")
    return found


def explain(teachers: Sequence[RankedTeacher], metric: str) -> list[str]:
    """How to read the table of a ranking, a sentence or two each."""
    metrics = metric.split(",")
    rows = [row for row in teachers if row.status == "ok"]
    found: list[str] = []
    if metrics[1:]:
        found.append(f"Order: mean rank over {name_all(metrics)}; shares: by {metrics[0]}.")
    ranks = [row.rank for row in rows if row.rank]
    if len(ranks) > 1 and set(ranks) == {1}:
        found.append("No teacher is significantly better than another; more labels may change it.")
    elif ranks:
        found.append("Teachers of the same rank do not differ significantly.")
    if chances := [row.chance for row in rows if row.chance is not None]:
        found.append(
            f"Permutation baseline (95th percentile): {max(chances):.2f}; "
            f"{_count_above_chance(rows)} of {len(rows)} teachers above their own."
        )
    if any(row.status == "control" for row in teachers):
        tested = any(row.low is not None for row in teachers)
        rule = "; significantly worse teachers get share 0" if tested else ""
        found.append(f"Controls are domain-agnostic baselines{rule}.")
    for reason in (WORSE, LEFT_OUT):
        if names := [row.name for row in rows if row.reason == reason and not row.share]:
            found.append(f"Share 0, {reason}: {name_all(names)}.")
    return found


def _count_above_chance(rows: Sequence[RankedTeacher]) -> int:
    """How many teachers score above their own permutation baseline."""
    known = [(row.score, row.chance) for row in rows if row.chance is not None]
    return sum(score is not None and score > chance for score, chance in known)
