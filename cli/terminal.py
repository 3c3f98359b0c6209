"""What people see: tables and verdicts on stdout, progress and notes on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.one_line import one_line
from cli.stopping import stop_if_asked

if TYPE_CHECKING:
    from cli.teachers import Pulled
    from cli.workflow import Bars, Task
    from distill.evaluation.comparison import Comparison
    from distill.evaluation.evaluate import Evaluation
    from distill.report.report import Report
    from zoo.images.folder import Images
    from zoo.teachers.card import TeacherCard
    from zoo.teachers.verify import Verification

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def fall_silent() -> None:
    """Say nothing more but what went wrong."""
    sys.stdout = out.file = io.StringIO()
    err.quiet = True


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    every = (sys.stdout.encoding or "utf-8").lower() == "utf-8"
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=not every, allow_nan=False) + "\n")


def say(*columns: str) -> None:
    """A line on stdout, its columns between tabs: rich would turn them into spaces."""
    sys.stdout.write("\t".join(map(one_line, columns)) + "\n")


def note(text: str) -> None:
    """A line on stderr; nothing for an empty text."""
    if text:
        err.print(one_line(text))


def complain(text: str) -> None:
    """What went wrong: a line on stderr, even of who fell silent."""
    print(one_line(text), file=sys.stderr)


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

        def progress(done: int, total: int) -> None:
            bars.update(line, completed=done, total=total)
            stop_if_asked()

        return progress

    with bars:
        yield add


def teacher_table(cards: Sequence[TeacherCard]) -> None:
    """The zoo, a line a teacher; a wide terminal shows more of each."""
    wide = out.width >= 120
    more = ("accuracy>", "data~", "network") if wide else ()
    table = _table("name", "domain~", "classes>", "size>", "license~", *more, "")
    for card in sorted(cards, key=lambda card: bool(card.repo)):  # embedded ones and yours first
        accuracy = "" if card.accuracy is None else f"{card.accuracy:.1%}"
        _add(
            table,
            card.name,
            card.domain,
            str(card.classes or "-"),
            f"{card.bytes / 1e6:.0f} MB" if card.bytes >= 1e7 else f"{card.bytes / 1e6:.1f} MB",
            card.license,
            *((accuracy, card.data, card.network.partition(".")[0]) if wide else ()),
            _place(card),
        )
    _print(table)
    here = sum(card.folder is not None for card in cards)
    _print(
        f"{len(cards)} teachers of {len({card.domain for card in cards})} domains, {here} on this "
        "machine. * is in the default set of `zoo pull --default`; teachers without classes are "
        "used for their features; `zoo info NAME` shows all of one."
    )


def _place(card: TeacherCard) -> str:
    if not card.repo:
        return "embedded" if card.source.startswith("builtin:") else "yours"
    return "pulled" if card.folder else "gated" if card.gated else "*" * card.default


def card_lines(card: TeacherCard) -> None:
    """All of a card, a line an entry; long lists are cut."""
    shown = {**card.to_json(), "folder": str(card.folder or "not on this machine")}
    shown |= {"bytes": f"{card.bytes / 1e6:.1f} MB", "labels": _few(card.labels)}
    if card.accuracy is not None:
        images = shown.pop("accuracy_images")
        shown["accuracy"] = f"{card.accuracy:.1%} on {images} held-out images of its own domain"
    if card.golden:
        shown["golden"] = f"embeddings of two synthetic images, {len(card.golden[0])} numbers each"
    table = _table("entry", "value~")
    for name, value in shown.items():
        if value not in ("", (), {}, None, 0):
            _add(table, name, str(value))
    _print(table)


def _few(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)})" if len(labels) > 12 else ""
    return ", ".join(labels[:12]) + more


def pull_table(rows: Sequence[Pulled]) -> None:
    """What was fetched, a line a teacher, and the bytes in all."""
    table = _table("teacher", "", "size>", "commit", "reason~")
    for row in rows:
        size = f"{row.bytes / 1e6:.1f} MB" if row.bytes else ""
        _add(table, row.name, row.status, size, row.revision[:12], row.reason)
    _print(table)
    total = sum(row.bytes for row in rows) / 1e6
    failed = sum(row.status == "failed" for row in rows)
    say(f"{total:.1f} MB, {len(rows) - failed} of {len(rows)} teachers.")


def verification_table(verdicts: Sequence[Verification]) -> None:
    """What was checked of each teacher, and what is wrong."""
    table = _table("teacher", "", "checked~")
    for row in verdicts:
        state = "BROKEN" if row.problem else "ok"
        _add(table, row.name, state, row.problem or ", ".join(row.checks))
    _print(table)
    broken = sum(bool(row.problem) for row in verdicts)
    say(f"{len(verdicts) - broken} of {len(verdicts)} teachers are as their cards say.")


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
    page = Path(report.student) / "report.html"
    if page.is_file():
        say(f"How it went, as a page: {page}")


def accuracy_line(result: Evaluation) -> str:
    """Accuracy with its interval, in words."""
    return (
        f"Accuracy {result.accuracy:.1%} on {result.images} images "
        f"(95 % interval {result.low:.1%} to {result.high:.1%})."
    )


def comparison_table(comparison: Comparison) -> None:
    """Methods from the best to the worst, then in words which to ship."""
    table = _table("method", "accuracy>", "95 % interval>", "behind>", "by chance>", "seconds>")
    for row in comparison.standings:
        interval = f"{row.low:.1%} to {row.high:.1%}"
        behind, chance = (
            (f"{100 * row.behind:.1f}", f"{row.chance:.3f}") if row.behind else ("", "")
        )
        _add(
            table, row.method, f"{row.accuracy:.1%}", interval, behind, chance, f"{row.seconds:.0f}"
        )
    _print(table)
    say(comparison.verdict)
    folds = f"left out in turn ({comparison.folds} folds)" if comparison.folds else "held out"
    say(f"On {comparison.images} labeled images {folds}; one seed.")


def verdict(reports: Sequence[Report]) -> None:
    """Methods side by side, then in words whether the first beats the second."""
    table = _table("method", "accuracy>", "95 % interval>", "seconds>")
    results = [(report.method, report.evaluation) for report in reports if report.evaluation]
    for report, (method, result) in zip(reports, results, strict=True):
        interval = f"{result.low:.1%} to {result.high:.1%}"
        _add(table, method, f"{result.accuracy:.1%}", interval, f"{report.seconds:.0f}")
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


def show_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], place: Console = out) -> None:
    """A plain table: columns whose name ends in > are set to the right, in ~ may wrap.

    No number is cut: a table wider than the terminal runs on in its next line.
    """
    table = _table(*columns)
    for row in rows:
        _add(table, *row)
    least = Measurement.get(place, place.options.update(width=1000), table).minimum
    table.width = least if least > place.width else None
    place.print(table, soft_wrap=False, crop=False)


def _table(*columns: str) -> Table:
    """The table of `show_rows` without rows."""
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


def _add(table: Table, *cells: str) -> None:
    table.add_row(*map(one_line, cells))


def _print(table: Table | str) -> None:
    out.print(table, soft_wrap=False)


def read_task(task: Task, bars: Bars, *, blind: bool = False) -> Images:
    """The task's images; what is odd about them goes to stderr."""
    from zoo.images.checks import check_dataset

    images = task.read(bars, blind=blind)
    for text in check_dataset(images):
        note(text)
    return images
