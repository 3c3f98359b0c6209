"""The cache on disk: how much lies there, and deleting what is old."""

from __future__ import annotations

import os
import shutil
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
WHOLES = "datasets"
"""Of these, whose folders are worth nothing without all their files."""
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
        prune = _prune_wholes if name == WHOLES else _prune_files
        parts.append(_measure(name, prune(cache / name, limit)))
    return parts


def _prune_files(place: Path, limit: float) -> list[int]:
    """Delete files that were written before, and folders that are empty then; bytes of each."""
    deleted = list[int]()
    for path, size, changed in [*_files(place)]:
        if changed <= limit:
            with suppress(OSError):  # another user's, or gone already
                path.unlink()
                deleted.append(size)
    for folder in [] if place.is_symlink() else sorted(place.rglob("*"), reverse=True):
        if folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):  # not empty
                folder.rmdir()
    return deleted


def _prune_wholes(place: Path, limit: float) -> list[int]:
    """Delete folders of which every file was written before; bytes of each file."""
    deleted = list[int]()
    for folder in [] if place.is_symlink() or not place.is_dir() else sorted(place.iterdir()):
        files = [*_files(folder)]
        if all(changed <= limit for _, _, changed in files) and folder.is_dir():
            with suppress(OSError):
                # under another name first: a part of it may not be taken for the whole
                gone = folder.with_name(f".{folder.name.lstrip('.')}.deleted-{os.getpid()}")
                folder.replace(gone)
                shutil.rmtree(gone)
                deleted += [size for _, size, _ in files]
    return deleted


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
