"""The `zoo` command: all commands together; every mistake ends in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import terminal
from cli.commands import cache, check, compare, demo, distill, rank, student, teachers
from zoo import __version__
from zoo.errors import ZooError, first_line
from zoo.system.distributed import is_first_process
from zoo.system.runtime import keep_freed_memory

app = typer.Typer(
    name="zoo",
    help="Find the teachers closest to your images and distill them into a small student.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same at any width, copied into docs/cli.md
)
for group in (teachers, check, rank, distill, compare, student, demo, cache):
    app.add_typer(group.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"source-zoo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="No progress and no warnings; before or after the command."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also what each step took; before or after the command."
        ),
    ] = False,
) -> None:
    """Find the teachers closest to your images and distill them into a small student."""
    del version
    if quiet and verbose:
        raise typer.BadParameter("choose one of --quiet and --verbose")
    terminal.state.quiet, terminal.state.verbose = quiet, verbose


RESUMED = frozenset({"rank", "check", "distill", "compare", "pull", "demo"})
"""Commands that continue where they were stopped."""

EVERYWHERE = frozenset({"-q", "--quiet", "-v", "--verbose"})
"""Options of all commands."""


def _order(words: Sequence[str]) -> list[str]:
    """The command line with the options of all commands in front, where typer looks for them."""
    end = words.index("--") if "--" in words else len(words)
    moved = [word for word in words[:end] if word in EVERYWHERE]
    return [*moved, *(word for word in words[:end] if word not in EVERYWHERE), *words[end:]]


def main() -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 1."""
    terminal.handle_sigterm()
    terminal.escape_unencodable()
    keep_freed_memory()  # of this process only: see docs/performance.md
    if not is_first_process():
        terminal.silence()  # of the processes of torchrun only the first prints
    try:
        try:
            app(_order(sys.argv[1:]))
        finally:
            sys.stdout.flush()  # here: at the end of the interpreter it would be no one line
    except ZooError as error:
        terminal.complain("Error: " + " ".join(str(error).splitlines()))
        sys.exit(1)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # which typer turns into code 1
            terminal.leave_broken_pipe()
        if stop.code in (130, terminal.STOPPED):  # what typer makes of Ctrl-C, and SIGTERM
            resumes = not RESUMED.isdisjoint(sys.argv)
            again = " The same command resumes from where it was." if resumes else ""
            terminal.complain(f"Stopped.{again}")
            terminal.end_grace()
        raise
    except BrokenPipeError:
        terminal.leave_broken_pipe()
    except (OSError, MemoryError) as error:  # of a disk or a machine, wherever it struck
        place = getattr(error, "filename", None)
        terminal.complain(
            f"Error: {getattr(error, 'strerror', None) or first_line(error)}"
            f"{f' ({place})' if place else ''}: free some space or choose another place, then run "
            "again."
        )
        terminal.drop_output()
        sys.exit(1)


if __name__ == "__main__":
    main()
