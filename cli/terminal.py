"""The terminal: data on stdout, progress and messages on stderr, a clean end on SIGTERM."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from zoo.system import timing
from zoo.system.runtime import Runtime

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

STOPPED = 128 + signal.SIGTERM
"""Exit code of a command that SIGTERM ended, by the convention of shells."""

GRACE = 10
"""Seconds after which the command ends wherever it is."""

_BIDI = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Code points that change the direction of writing: a name could look like another."""
_SPELLED = {
    code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *_BIDI)
}
_stop_requested = False

EVERY = 30.0
"""Seconds of silence after which there is a line of progress where stderr is no terminal."""


@dataclass
class Verbosity:
    """What is printed on stderr beside errors: nothing (`-q`), progress and warnings, or more.

    `spoke` is the time of the last line.
    """

    quiet: bool = False
    verbose: bool = False
    spoke: float = 0.0


state = Verbosity()


def one_line(text: str) -> str:
    """Text with its control characters spelled out: file names may contain them."""
    return text.translate(_SPELLED)


def escape_unencodable() -> None:
    """Write what the encoding of stdout lacks as escapes instead of raising an error."""
    sys.stdout = sys.stdout or io.StringIO()  # a shell may have closed it
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Throw away what stdout could not write: the end of the interpreter would try again."""
    with suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave_broken_pipe() -> NoReturn:
    """End the command with exit code 0: the reader of stdout has enough, as `head` has."""
    drop_output()
    sys.exit(0)


out.on_broken_pipe = leave_broken_pipe  # rich would exit with code 1


def silence() -> None:
    """Print nothing more but errors."""
    sys.stdout = out.file = io.StringIO()
    err.quiet = True


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(_to_json(document) + "\n")


def print_json_list(entries: Iterable[Any]) -> None:
    """One JSON document on stdout, a list, each entry as soon as it is there."""
    before = "["
    for entry in entries:
        sys.stdout.write(f"{before}\n{_to_json(entry)}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def _to_json(document: Any) -> str:
    every = (sys.stdout.encoding or "utf-8").lower() == "utf-8"
    return json.dumps(document, indent=1, ensure_ascii=not every, allow_nan=False)


def print_csv(rows: Iterable[Sequence[str]]) -> None:
    """A CSV table on stdout, each row as soon as it is there."""
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


def say(*columns: str) -> None:
    """A line on stdout, its columns between tabs: rich would turn them into spaces."""
    sys.stdout.write("\t".join(map(one_line, columns)) + "\n")


def note(text: str) -> None:
    """A line on stderr; nothing for an empty text, or with `-q`."""
    if text and not state.quiet:
        err.print(one_line(text))
        state.spoke = timing.clock()


def complain(text: str) -> None:
    """An error: a line on stderr, also after `silence`."""
    print(one_line(text), file=sys.stderr)


class RateColumn(ProgressColumn):
    """How many images, updates (...) a second."""

    def render(self, task: Task) -> Text:
        """The rate of a piece of work, empty until it is known."""
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


class ProgressLines:
    """Progress of one piece of work as lines on stderr, where no bar can be shown.

    A line after `EVERY` seconds of silence, also of many short pieces; with `-v` another one at the
    end of each.
    """

    def __init__(self, what: str) -> None:
        self.what, self.first = what, 0
        self.began = self.since = timing.clock()
        self.started = self.ended = False

    def show(self, done: int, total: int) -> None:
        """Take note of the progress, and print a line if it is time."""
        now = timing.clock()
        if not self.started:  # before lie preparations, and what an earlier run did
            self.started, self.first, self.since = True, done, now
        rate = (done - self.first) / (now - self.since) if now > self.since else 0.0
        speed = f", {rate:.3g}/s" if rate else ""
        if done >= total:
            if state.verbose and not self.ended:
                took = timing.format_duration(now - self.began)
                note(f"{self.what}: {done} in {took}{speed}.")
            self.ended = True
        elif not err.is_terminal and now - state.spoke >= EVERY:
            left = f", {timing.format_duration((total - done) / rate)} left" if rate else ""
            note(f"{self.what}: {done} of {total} ({done / total:.0%}){speed}{left}.")


@contextmanager
def runtime(device: str = "auto", seed: int = 0) -> Iterator[Runtime]:
    """A runtime with progress on stderr, bars or lines, and warnings shown once each."""
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=state.quiet or not err.is_terminal,
        # above the bars, where both are one terminal; into a file stdout goes as it is
        redirect_stdout=sys.stdout.isatty(),
    )
    shown: set[str] = set()
    state.spoke = timing.clock()

    def add(what: str):
        bar, lines = None, ProgressLines(what)

        def progress(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:  # work that turns out to be none has no bar
                bar = bars.add_task(one_line(what), total=None)
            bars.update(bar, completed=done, total=total)
            lines.show(done, total)
            stop_if_requested()

        return progress

    def warn(text: str) -> None:
        if text not in shown:
            shown.add(text)
            note(text)

    with bars:
        yield Runtime(device=device, seed=seed, progress=add, warn=warn)


def handle_sigterm() -> None:
    """From now on SIGTERM ends the command at the next call of `stop_if_requested`."""
    global _stop_requested
    _stop_requested = False
    signal.signal(signal.SIGTERM, _request_stop)
    if hasattr(signal, "SIGALRM"):  # not on Windows
        signal.signal(signal.SIGALRM, _leave)


def stop_if_requested() -> None:
    """Between two steps of long work: leave by SystemExit if SIGTERM came."""
    if _stop_requested:
        sys.exit(STOPPED)


def end_grace() -> None:
    """What is left is the end of the interpreter, which the alarm would cut short."""
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    global _stop_requested
    _stop_requested = True
    if hasattr(signal, "SIGALRM"):
        signal.alarm(GRACE)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(STOPPED)


def show_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    place: Console = out,
    *,
    fold: bool = False,
) -> None:
    """A plain table: columns whose name ends in > are set to the right, in ~ may wrap.

    A table wider than the terminal runs on in its next line, and no cell is cut; with `fold` it
    is made to fit.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    cells = [[one_line(cell) for cell in row] for row in rows]
    for number, name in enumerate(columns):
        title = name.rstrip(">~")
        widest = max(map(cell_len, (title, *(row[number] for row in cells))))
        table.add_column(
            title,
            justify="right" if name.endswith(">") else "left",
            no_wrap=not name.endswith("~"),
            min_width=10 if name.endswith("~") else None if fold else widest,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*row)
    least = Measurement.get(place, place.options.update(width=1000), table).minimum
    table.width = least if least > place.width and not fold else None
    place.print(table, soft_wrap=False, crop=fold)
