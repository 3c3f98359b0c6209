"""Download one file of the Hub into the Hub's own cache; what was cut goes on where it ended.

huggingface_hub begins a download anew in every process and keeps what came for nobody; weights of
hundreds of megabytes on a thin line need better. So the file comes here, under the name that it
has in the client's cache, which then finds it there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (
    WeakFileLock,
    build_hf_headers,
    hf_raise_for_status,
    http_stream_backoff,
)

from zoo.errors import HubError
from zoo.hub.errors import retry
from zoo.teachers.card import sha256_of

Progress = Callable[[int, int], None]
"""Called as `progress(bytes so far, bytes in all)`."""

PIECE = 1 << 18
"""Bytes that are collected before they are written: what a killed download loses at most."""


def download(
    repo: str, name: str, revision: str, *, sha256: str = "", progress: Progress | None = None
) -> Path:
    """The path of a file in the Hub's cache, fetched if it is not there or damaged.

    Args:
        repo: `OWNER/NAME`.
        name: of the file.
        revision: commit, 40 hex digits.
        sha256: of the file as far as it is known; else the cache knows the hash of most files.
        progress: of the bytes.

    Raises:
        Exception: whatever the client, its transport or the disk raise; see `hub_errors`.
    """
    try:
        path = Path(hf_hub_download(repo, name, revision=revision, local_files_only=True))
        if _is_whole(path, sha256):
            return path
    except FileNotFoundError:
        pass
    url = hf_hub_url(repo, name, revision=revision)
    found = retry(lambda: get_hf_file_metadata(url))
    tag = str(found.etag or "")
    if Path(tag).name != tag or not tag:
        raise HubError(f"{repo}: {constants.ENDPOINT} does not answer as a Hub: check HF_ENDPOINT.")
    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repo, repo_type="model")
    blob = cache / folder / "blobs" / tag
    lock = cache / ".locks" / folder / f"{tag}.lock"
    for place in (blob, lock):
        place.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # the client's own
        if not (blob.is_file() and _is_whole(blob)):
            part = blob.with_name(f"{tag}.source-zoo.incomplete")
            _fetch(url, part, found.size, tag, progress)
            part.replace(blob)
    pointer = cache / folder / "snapshots" / revision / name
    link(blob, pointer, relative=True)
    return pointer


def link(path: Path, place: Path, *, relative: bool = False) -> None:
    """Put a symbolic link to a file in its place, or a copy where the system has no links."""
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


def _is_whole(path: Path, sha256: str = "") -> bool:
    """Whether a file of the cache has the hash that it is named by; true where that is none."""
    name = sha256 or path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name):
        return sha256_of(path) == name
    if re.fullmatch("[0-9a-f]{40}", name):  # a small file: as git names it
        content = path.read_bytes()
        whole = b"blob %d\0" % len(content) + content
        return hashlib.sha1(whole, usedforsecurity=False).hexdigest() == name
    return True


def _fetch(url: str, part: Path, size: int | None, tag: str, progress: Progress | None) -> None:
    """Fetch what is missing of a file; what cannot be its beginning is thrown away."""
    hashed = re.fullmatch("[0-9a-f]{64}", tag) is not None
    if size is None or not hashed:
        part.unlink(missing_ok=True)  # nothing would tell a beginning of another content
    while True:
        begun = _bytes_in(part)
        retry(lambda: _go_on(url, part, size, progress), state=lambda: _bytes_in(part))
        if not hashed or sha256_of(part) == tag:
            return
        part.unlink()
        if not begun:
            raise HubError(
                f"{url} came damaged (its SHA-256 is not what the Hub states) and is not used: "
                "run the same command again."
            )


def _go_on(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Ask for the bytes after those that are here, and write them as they come."""
    begun = _bytes_in(part)
    if size is not None and begun > size:
        part.unlink()
        begun = 0
    if begun and begun == size:
        return
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with http_stream_backoff(
        "GET",
        url,
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        max_retries=0,
        retry_on_exceptions=(),
        retry_on_status_codes=(),
    ) as response:
        hf_raise_for_status(response)
        # a server that knows no ranges sends all of it
        with part.open("ab" if begun and response.status_code == 206 else "wb") as file:
            for piece in response.iter_bytes(PIECE):
                file.write(piece)
                if progress:
                    progress(file.tell(), size or 0)
    if size is not None and _bytes_in(part) < size:
        raise ConnectionAbortedError(f"{_bytes_in(part)} of {size} bytes came")


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
