"""Room for large arrays: in memory, or in files that the system may page out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", np.float32, np.int32, np.uint8)

LARGE = 1 << 22
"""Bytes of an array from which on it lies in a file."""


def make_room(
    shape: tuple[int, ...],
    folder: Path,
    kind: type[Kind] = np.float32,
    *,
    large: int | None = None,
) -> NDArray[Kind]:
    """Zeros in memory, or in a mapped file if they are many, which the system may page out.

    The file has no name and is gone with the array, however the process ends. Where the disk
    cannot promise room for all of it, the array lies in memory.

    Args:
        shape: of the array.
        folder: where the file would be.
        kind: type of the numbers.
        large: bytes from which on it lies in a file; `LARGE` if not given.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size >= (LARGE if large is None else large):
        with suppress(OSError, AttributeError):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                # a disk that turns out to be full later would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, kind, "w+", shape=shape).view(np.ndarray)
    return np.zeros(shape, kind)
