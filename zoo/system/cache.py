"""The cache on disk: how much lies there, and deleting what is old."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.system.files import cache_folder

KINDS = {
    "features": "outputs of teachers",
    "scores": "scores of teachers",
    "index": "indexes of fingerprints",
    "runs": "checkpoints of students, choices of budgets",
    "students": "measured speed of students",
    "datasets": "images of hf:// datasets",
}
"""Folders of the cache and what is in them; nothing else is ever deleted."""
DAY = 86400


@dataclass(frozen=True)
class CachePart:
    """Number and bytes of the files in one folder of the cache, one of KINDS."""

    name: str
    files: int
    bytes: int


def measure_cache() -> list[CachePart]:
    """Number and size of the files in each folder of the cache, which can all be computed again."""
    cache = cache_folder()
    return [_measure(name, [size for _, size, _ in _files(cache / name)]) for name in KINDS]


def prune_cache(days: float) -> list[CachePart]:
    """Delete what was last written so many days ago or earlier; returns what was deleted."""
    cache, limit = cache_folder(), time.time() - days * DAY
    parts = list[CachePart]()
    for name in KINDS:
        deleted = list[int]()
        for path, size, changed in [*_files(cache / name)]:
            if changed <= limit:
                with suppress(OSError):  # another user's, or gone already
                    path.unlink()
                    deleted.append(size)
        for folder in sorted((cache / name).rglob("*"), reverse=True):
            if folder.is_dir() and not folder.is_symlink():
                with suppress(OSError):  # not empty
                    folder.rmdir()
        parts.append(_measure(name, deleted))
    return parts


def _measure(name: str, sizes: list[int]) -> CachePart:
    return CachePart(name, len(sizes), sum(sizes))


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Regular files below a folder, their size and when they were written; links are left out."""
    if folder.is_symlink():
        return
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                about = path.stat()
                yield path, about.st_size, about.st_mtime
