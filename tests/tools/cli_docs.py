"""Write docs/cli.md from the help screens: `python tests/cli_docs.py`."""

from pathlib import Path

import typer.main
from typer.testing import CliRunner

from cli.zoo_app import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """# Commands

These are the help screens of the commands, written by `python tests/cli_docs.py`; a test keeps them
true. Data goes to stdout, everything else to stderr. Exit code 0 is success, 1 a problem with the
input or the machine (one line says what, where and what to do), 2 a mistake in the command line.
`zoo` and `python -m cli.zoo_app` are the same.
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
