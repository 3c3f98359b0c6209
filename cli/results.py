"""What people see of a test: classes, calibration, and what the student confuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import terminal

if TYPE_CHECKING:
    from distill.evaluation import Evaluation


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
