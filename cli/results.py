"""What people see of a ranking, a test and a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import terminal

if TYPE_CHECKING:
    from distill.evaluation.evaluate import Evaluation
    from selection import Ranking
    from zoo.budget import Outlook


CHOSEN = {
    "updates": "--updates {}",
    "image_size": "--image-size {}",
    "labeled": "at most {} labeled images",
    "probe": "--probe {}",
}
"""What a budget chooses, in words."""


def ranking_table(ranking: Ranking) -> None:
    """Teachers by closeness, with intervals and shares; equal ranks are ties."""
    first, *others = ranking.metric.split(",")
    teachers = ranking.teachers
    ranked = [""] if any(row.rank for row in teachers) else []
    drawn = ["95 % interval~"] if any(row.low is not None for row in teachers) else []
    columns = [*ranked, "teacher", "domain", f"{first}>", *drawn, *(f"{n}>" for n in others)]
    rows = [
        [
            *(str(row.rank or "") for _ in ranked),
            row.name,
            row.domain,
            "failed" if row.score is None else f"{row.score:.3f}",
            *("" if row.low is None else f"{row.low:.2f} to {row.high:.2f}" for _ in drawn),
            *("" if row.score is None else f"{row.scores[name]:.3f}" for name in others),
            {"ok": f"{row.share:.1%}", "control": "control", "failed": ""}[row.status],
        ]
        for row in teachers
    ]
    terminal.show_rows([*columns, "share>"], rows)
    for row in teachers:
        if row.status == "failed":
            terminal.say(f"{row.name} failed: {row.reason}")
    terminal.say(
        f"{ranking.labeled} labeled of {ranking.images} images, {ranking.classes} classes; "
        f"{ranking.forward_passes} forward passes."
    )
    for text in ranking.explanation:
        terminal.say(text)


def evaluation_table(result: Evaluation) -> None:
    """Accuracy by class, the worst first, and over all; its calibration; what it confuses."""
    from distill.evaluation.metrics import PAIRS

    rows = sorted(result.by_class, key=lambda row: row.accuracy)
    terminal.show_rows(
        ["class", "accuracy>", "95 % interval>", "images>"],
        [
            (row.name, f"{row.accuracy:.1%}", f"{row.low:.1%} to {row.high:.1%}", str(row.images))
            for row in rows
        ],
    )
    terminal.say(terminal.accuracy_line(result))
    if result.calibration:
        terminal.say(
            f"Expected calibration error {result.calibration.error:.1%}: it is "
            f"{result.calibration.confidence:.1%} certain on average."
        )
    for truth, said, count in result.confused[:PAIRS]:
        terminal.say(f"{truth} taken for {said}, {count} {'time' if count == 1 else 'times'}.")


def outlook_table(outlook: Outlook, *, dry_run: bool, as_json: bool) -> None:
    """What a command would do: the answer of a dry run, else a word before it begins."""
    from zoo.budget import spell_duration

    if dry_run and as_json:
        terminal.print_json(outlook.to_json())
        return
    place = terminal.out if dry_run else terminal.err
    rows: list[tuple[str, str, str, str]] = []
    for step in outlook.steps:
        count, unit = f"{step.count:,}", step.unit
        if unit == "bytes":
            count, unit = f"{step.count / 1e6:.1f}", "MB"
        rows.append((step.what, count, unit, _time(step.seconds)))
    terminal.show_rows(["step", ">", "", "time>"], rows, place)
    total = f"{spell_duration(outlook.seconds)} in all"
    if outlook.budget:
        total += f", of {spell_duration(outlook.budget)}"
    fetched = outlook.count("bytes")
    total += f", and the time to fetch {fetched / 1e6:.1f} MB" if fetched else ""
    words = ", ".join(CHOSEN[name].format(number) for name, number in outlook.chosen.items())
    lines = [f"{total}.", f"The budget chooses {words}." if words else "", *outlook.notes]
    for line in filter(None, lines):
        place.print(line)


def _time(seconds: float | None) -> str:
    from zoo.budget import spell_duration

    return "?" if seconds is None else spell_duration(seconds) if seconds >= 1 else "<1s"
