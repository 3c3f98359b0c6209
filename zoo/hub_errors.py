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

from .errors import HubError, ZooError, first_line

WAITS = (1.0, 3.0, 6.0)
"""Seconds before each further try at what may well work a moment later."""

Answer = TypeVar("Answer")


def retry(call: Callable[[], Answer]) -> Answer:
    """Call, and call again when the Hub is overloaded or the connection broke."""
    for wait in WAITS:
        try:
            return call()
        except Exception as error:  # the transport has kinds of its own
            if not _is_passing(error):
                raise
        time.sleep(wait)
    return call()


def _is_passing(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return type(error).__name__ in ("ReadError", "RemoteProtocolError", "ReadTimeout")


@contextmanager
def one_line(repo: str) -> Iterator[None]:
    """Any mishap of the Hub's client becomes a HubError of one line: what, where, what next."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # the client, its transport and the disk raise many kinds
        raise HubError(f"{repo}: {_reason(error, repo)}.") from error


def _reason(error: Exception, repo: str) -> str:
    match error:
        case GatedRepoError():
            return f"its owner has to be asked at {constants.ENDPOINT}/{repo}; then set HF_TOKEN"
        case RepositoryNotFoundError():
            return f"not found at {constants.ENDPOINT}; if it is private, set HF_TOKEN"
        case RevisionNotFoundError():
            return "the pinned commit is no longer there"
        case RemoteEntryNotFoundError():
            return "a file that it should have is missing"
        case OfflineModeIsEnabled():
            return "not on this machine, and HF_HUB_OFFLINE forbids to fetch it"
        case HfHubHTTPError():
            return f"the Hub answers {error.response.status_code}: {first_line(error)}"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left in {constants.HF_HUB_CACHE}: free some, or set HF_HOME"
        case OSError() if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME"
        case LocalEntryNotFoundError() | ConnectionError():
            return f"{constants.ENDPOINT} cannot be reached: run the same command again later"
        case _ if type(error).__name__ in ("ConnectError", "ConnectTimeout"):
            return f"{constants.ENDPOINT} cannot be reached: run the same command again later"
        case _ if _is_passing(error):
            return "the connection broke: the same command goes on where it ended"
        case _:
            return f"{type(error).__name__}: {first_line(error)}".rstrip(".")
