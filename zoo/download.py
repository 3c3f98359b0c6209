"""Download one file of the Hub into the Hub's own cache; what was cut goes on where it ended.

huggingface_hub begins a download anew in every process and keeps what came for nobody; weights of
hundreds of megabytes on a thin line need better. So the file comes here, by the client's own
transport, under the name that it will have in the client's cache, which then finds it there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers
from tqdm import tqdm

from .card import sha256_of
from .hub_errors import retry

Progress = Callable[[int, int], None]
"""Called as `progress(bytes so far, bytes in all)`."""


def download(
    repo: str, name: str, revision: str, *, progress: Progress | None = None, force: bool = False
) -> Path:
    """The path of a file in the Hub's cache, fetched if it is not there.

    Args:
        repo: `OWNER/NAME`.
        name: of the file.
        revision: commit, 40 hex digits.
        progress: of the bytes.
        force: fetch it anew, from its first byte, whatever the cache holds.

    Raises:
        Exception: whatever the client, its transport or the disk raise; see `hub_errors`.
    """
    if not force:
        try:
            return Path(hf_hub_download(repo, name, revision=revision, local_files_only=True))
        except FileNotFoundError:
            pass
    url = hf_hub_url(repo, name, revision=revision)
    found = retry(lambda: get_hf_file_metadata(url))
    storage = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    blob = storage / "blobs" / str(found.etag)
    part = blob.with_name(f"{blob.name}.source-zoo.incomplete")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(part.with_suffix(".lock")):
        if force:
            part.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        if not blob.exists():
            _fetch(url, part, found.size, str(found.etag), progress)
            part.replace(blob)
    part.with_suffix(".lock").unlink(missing_ok=True)
    return Path(hf_hub_download(repo, name, revision=revision))


def _fetch(url: str, part: Path, size: int | None, etag: str, progress: Progress | None) -> None:
    """Fetch what is missing of a file; what cannot be its beginning is thrown away."""

    def go_on() -> None:
        with part.open("ab") as file:
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers=build_hf_headers(),
                expected_size=size,
                tqdm_class=_bar(progress),
            )

    begun = part.exists()
    if begun and size is not None and part.stat().st_size > size:
        part.unlink()
    retry(go_on)
    # the tag of a large file is its hash: a beginning of another content shows here
    if begun and len(etag) == 64 and sha256_of(part) != etag:
        part.unlink()
        retry(go_on)


def _bar(progress: Progress | None) -> Any:
    """What the client takes for a progress bar; it speaks to the callback alone."""

    class Bar(tqdm):
        monitor_interval = 0  # no thread of its own

        def display(self, *_: Any, **__: Any) -> None:
            if progress:
                progress(int(self.n), int(self.total or 0))

        def close(self) -> None:
            self.display()
            self.disable = True

    return Bar
