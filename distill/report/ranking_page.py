"""A ranking of teachers as a page or as a section of one, from the ranking's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.report.html import (
    INTERVAL,
    Html,
    Part,
    bar,
    document,
    fragment,
    join_names,
    origin_part,
    paragraph,
    part,
    score_cell,
    table,
    tag,
)
from zoo import __version__

Row = Mapping[str, Any]
"""A teacher of a ranking, as in its JSON."""


def ranking_page(ranking: Mapping[str, Any], *, command: str, notes: Sequence[str] = ()) -> str:
    """A whole page of a ranking.

    Args:
        ranking: as `zoo rank --json` shows it.
        command: the command line that made it.
        notes: further messages, such as warnings; empty ones are left out.
    """
    shares = {row["name"]: row["share"] for row in ranking["teachers"]}
    origin = origin_part(
        command,
        [
            ["source-zoo", __version__],
            ["image folder", ranking["target"]],
            ["images and labels, SHA-256", tag("code", ranking["digest"])],
            ["seed", str(ranking["seed"])],
            ["exponent of the shares", f"{ranking['power']:g}"],
        ],
        "Next step: ",
        tag("code", "zoo distill --weighted --arch mobilenetv3"),
    )
    # the last two parts of the path: many folders are called `train`
    folder = "/".join(Path(ranking["target"]).parts[-2:]) or "your images"
    return document(
        "teacher ranking",
        f"Teachers for {folder}",
        [
            paragraph(ranking_verdict(ranking), class_="verdict"),
            paragraph(f"Shares: {list_shares(shares)}.", class_="lead"),
            *(paragraph(note, class_="note") for note in notes if note),
        ],
        [
            ("Labeled images", str(ranking["labeled"])),
            ("All images", str(ranking["images"])),
            ("Classes", str(ranking["classes"])),
            ("Zoo", ranking["zoo"]),
            ("Metrics", ranking["metric"].replace(",", ", ")),
        ],
        [ranking_part(ranking), origin],
    )


def list_shares(shares: Mapping[str, float]) -> str:
    """The teachers with a share, at least one, by descending share, for a sentence."""
    ordered = sorted(((share, name) for name, share in shares.items() if share), reverse=True)
    return join_names([f"{name} ({share:.0%})" for share, name in ordered])


def ranking_verdict(ranking: Mapping[str, Any]) -> str:
    """The closest teachers, in a sentence."""
    teachers = [row for row in ranking["teachers"] if row["status"] == "ok"]
    metric = ranking["metric"].partition(",")[0]
    first = [row for row in teachers if row["place"] == 1]
    if len(first) > 1:
        names = join_names([row["name"] for row in first])
        return f"{len(first)} of {len(teachers)} teachers are tied for rank 1: {names}."
    best = (first or teachers)[0]
    interval = ""
    if best["low"] is not None:
        interval = f" ({INTERVAL} {best['low']:.2f} to {best['high']:.2f})"
    return (
        f"{best['name']} is the closest of {len(teachers)} teachers: "
        f"{metric} {best['score']:.3f}{interval}."
    )


def ranking_part(ranking: Mapping[str, Any], shares: Mapping[str, float] | None = None) -> Part:
    """The ranking as a section of a page.

    Args:
        ranking: as `zoo rank --json` shows it.
        shares: of the distillation; None for the ranking's own.
    """
    rows: Sequence[Row] = ranking["teachers"]
    metric, *others = ranking["metric"].split(",")
    low, high = _find_limits(rows)
    used = shares or {row["name"]: row["share"] for row in rows}

    def rank(row: Row) -> str:
        return f"rank {row['place']}" if row["place"] else ""

    cells = [
        [
            fragment(
                row["name"], tag("small", ", ".join(filter(None, [rank(row), row["domain"]])))
            ),
            _score(row, low, high),
            _share(row, used),
            *(f"{row['scores'][name]:.3f}" if row["score"] is not None else "" for name in others),
        ]
        for row in rows
    ]
    return part(
        "ranking",
        "Teacher ranking",
        paragraph(" ".join(ranking["reading"])),
        table(
            "ranking-table",
            f"Teachers by score. On the line from {low:.3g} to {high:.3g}: a dot for the {metric} "
            f"score, a bar for its {INTERVAL}, a vertical mark for the permutation baseline; "
            "controls have a hollow dot.",
            ["teacher", f"{metric}, {INTERVAL}", "share", *(f"{name}>" for name in others)],
            cells,
        ),
    )


def _score(row: Row, low: float, high: float) -> Html:
    """Score and interval in numbers, and drawn on a line from `low` to `high`."""
    if row["score"] is None:
        return tag("td", f"failed: {row['reason']}", class_="wide")

    def place(name: str) -> float | None:
        return None if row[name] is None else (row[name] - low) / (high - low)

    ends = ("", "") if row["low"] is None else (f"{row['low']:.2f}", f"{row['high']:.2f}")
    return score_cell(
        (f"{row['score']:.3f}", *ends),
        (row["score"] - low) / (high - low),
        place("low"),
        place("high"),
        mark=place("chance"),
        hollow=row["status"] == "control",
    )


def _share(row: Row, shares: Mapping[str, float]) -> Html:
    if row["status"] == "control":
        return tag("td", "control", class_="share quiet")
    share = shares.get(row["name"], 0.0)
    detail = bar(share / max(shares.values())) if share else tag("small", row["reason"])
    return tag("td", f"{share:.1%}", detail, class_="share")


def _find_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Limits of a line that holds all scores, intervals and baselines."""
    names = ("score", "low", "high", "chance")
    values = [row[name] for row in rows for name in names if row[name] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
