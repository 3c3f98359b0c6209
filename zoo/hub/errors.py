"""Errors of the Hub as one line each, and retries of calls that failed."""

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
"""Seconds before each retry."""

PATIENCE = 12.0
"""Seconds without a byte after which no retry is made."""

UNREACHABLE = ("ConnectError", "ConnectTimeout", "ReadTimeout", "PoolTimeout")
BROKEN = ("ReadError", "WriteError", "RemoteProtocolError", "ConnectionAbortedError")
"""Names of the errors of httpx, whichever of its packages the client is built on."""

LATER = "run the same command again later"
NO_CONNECTION = (LocalEntryNotFoundError, ConnectionRefusedError)
NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)

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
            temporary = _is_temporary(error) or (state and _kind(error) in UNREACHABLE)
            if not temporary or wait is None or time.monotonic() + wait > until:
                raise
        time.sleep(wait)


def _kind(error: Exception) -> str:
    return type(error).__name__


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return _kind(error) in (*BROKEN, "ReadTimeout")


@contextmanager
def one_line(repo: str, lost: str = "the commit is no longer there") -> Iterator[None]:
    """Turn any error of the Hub's client into a HubError of one line.

    `lost` is the message where it has no such commit.
    """
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # the client, its transport and the disk raise many types
        kind = HubUnreachable if _kind(error) in UNREACHABLE else HubError
        raise kind(f"{repo}: {_reason(error, repo, lost)}.") from error


def _reason(error: Exception, repo: str, lost: str) -> str:
    match error:
        case GatedRepoError():
            return f"request access at {constants.ENDPOINT}/{repo}, then set HF_TOKEN"
        case RepositoryNotFoundError():
            return f"not found at {constants.ENDPOINT}; if it is private, set HF_TOKEN"
        case RevisionNotFoundError():
            return lost
        case RemoteEntryNotFoundError():
            return "a file is missing there"
        case OfflineModeIsEnabled():
            return "not complete on this machine, and HF_HUB_OFFLINE forbids downloads"
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            status = error.response.status_code
            return f"refused ({status}): HF_TOKEN is missing or does not allow it"
        case HfHubHTTPError() if _is_temporary(error):
            status = error.response.status_code
            return f"{constants.ENDPOINT} is overloaded ({status}): {LATER}"
        case HfHubHTTPError():
            return f"HTTP status {error.response.status_code}: {first_line(error)}".rstrip(".")
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"no space left in {constants.HF_HUB_CACHE}: free some, or set HF_HOME"
        case OSError() if error.errno in NOT_WRITABLE:
            return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME"
        case _ if isinstance(error, NO_CONNECTION) or _kind(error) in UNREACHABLE:
            return f"{constants.ENDPOINT} cannot be reached: {LATER}"
        case _ if _is_temporary(error):
            return "the connection broke: run the same command again to resume"
        case _:
            return f"{_kind(error)}: {first_line(error)}".rstrip(".")
