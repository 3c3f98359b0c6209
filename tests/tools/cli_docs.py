"""Write docs/cli.md from the help screens: `python -m tests.tools.cli_docs`."""

from pathlib import Path

import typer.main
from typer.testing import CliRunner

from cli.zoo_app import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """# Commands

These are the help screens of the commands, written by `python -m tests.tools.cli_docs`; a test
checks that they are current. Data goes to stdout; progress, notes and errors go to stderr. The exit
code is 0 for success, 1 for a problem with the input or the machine (one line says what, where and
what to do next), 2 for a mistake in the command line, and 130 or 143 after Ctrl-C or SIGTERM. `zoo`
and `python -m cli.zoo_app` are the same.

`zoo --install-completion` switches on completion in your shell. Options that were renamed in 0.2
keep their old names for one release, hidden: see the [changelog](changelog.md).
"""


def command_names() -> list[str]:
    """All commands of the application."""
    return list(typer.main.get_command(app).commands)  # pyright: ignore


def render() -> str:
    """The whole page."""
    runner = CliRunner(env={"COLUMNS": "90", "TERMINAL_WIDTH": "90", "NO_COLOR": "1"})
    parts = [HEAD]
    for names in ([], *([name] for name in command_names())):
        screen = runner.invoke(app, [*names, "--help"], prog_name="zoo").stdout.rstrip()
        lines = [line.rstrip() for line in screen.splitlines()]
        title = " ".join(["zoo", *names])
        parts.append(f"## `{title}`\n\n```text\n" + "\n".join(lines).strip() + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
