"""Arrays in safetensors files with a checksum, and scratch arrays that the system may page out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from zoo.system.files import check_regular, write_atomic

Arrays = Mapping[str, NDArray[Any]]


def write_tensors(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata as one safetensors file, atomically; an OSError if it fails."""
    # safetensors writes the whole buffer of a view
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(whole, metadata={**metadata, "sha256": _checksum(whole, metadata)})
    write_atomic(path, content)


def read_tensors(
    path: Path, expected: Mapping[str, str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and metadata that `write_tensors` wrote.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged or of another kind, or its metadata differs from `expected`.
    """
    check_regular(path)
    try:
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            for name, value in (expected or {}).items():
                if metadata.get(name) != value:
                    raise ValueError(f"it is of another {name}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file") from error
    if metadata.pop("sha256", None) != _checksum(arrays, metadata):
        raise ValueError(f"{path} is damaged")
    return arrays, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a file of `write_tensors`, unchecked; empty if it cannot be read."""
    try:
        check_regular(path)
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _checksum(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


Kind = TypeVar("Kind", np.float32, np.float16, np.int32, np.uint8)

LARGE = 1 << 22
"""Bytes from which on a scratch array lies in a file."""


def scratch_array(
    shape: tuple[int, ...],
    folder: Path,
    kind: type[Kind] = np.float32,
    *,
    large: int | None = None,
) -> NDArray[Kind]:
    """Zeros in memory, or in a mapped file if they are many, which the system may page out.

    The file has no name and is gone with the array, however the process ends. Where the disk
    has no room for it, the array lies in memory.

    `large` is the size in bytes from which on it lies in a file in `folder`, else `LARGE`.
    """
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    if size >= (LARGE if large is None else large):
        with suppress(OSError, AttributeError):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                # reserved now: a full disk would kill the process later
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, kind, "w+", shape=shape).view(np.ndarray)
    return np.zeros(shape, kind)
