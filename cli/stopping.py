"""A polite end: SIGTERM waits for the next whole step, but not for long."""

from __future__ import annotations

import signal
import sys
from types import FrameType

CODE = 143
"""Exit code of a command that SIGTERM ended, by the custom of shells."""

GRACE = 10
"""Seconds after which the command ends wherever it is."""

_asked = False


def stop_politely() -> None:
    """From now on SIGTERM ends the command at the next call of `stop_if_asked`."""
    global _asked
    _asked = False
    signal.signal(signal.SIGTERM, _ask)
    if hasattr(signal, "SIGALRM"):  # not on Windows
        signal.signal(signal.SIGALRM, _leave)


def stop_if_asked() -> None:
    """Between two steps of long work: leave if SIGTERM came.

    Raises:
        SystemExit: it did.
    """
    if _asked:
        sys.exit(CODE)


def _ask(_number: int, _frame: FrameType | None) -> None:
    global _asked
    _asked = True
    if hasattr(signal, "SIGALRM"):
        signal.alarm(GRACE)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(CODE)
