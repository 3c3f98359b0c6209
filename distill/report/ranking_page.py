"""A ranking of teachers as a page or a part of one, from the ranking's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.report.html import (
    INTERVAL,
    Html,
    Part,
    bar,
    command_box,
    document,
    ends,
    facts,
    few,
    fragment,
    part,
    table,
    tag,
    track,
)
from zoo import __version__

Row = Mapping[str, Any]
"""A teacher of a ranking, as its JSON has it."""


def ranking_page(ranking: Mapping[str, Any], *, command: str, notes: Sequence[str] = ()) -> str:
    """A whole page of a ranking.

    Args:
        ranking: as `zoo rank --json` shows it.
        command: the command line that made it.
        notes: what else to tell, such as mishaps; empty ones are left out.
    """
    top = [
        tag("p", "source-zoo, ranking of teachers", class_="kicker"),
        tag("h1", f"Teachers for {_folder_name(ranking['target'])}"),
        tag("p", ranking_verdict(ranking), class_="verdict"),
        tag("p", _shares_in_words(ranking["teachers"]), class_="lead"),
        *(tag("p", note, class_="note") for note in notes if note),
        facts(
            ("Labeled images", str(ranking["labeled"])),
            ("All images", str(ranking["images"])),
            ("Classes", str(ranking["classes"])),
            ("Zoo", ranking["zoo"]),
            ("Measured by", ranking["metric"].replace(",", ", ")),
        ),
    ]
    again = part(
        "again",
        "How to repeat it",
        command_box(command),
        table(
            "origin",
            "What it was made from",
            ["entry", "value"],
            [
                ["source-zoo", __version__],
                ["folder of images", ranking["target"]],
                ["images and labels, SHA-256", tag("code", ranking["digest"])],
                ["seed", str(ranking["seed"])],
                ["share is score to the power", f"{ranking['power']:g}"],
            ],
            class_="plain",
        ),
        tag("p", "The next step: ", tag("code", "zoo distill --weighted --arch mobilenetv3")),
    )
    return document("Ranking of teachers", top, [ranking_part(ranking), again])


def ranking_verdict(ranking: Mapping[str, Any]) -> str:
    """Who is closest, in a sentence."""
    taught = [row for row in ranking["teachers"] if row["status"] == "ok"]
    metric = ranking["metric"].partition(",")[0]
    first = [row for row in taught if row["rank"] == 1]
    if len(first) > 1:
        names = few([row["name"] for row in first])
        return (
            f"{len(first)} of {len(taught)} teachers are the closest and cannot be told apart: "
            f"{names}."
        )
    best = (first or taught)[0]
    interval = ""
    if best["low"] is not None:
        interval = f" ({INTERVAL} {best['low']:.2f} to {best['high']:.2f})"
    return (
        f"{best['name']} is the closest of {len(taught)} teachers: "
        f"{metric} {best['score']:.3f}{interval}."
    )


def ranking_part(ranking: Mapping[str, Any], shares: Mapping[str, float] | None = None) -> Part:
    """The ranking as a part of a page.

    Args:
        ranking: as `zoo rank --json` shows it.
        shares: of who taught; None for the shares that the ranking has.
    """
    rows: Sequence[Row] = ranking["teachers"]
    metric, *others = ranking["metric"].split(",")
    low, high = _limits(rows)
    columns = ["teacher", f"{metric}, {INTERVAL}", "share", *(f"{name}>" for name in others)]
    given = shares or {row["name"]: row["share"] for row in rows}
    cells = [
        [
            fragment(row["name"], tag("small", _standing(row))),
            _score(row, low, high),
            _share(row, given),
            *(f"{row['scores'][name]:.3f}" if row["score"] is not None else "" for name in others),
        ]
        for row in rows
    ]
    return part(
        "ranking",
        "Ranking of the teachers",
        tag("p", " ".join(ranking["explanation"])),
        table(
            "ranking-table",
            f"Teachers by closeness. On the line from {low:.3g} to {high:.3g}: a dot for the "
            f"{metric} score, a bar for its {INTERVAL}, an upright mark for what chance "
            "reaches; controls have a hollow dot.",
            columns,
            cells,
        ),
    )


def _standing(row: Row) -> str:
    rank = f"rank {row['rank']}" if row["rank"] else ""
    return ", ".join(filter(None, [rank, row["domain"]]))


def _score(row: Row, low: float, high: float) -> Html:
    """Score and interval in numbers, and below them on a line from `low` to `high`."""
    if row["score"] is None:
        return tag("td", f"failed: {row['reason']}", class_="wide")

    def place(value: float | None) -> float | None:
        return None if value is None else (value - low) / (high - low)

    interval = ends(f"{row['low']:.2f}", f"{row['high']:.2f}") if row["low"] is not None else ""
    return tag(
        "td",
        f"{row['score']:.3f}",
        interval,
        track(
            (row["score"] - low) / (high - low),
            place(row["low"]),
            place(row["high"]),
            mark=place(row["chance"]),
            hollow=row["status"] == "control",
        ),
        class_="wide",
    )


def _share(row: Row, shares: Mapping[str, float]) -> Html:
    if row["status"] == "control":
        return tag("td", "control", class_="share quiet")
    share = shares.get(row["name"], 0.0)
    length = bar(share / max(shares.values())) if share else ""
    why = "" if share else tag("small", row["reason"])
    return tag("td", f"{share:.1%}", length, why, class_="share")


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Ends of a line that all scores, intervals and chances lie on."""
    named = ("score", "low", "high", "chance")
    values = [row[name] for row in rows for name in named if row[name] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _shares_in_words(rows: Sequence[Row]) -> str:
    shares = sorted(((row["share"], row["name"]) for row in rows if row["share"]), reverse=True)
    named = few([f"{name} ({share:.0%})" for share, name in shares])
    return f"Shares of the teaching: {named}."


def _folder_name(target: str) -> str:
    """The last two parts of its path: folders are called `train` too often."""
    return "/".join(Path(target).parts[-2:]) or "your images"
