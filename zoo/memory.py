"""How this process gets memory from the system."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", np.float32, np.int32)

LARGE = 1 << 22
"""Bytes of an array from which on it lies in a file."""


def make_room(shape: tuple[int, int], folder: Path, kind: type[Kind] = np.float32) -> NDArray[Kind]:
    """Zeros in memory, or in a mapped file if they are many, which the system may page out.

    The file has no name and is gone with the array, however the process ends. Where the disk
    cannot promise room for all of it, the array lies in memory.

    Args:
        shape: of the array.
        folder: where the file would be.
        kind: type of the numbers.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size >= LARGE:
        with suppress(OSError, AttributeError):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                # a disk that turns out to be full later would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, kind, "w+", shape=shape).view(np.ndarray)
    return np.zeros(shape, kind)


def keep_freed_memory() -> bool:
    """Let malloc keep large blocks it gets back: fewer page faults, faster training.

    It changes the whole process (glibc only, elsewhere it does nothing), so a program calls it
    for itself before its first large allocation; the `zoo` command does. Returns whether it took.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1), (top_pad, 1 << 28))
    took = [mallopt(setting, value) == 1 for setting, value in settings]
    return all(took)
