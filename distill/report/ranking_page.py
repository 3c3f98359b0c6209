"""A ranking of teachers as a page or as a section of one, from the ranking's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.report.html import INTERVAL, NAMED, render_page
from zoo import __version__
from zoo.system.words import join_names

Row = Mapping[str, Any]
"""A teacher of a ranking, as in its JSON."""


def ranking_page(ranking: Mapping[str, Any], *, command: str, notes: Sequence[str] = ()) -> str:
    """A whole page of a ranking, as `zoo rank --json` shows it; it states the command that made it.

    `notes` are further messages, such as warnings; empty ones are left out.
    """
    shares = {row["name"]: row["share"] for row in ranking["teachers"]}
    # the last two parts of the path: many folders are called `train`
    folder = "/".join(Path(ranking["target"]).parts[-2:]) or "your images"
    return render_page(
        {
            "kind": "ranking of teachers",
            "heading": f"Teachers for {folder}",
            "verdict": ranking_verdict(ranking),
            "lead": f"Shares: {list_shares(shares)}.",
            "details": [],
            "notes": notes,
            "facts": {
                "Labeled images": ranking["labeled"],
                "All images": ranking["images"],
                "Classes": ranking["classes"],
                "Zoo": ranking["zoo"],
                "Metrics": ranking["metric"].replace(",", ", "),
            },
            "sections": {"ranking": "Teacher ranking", "again": "Reproduce"},
            **ranking_context(ranking, shares),
            "command": command,
            "origin": {
                "source-zoo": __version__,
                "image folder": ranking["target"],
                "images and labels, SHA-256": ranking["digest"],
                "seed": ranking["seed"],
                "exponent of the shares": f"{ranking['power']:g}",
            },
            "next": "Next step: zoo distill --weighted --arch mobilenetv3",
        }
    )


def list_shares(shares: Mapping[str, float]) -> str:
    """The teachers with a share, at least one, by descending share, for a sentence."""
    ordered = sorted(((share, name) for name, share in shares.items() if share), reverse=True)
    return join_names([f"{name} ({share:.0%})" for share, name in ordered], NAMED)


def ranking_verdict(ranking: Mapping[str, Any]) -> str:
    """The closest teachers, in a sentence."""
    teachers = [row for row in ranking["teachers"] if row["status"] == "ok"]
    metric = ranking["metric"].partition(",")[0]
    first = [row for row in teachers if row["rank"] == 1]
    if len(first) > 1:
        names = join_names([row["name"] for row in first], NAMED)
        return f"{len(first)} of {len(teachers)} teachers are tied for rank 1: {names}."
    best = (first or teachers)[0]
    interval = ""
    if best["low"] is not None:
        interval = f" ({INTERVAL} {best['low']:.2f} to {best['high']:.2f})"
    return (
        f"{best['name']} is the closest of {len(teachers)} teachers: "
        f"{metric} {best['score']:.3f}{interval}."
    )


def ranking_context(ranking: Mapping[str, Any], shares: Mapping[str, float]) -> dict[str, Any]:
    """Variables of the section `ranking`; shares are those of the ranking or of a distillation."""
    low, high = _find_limits(ranking["teachers"])
    metrics = ranking["metric"].split(",")
    return {
        "explanation": " ".join(ranking["explanation"]),
        "limits": f"{low:.3g} to {high:.3g}",
        "metrics": metrics,
        "largest_share": max(shares.values(), default=0.0),
        "ranked": [_row(row, metrics[1:], shares, low, high) for row in ranking["teachers"]],
    }


def _row(
    row: Row, metrics: Sequence[str], shares: Mapping[str, float], low: float, high: float
) -> dict[str, Any]:
    """Variables of a row of the table; scores are drawn on a line from `low` to `high`."""

    def place(name: str) -> float | None:
        return None if row[name] is None else (row[name] - low) / (high - low)

    scored = row["score"] is not None
    rank = f"rank {row['rank']}" if row["rank"] else ""
    return {
        "name": row["name"],
        "detail": ", ".join(filter(None, [rank, row["domain"]])),
        "failed": "" if scored else row["reason"],
        "score": f"{row['score']:.3f}" if scored else "",
        "ends": "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}",
        "point": place("score"),
        "low": place("low"),
        "high": place("high"),
        "mark": place("chance"),
        "control": row["status"] == "control",
        "share": shares.get(row["name"], 0.0),
        "reason": row["reason"],
        "others": [f"{row['scores'][name]:.3f}" if scored else "" for name in metrics],
    }


def _find_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Limits of a line that holds all scores, intervals and baselines."""
    names = ("score", "low", "high", "chance")
    values = [row[name] for row in rows for name in names if row[name] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
