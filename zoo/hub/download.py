"""Requests to the Hub: a JSON document, or a file into the cache of huggingface_hub, resumed.

An answer is as large as stated at most, and comes without an encoding. huggingface_hub does not
resume a download of another process, which weights of hundreds of megabytes on a slow line need.
The file gets the name that huggingface_hub looks for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (
    WeakFileLock,
    build_hf_headers,
    hf_raise_for_status,
    http_stream_backoff,
)

from zoo.errors import HubError
from zoo.hub.retry import retry
from zoo.system.json_files import LIMIT, Check
from zoo.system.runtime import Progress
from zoo.teachers.card import sha256_of

UNSTATED = 1 << 30
"""Bytes of a file at most whose size a server does not state."""
PIECE = 1 << 18
"""Bytes per read."""


def download(
    repo: str,
    name: str,
    revision: str,
    *,
    sha256: str = "",
    most: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The path of a file in the Hub's cache, downloaded if it is missing or damaged.

    It is compared with the SHA-256, or else with the hash in its name in the cache, which most
    files have. It may have so many bytes at most.

    Raises:
        Exception: any error of the client, its transport or the disk; see `zoo.hub.errors`.
    """
    try:
        path = Path(hf_hub_download(repo, name, revision=revision, local_files_only=True))
        if _is_whole(path, sha256 or path.resolve().name):
            return path
    except FileNotFoundError:
        pass
    url = hf_hub_url(repo, name, revision=revision)
    found = retry(lambda: get_hf_file_metadata(url))
    tag = str(found.etag or "")
    if not re.fullmatch(r"\w[\w.=+~-]{0,200}", tag, re.ASCII):
        raise HubError(f"{repo}: {constants.ENDPOINT} is not a Hub: check HF_ENDPOINT.")
    if most is not None and (found.size or 0) > most:
        raise HubError(f"{repo}: {name} has {found.size} bytes, more than {most}; not used.")
    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repo, repo_type="model")
    blob = cache / folder / "blobs" / tag
    lock = cache / ".locks" / folder / f"{tag}.lock"
    for place in (blob, lock):
        place.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # that of huggingface_hub
        if not (blob.is_file() and _is_whole(blob, tag)):
            part = blob.with_name(f"{tag}.source-zoo.incomplete")
            size = None if (found.size or 0) < 0 else found.size
            _fetch(url, part, size, tag, progress)
            part.replace(blob)
    pointer = cache / folder / "snapshots" / revision / name
    link(blob, pointer, relative=True)
    return pointer


def link(path: Path, place: Path, *, relative: bool = False) -> None:
    """Make a symbolic link at `place` to a file, or a copy where the system has no links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        try:
            part.symlink_to(os.path.relpath(path, place.parent) if relative else path)
        except OSError:
            shutil.copyfile(path, part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _is_whole(path: Path, tag: str) -> bool:
    """Whether a file has the hash that is its tag; true where the tag is no hash."""
    if re.fullmatch("[0-9a-f]{64}", tag):
        return sha256_of(path) == tag
    if re.fullmatch("[0-9a-f]{40}", tag):  # of a small file: as git names it, or a mirror
        begins = (b"blob %d\0" % path.stat().st_size, b"")
        return any(_sha1(path, begin) == tag for begin in begins)
    return True


def _sha1(path: Path, begin: bytes) -> str:
    """SHA-1 of these bytes and a file, 40 hex digits."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.sha1(begin, usedforsecurity=False))
    return digest.hexdigest()


def _fetch(url: str, part: Path, size: int | None, tag: str, progress: Progress | None) -> None:
    """Download the rest of a file, or all of it again if the beginning turns out wrong."""
    hashed = re.fullmatch("[0-9a-f]{64}|[0-9a-f]{40}", tag) is not None
    if size is None or not hashed:
        part.unlink(missing_ok=True)  # a beginning of other content would go unnoticed
    while True:
        begun = _bytes_in(part)
        retry(lambda: _resume(url, part, size, progress), state=lambda: _bytes_in(part))
        if _is_whole(part, tag):
            return
        part.unlink()
        if not begun:
            raise HubError(
                f"{url} arrived damaged (its hash is not the one that the Hub states) and is not "
                "used: run the same command again."
            )


def _resume(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Request the bytes after those on disk, and append them as they arrive."""
    begun = _bytes_in(part)
    if size is not None and begun > size:
        part.unlink()
        begun = 0
    if begun and begun == size:
        return
    most = UNSTATED if size is None else size
    with open_stream(url, start=begun, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        resumed = begun > 0 and response.status_code == 206
        # a server without ranges sends all of it
        with part.open("ab" if resumed else "wb") as file:
            for piece in read_pieces(response, most - begun * resumed):
                file.write(piece)
                if progress:
                    progress(file.tell(), size or 0)
    if size is not None and _bytes_in(part) < size:
        raise ConnectionAbortedError(f"received {_bytes_in(part)} of {size} bytes")


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


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
    """The content of an answer, piece by piece; more than `most` bytes are a HubError."""
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
