"""Retries of calls to the Hub that failed for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError

WAITS = (1.0, 3.0, 6.0)
"""Seconds before each retry."""

PATIENCE = 12.0
"""Seconds without a byte after which no retry is made."""

UNREACHABLE = ("ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout")
BROKEN = ("ReadError", "WriteError", "RemoteProtocolError", "ConnectionAbortedError")
"""Names of the errors of httpx, whichever of its packages the client is built on."""

Answer = TypeVar("Answer")


def retry(call: Callable[[], Answer], *, state: Callable[[], int] | None = None) -> Answer:
    """Call, and call again when the Hub is overloaded or the connection broke.

    `state` returns what changes with the progress of a call, such as the bytes so far: after
    progress the retries are counted anew, and an unreachable Hub is retried too.
    """
    waits, until = iter(WAITS), time.monotonic() + PATIENCE
    before = state() if state else 0
    while True:
        try:
            return call()
        except Exception as error:  # the transport has types of its own
            if state and state() != before:
                before = state()
                waits, until = iter(WAITS), time.monotonic() + PATIENCE
            wait = next(waits, None)
            temporary = is_temporary(error) or (state and kind_of(error) in UNREACHABLE)
            if not temporary or wait is None or time.monotonic() + wait > until:
                raise
        time.sleep(wait)


def kind_of(error: Exception) -> str:
    """Name of the type of an error."""
    return type(error).__name__


def is_temporary(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return kind_of(error) in (*BROKEN, "ReadTimeout")
