"""Files and folders that are there whole or not at all, whoever is killed while writing them."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    part = _part(path)
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder to put files into: all of them come into `folder` at the end, or none.

    It lies inside `folder`, which others may find with nothing else in it: see `is_unused`.

    Raises:
        OSError: it cannot be written; the files in `folder` are still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = _part(folder / "unfinished")
    part.mkdir()
    try:
        yield part
        for path in sorted(part.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_unused(folder: Path) -> bool:
    """Whether a folder holds nothing but what somebody began to write into it."""
    return all(path.suffix == ".part" for path in folder.iterdir())


def _part(path: Path) -> Path:
    """Where something lies while it is written, under a name of this process's own.

    What killed processes of this machine left of it goes.
    """
    begin = f"{path.name}.{platform.node()}."
    for part in path.parent.glob(f"{escape(begin)}*.part"):
        if _is_left(part.name.removeprefix(begin).removesuffix(".part")):
            remove = shutil.rmtree if part.is_dir() else os.unlink
            with suppress(OSError):
                remove(part)
    return path.with_name(f"{begin}{os.getpid()}.part")


def _is_left(writer: str) -> bool:
    """Whether the process of this number is gone, or began as this one only now does."""
    if not writer.isdecimal() or os.name == "nt":  # there, asking for a process would end it
        return False
    try:
        os.kill(int(writer), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return int(writer) == os.getpid()


def cache_folder() -> Path:
    """`SOURCE_ZOO_CACHE`, else `source-zoo` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    if own := os.environ.get("SOURCE_ZOO_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "source-zoo"
