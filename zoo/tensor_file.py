"""A file of arrays that knows its own checksum: written whole, refused when damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .whole_file import write_whole

Arrays = Mapping[str, NDArray[Any]]


def write_tensors(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Write arrays and what explains them as one safetensors file.

    Raises:
        OSError: it cannot be written.
    """
    # safetensors writes the buffer of a view, not what the view shows
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(whole, metadata={**metadata, "sha256": _checksum(whole, metadata)})
    write_whole(path, content)


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and metadata as `write_tensors` was given them.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged or something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file") from error
    if metadata.pop("sha256", None) != _checksum(arrays, metadata):
        raise ValueError(f"{path} is damaged")
    return arrays, metadata


def _checksum(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
