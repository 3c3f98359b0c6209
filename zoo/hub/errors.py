"""Errors of the Hub's client as one line each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

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
from zoo.hub.retry import UNREACHABLE, is_temporary, kind_of

LATER = "run the same command again later"
NO_CONNECTION = (LocalEntryNotFoundError, ConnectionRefusedError)
NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


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
        kind = HubUnreachable if kind_of(error) in UNREACHABLE else HubError
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
        case HfHubHTTPError() if is_temporary(error):
            status = error.response.status_code
            return f"{constants.ENDPOINT} is overloaded ({status}): {LATER}"
        case HfHubHTTPError():
            return f"HTTP status {error.response.status_code}: {first_line(error)}".rstrip(".")
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"no space left in {constants.HF_HUB_CACHE}: free some, or set HF_HOME"
        case OSError() if error.errno in NOT_WRITABLE:
            return f"{constants.HF_HUB_CACHE} cannot be written: set HF_HOME"
        case _ if isinstance(error, NO_CONNECTION) or kind_of(error) in UNREACHABLE:
            return f"{constants.ENDPOINT} cannot be reached: {LATER}"
        case _ if is_temporary(error):
            return "the connection broke: run the same command again to resume"
        case _:
            return f"{kind_of(error)}: {first_line(error)}".rstrip(".")
