"""What people see of a test and of a plan: how good a student is, what a command would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import terminal

if TYPE_CHECKING:
    from distill.evaluation import Evaluation
    from zoo.budget import Outlook


def evaluation_table(result: Evaluation) -> None:
    """Accuracy by class, the worst first, and over all; its calibration; what it confuses."""
    from distill.assessment import PAIRS

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
    words = ", ".join(f"--{name.replace('_', '-')} {n}" for name, n in outlook.chosen.items())
    lines = [f"{total}.", f"The budget chooses {words}." if words else "", *outlook.notes]
    for line in filter(None, lines):
        place.print(line)


def _time(seconds: float | None) -> str:
    from zoo.budget import spell_duration

    return "?" if seconds is None else spell_duration(seconds) if seconds >= 1 else "<1s"
