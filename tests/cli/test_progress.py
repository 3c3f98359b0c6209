"""Progress without a terminal: lines in time, and `-q` and `-v`; tables of any width."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from cli import terminal


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("zoo.system.timing.clock", lambda: now[0])
    monkeypatch.setattr(terminal, "state", terminal.Verbosity())
    return now


def run(clock, capsys, *, steps=10, seconds=10.0, first=0):
    """The lines on stderr of work of so many steps."""
    capsys.readouterr()
    with terminal.runtime() as runtime:
        progress = runtime.progress("reading images")
        for done in range(first + 1, steps + 1):
            clock[0] += seconds
            progress(done, steps)
    return capsys.readouterr().err.splitlines()


def test_a_line_every_thirty_seconds_has_count_rate_and_time_left(clock, capsys):
    assert run(clock, capsys) == [
        "reading images: 3 of 10 (30%), 0.1/s, 1m10s left.",
        "reading images: 6 of 10 (60%), 0.1/s, 40s left.",
        "reading images: 9 of 10 (90%), 0.1/s, 10s left.",
    ]


def test_short_work_is_silent_and_verbose_says_what_it_took(clock, capsys):
    assert run(clock, capsys, seconds=1.0) == []
    terminal.state.verbose = True
    assert run(clock, capsys, seconds=0.5) == ["reading images: 10 in 5s, 2/s."]


def test_resumed_work_has_the_rate_of_this_run(clock, capsys):
    first, second, *_ = run(clock, capsys, steps=100, first=90, seconds=40)
    assert first == "reading images: 91 of 100 (91%)."
    assert second == "reading images: 92 of 100 (92%), 0.025/s, 5m20s left."


def test_preparations_before_the_first_step_do_not_count_for_the_time_left(clock, capsys):
    with terminal.runtime() as runtime:
        progress = runtime.progress("training")
        clock[0] += 600
        for done in range(1, 5):
            clock[0] += 10
            progress(done, 100)
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "training: 4 of 100 (4%), 0.1/s, 16m left."


def test_many_short_pieces_of_work_are_not_silent_together(clock, capsys):
    with terminal.runtime() as runtime:
        for number in range(12):
            progress = runtime.progress(f"running teacher {number}")
            for done in (1, 2):
                clock[0] += 5.0
                progress(done, 2)
    assert capsys.readouterr().err.splitlines() == [
        "running teacher 3: 1 of 2 (50%).",
        "running teacher 6: 1 of 2 (50%).",
        "running teacher 9: 1 of 2 (50%).",
    ]


def test_bars_on_a_terminal_take_nothing_from_a_stdout_that_is_a_file():
    pty = pytest.importorskip("pty")
    shown, terminal_of_stderr = pty.openpty()
    code = (
        "from cli import terminal\n"
        "with terminal.runtime() as runtime:\n"
        "    runtime.progress('working')(1, 2)\n"
        "    terminal.say('imgs/a.png', 'cat')\n"
        "    terminal.print_json([1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal_of_stderr,
        env={**os.environ, "TERM": "xterm"}, timeout=60, check=True, text=True,
    )  # fmt: skip
    os.close(terminal_of_stderr)
    assert run.stdout == "imgs/a.png\tcat\n[\n 1\n]\n"
    assert b"working" in os.read(shown, 100_000)
    os.close(shown)


def test_quiet_shows_neither_progress_nor_warnings_but_errors(
    clock, capsys, command, imgs, toy_zoo
):
    terminal.state.quiet = True
    assert run(clock, capsys) == []
    terminal.state.quiet = False
    (imgs / "red" / "broken.png").write_bytes(b"no")
    assert "broken.png" in command("rank", "--target", imgs).err
    ran = command("-q", "rank", "--target", imgs)
    assert (ran.code, ran.err) == (0, "")
    assert "ant" in ran.out
    assert "does not exist" in command("-q", "rank", "--target", "nowhere").mistake


def test_quiet_and_verbose_may_stand_behind_the_command_too(command, imgs, toy_zoo):
    assert "reading images: 18 in" in command("rank", "--target", imgs, "-v").err
    (imgs / "red" / "broken.png").write_bytes(b"no")
    ran = command("rank", "-q", "--target", imgs)
    assert (ran.code, ran.err) == (0, "")
    assert "-q does not exist" in command("predict", imgs, "--", "-q").mistake


def test_verbose_names_the_steps_and_both_together_are_refused(command, imgs, toy_zoo):
    ran = command("-v", "rank", "--target", imgs)
    assert "reading images: 18 in" in ran.err
    assert command("-q", "-v", "list").code == 2
    assert "reading images" not in command("rank", "--target", imgs).err


@pytest.mark.parametrize("width", [10, 40, 80, 200])
def test_no_table_cuts_a_cell(width):
    place = Console(width=width, file=io.StringIO())
    cells = ["probe mobilenetv3_small_100", "75.5% to 98.9%", "21.2", "why it is so " * 9]
    terminal.show_rows(["method", "95 % interval>", "ms>", "reason~"], [cells], place)
    text = place.file.getvalue()  # pyright: ignore
    assert all(cell in text for cell in (*cells[:3], "95 % interval"))
    assert text.count("why") == 9
