"""Requests to the Hub: an answer is as large as stated at most, and comes without an encoding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

from zoo.errors import HubError
from zoo.system.json_files import LIMIT, Check

PIECE = 1 << 18
"""Bytes per read."""


@contextmanager
def open_stream(url: str, *, start: int = 0, timeout: float) -> Iterator[Any]:
    """The answer to a request for a file from byte `start` on, its content still to be read.

    Raises:
        HubError: its content is encoded: its size would not be the one that is stated.
        Exception: any error of the client and its transport; see `zoo.hub.errors`.
    """
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with http_stream_backoff(
        "GET",
        url,
        headers=headers,
        timeout=timeout,
        max_retries=0,
        retry_on_exceptions=(),
        retry_on_status_codes=(),
    ) as response:
        # without its content, which may never end
        bare = type(response)(
            response.status_code, headers=response.headers, request=response.request
        )
        hf_raise_for_status(bare)
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise HubError(f"{url} is answered in the encoding {encoding[:40]!r}; not used.")
        yield response


def read_pieces(response: Any, most: int) -> Iterator[bytes]:
    """The content of an answer, piece by piece.

    Raises:
        HubError: it is larger than `most` bytes.
    """
    left = most
    for piece in response.iter_raw(PIECE):
        left -= len(piece)
        if left < 0:
            raise HubError(
                f"{response.url} sends more than the {most} bytes that it may; not used."
            )
        yield piece


def request_json(url: str, check: Check) -> Any:
    """The checked content of a JSON document of the Hub's API.

    Raises:
        HubError: it is too large, encoded, or does not pass the check.
        Exception: any error of the client and its transport; see `zoo.hub.errors`.
    """
    with open_stream(url, timeout=constants.HF_HUB_ETAG_TIMEOUT) as response:
        content = b"".join(read_pieces(response, LIMIT))
    try:
        return check(json.loads(content), "")
    except (ValueError, RecursionError) as error:
        raise HubError(f"{url} is not an answer of a Hub: {error}.") from error
