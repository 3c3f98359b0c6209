"""SIGTERM: every finished step is kept, and the rerun is the run that nobody stopped."""

import os
import signal

import pytest

from cli import terminal
from distill.training.checkpoint import Checkpoint
from tests.support.worlds import weights


@pytest.fixture(autouse=True)
def own_handlers():
    """The signals of the process as they were, after each test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_that_sigterm_ends_goes_on_to_the_very_same_student(transfer, cache, monkeypatch):
    assert transfer("--updates", 6, "--save", "whole").code == 0
    kept = Checkpoint.save
    counts = []

    def keep(self, updates, **how):
        counts.append(updates)
        if updates == 3 and len(counts) == 3:
            terminate()
        kept(self, updates, **how)

    monkeypatch.setattr(Checkpoint, "save", keep)
    ran = transfer("--updates", 6)
    assert ran.code == terminal.STOPPED
    assert ran.err.splitlines()[-1] == "Stopped. The same command resumes from where it was."
    assert len(list(cache.glob("runs/*.safetensors"))) == 1
    counts.clear()
    assert transfer("--updates", 6).code == 0
    assert counts[:3] == [4, 5, 6]
    assert weights("student") == weights("whole")
    assert not list(cache.glob("runs/*"))


def test_without_a_signal_nothing_stops():
    terminal.handle_sigterm()
    terminal.stop_if_requested()


def test_a_signal_stops_at_the_next_whole_step_or_a_little_later():
    terminal.handle_sigterm()
    terminate()
    with pytest.raises(SystemExit) as stop:
        terminal.stop_if_requested()
    assert stop.value.code == terminal.STOPPED
    assert 0 < signal.alarm(0) <= terminal.GRACE
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGALRM)
