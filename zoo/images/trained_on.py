"""Which images a student was trained on: short digests beside its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.images.folder import Images
from zoo.system.json_files import constant, listing, pattern, read_json, record, write_json

TRAINED_ON = "trained_on.json"
DIGITS = 16
"""Hex digits of each SHA-256 that are kept: enough to tell a million images apart."""
_SCHEMA = record(
    {"format": constant(1), "images": listing(pattern(r"[0-9a-f]{16}", "16 hex digits"))}
)


def save_trained_on(images: Images, folder: Path) -> None:
    """Write the digests of the labeled images into a student's folder.

    Raises:
        OSError: it cannot be written.
    """
    write_json(folder / TRAINED_ON, {"format": 1, "images": sorted(_labeled(images))})


def count_trained_on(images: Images, folder: Path | None) -> int:
    """How many of the labeled images the network of a folder was trained on; 0 if unknown.

    Raises:
        ZooError: the file of the digests is damaged.

    Example:
        >>> count_trained_on(read_images("imgs"), Path("student"))
        40
    """
    if folder is None or not (folder / TRAINED_ON).exists():
        return 0
    advice = "Add the teacher again."
    known = read_json(folder / TRAINED_ON, _SCHEMA, error=ZooError, advice=advice)["images"]
    return len(_labeled(images).intersection(known))


def _labeled(images: Images) -> set[str]:
    return {images.digests[row][:DIGITS] for row in np.flatnonzero(images.labels >= 0)}
