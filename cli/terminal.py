"""What people see: tables and verdicts on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from distill.evaluation import Evaluation
    from distill.report import Report
    from selection import Ranking
    from zoo.card import TeacherCard

    from .workflow import Bars

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def say(text: str) -> None:
    """A line on stdout, as it is: rich would turn its tabs into spaces."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line on stderr, as it is; nothing for an empty text."""
    if text:
        err.print(text)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Bars on stderr, one per piece of work, gone when all is done."""
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )

    def add(what: str):
        line = bars.add_task(what, total=None)
        return lambda done, total: bars.update(line, completed=done, total=total)

    with bars:
        yield add


def teacher_table(cards: Sequence[TeacherCard]) -> None:
    """The zoo, a line a teacher."""
    table = _table("name", "domain~", "classes>", "accuracy>", "size>", "license", "data~")
    for card in cards:
        accuracy = "" if card.accuracy is None else f"{card.accuracy:.1%}"
        table.add_row(
            card.name,
            card.domain,
            str(len(card.labels)),
            accuracy,
            f"{card.bytes / 1e6:.1f} MB",
            card.license,
            card.data,
        )
    _print(table)
    say("Accuracy is on held-out images of the teacher's own domain.")


def ranking_table(ranking: Ranking) -> None:
    """Teachers by closeness, with intervals and shares."""
    table = _table("", "teacher", "domain", f"{ranking.metric}>", "95 % interval~", "share>")
    for place, row in enumerate(ranking.teachers, start=1):
        if row.score is None:
            table.add_row("", row.name, row.domain, "failed", row.reason, "")
            continue
        interval = "" if row.low is None else f"{row.low:.3f} to {row.high:.3f}"
        table.add_row(
            str(place), row.name, row.domain, f"{row.score:.3f}", interval, f"{row.share:.1%}"
        )
    _print(table)
    say(
        f"{ranking.labeled} labelled of {ranking.images} images, {ranking.classes} classes; "
        f"{ranking.forward_passes} forward passes."
    )


def report_lines(report: Report) -> None:
    """A finished run in two lines."""
    shares = sorted(report.teachers.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)
    say(
        f"{report.arch}, {report.method}, {report.recipe.updates} updates in "
        f"{report.seconds:.0f} s" + (f"; teachers: {named}" if named else "") + "."
    )
    if report.evaluation:
        say(accuracy_line(report.evaluation))
    say(f"The student is in {report.student}.")


def accuracy_line(result: Evaluation) -> str:
    """Accuracy with its interval, in words."""
    return (
        f"Accuracy {result.accuracy:.1%} on {result.images} images "
        f"(95 % interval {result.low:.1%} to {result.high:.1%})."
    )


def evaluation_table(result: Evaluation) -> None:
    """Accuracy over all and by class, the worst class first."""
    table = _table("class", "accuracy>")
    for name, accuracy in sorted(result.per_class.items(), key=lambda item: item[1]):
        table.add_row(name, f"{accuracy:.1%}")
    _print(table)
    say(accuracy_line(result))


def verdict(reports: Sequence[Report]) -> None:
    """Methods side by side, then in words whether the first beats the second."""
    table = _table("method", "accuracy>", "95 % interval>", "seconds>")
    results = [(report.method, report.evaluation) for report in reports if report.evaluation]
    for report, (method, result) in zip(reports, results, strict=True):
        interval = f"{result.low:.1%} to {result.high:.1%}"
        table.add_row(method, f"{result.accuracy:.1%}", interval, f"{report.seconds:.0f}")
    _print(table)
    (first, one), (second, other) = results[:2]
    gain, low, high = one.gain_over(other)
    points = f"{abs(gain) * 100:.1f} points ({low * 100:+.1f} to {high * 100:+.1f})"
    if low > 0:
        say(f"{first} beats {second} by {points}, beyond the noise of {one.images} test images.")
    elif high < 0:
        say(f"{first} loses to {second} by {points}: ship the {second} student.")
    else:
        say(f"{first} and {second} differ by {points}: within the noise of the test images.")
    say("One draw of labels and one seed: repeat with other --seed values before you rely on it.")


def _table(*columns: str) -> Table:
    """A plain table: columns whose name ends in > are set to the right, in ~ may wrap."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(
            name.rstrip(">~"),
            justify="right" if name.endswith(">") else "left",
            no_wrap=not name.endswith("~"),
            min_width=10 if name.endswith("~") else None,
            overflow="fold",
        )
    return table


def _print(table: Table) -> None:
    out.print(table, soft_wrap=False)
