"""What can go wrong at the Hub, in one line: what, where, and what to do next."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from zoo.errors import HubError, HubUnreachable, ZooError, first_line

WAITS = (1.0, 3.0, 6.0)
"""Seconds before each further try at what may well work a moment later."""

PATIENCE = 12.0
"""Seconds without a byte after which no further try is made."""

UNREACHABLE = ("ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout")
BROKEN = ("ReadError", "WriteError", "RemoteProtocolError", "ConnectionAbortedError")
"""What httpx calls its errors, whichever of its packages the client is built on."""

Answer = TypeVar("Answer")


def retry(call: Callable[[], Answer], *, state: Callable[[], int] | None = None) -> Answer:
    """Call, and call again when the Hub is overloaded or the connection broke.

    Args:
        call: what may work a moment later.
        state: what changes when a call that failed has come further all the same: then its
            tries are counted anew. A Hub that answered so far is waited for as well.
    """
    waits, until = iter(WAITS), time.monotonic() + PATIENCE
    before = state() if state else 0
    while True:
        try:
            return call()
        except Exception as error:  # the transport has kinds of its own
            if state and state() != before:
                before = state()
                waits, until = iter(WAITS), time.monotonic() + PATIENCE
            wait = next(waits, None)
            may_pass = _is_passing(error) or (state and _kind(error) in UNREACHABLE)
            if not may_pass or wait is None or time.monotonic() + wait > until:
                raise
        time.sleep(wait)


def _kind(error: Exception) -> str:
    return type(error).__name__


def _is_passing(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return _kind(error) in (*BROKEN, "ReadTimeout")


@contextmanager
def one_line(repo: str, lost: str = "the commit is no longer there") -> Iterator[None]:
    """Any warning of the Hub's client becomes a HubError of one line: what, where, what next.

    Args:
        repo: `OWNER/NAME`.
        lost: what to say when it has no such commit.
    """
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # the client, its transport and the disk raise many kinds
        kind = HubUnreachable if _kind(error) in UNREACHABLE else HubError
        raise kind(f"{repo}: {_reason(error, repo, lost)}.") from error


def _reason(error: Exception, repo: str, lost: str) -> str:
    match error:
        case GatedRepoError():
            return f"its owner has to be asked at {constants.ENDPOINT}/{repo}; then set HF_TOKEN"
        case RepositoryNotFoundError():
            return f"not found at {constants.ENDPOINT}; if it is private, set HF_TOKEN"
        case RevisionNotFoundError():
            return lost
        case RemoteEntryNotFoundError():
            return "a file that it should have is missing"
        case OfflineModeIsEnabled():
            return "not whole on this machine, and HF_HUB_OFFLINE forbids to fetch it"
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return (
                f"refused ({error.response.status_code}): HF_TOKEN is missing or does not allow it"
            )
        case HfHubHTTPError() if _is_passing(error):
            status = error.response.status_code
            return (
                f"{constants.ENDPOINT} is overloaded ({status}): run the same command again later"
            )
        case HfHubHTTPError():
            return f"the Hub answers {error.response.status_code}: {first_line(error)}".rstrip(".")
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"no space left in {constants.HF_HUB_CACHE}: free some, or set HF_HOME"
        case OSError() if error.errno in (
            errno.EACCES,
            errno.EROFS,
            errno.EPERM,
            errno.ENOTDIR,
            errno.EEXIST,
        ):
            return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME"
        case LocalEntryNotFoundError() | ConnectionRefusedError():
            return f"{constants.ENDPOINT} cannot be reached: run the same command again later"
        case _ if _kind(error) in UNREACHABLE:
            return f"{constants.ENDPOINT} cannot be reached: run the same command again later"
        case _ if _is_passing(error):
            return "the connection broke: the same command goes on where it ended"
        case _:
            return f"{_kind(error)}: {first_line(error)}".rstrip(".")
