"""Copies of images: same bytes, same pixels, or nearly the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from selection.index import find_nearest, unit_rows
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing

Floats = NDArray[np.float64]

NEIGHBORS = 8
"""Nearest images that are looked at as possible copies of an image."""
CANDIDATE = 0.4
"""Cosine in the teachers' features from which on two images are compared pixel by pixel."""
SAME = 0.95
"""Correlation of the pixels of two small pictures from which on they are near copies."""
BLOCK = 1024
"""Pairs that are compared at once."""
SMALL = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", 1.0, "squash")
"""How images are made small before they are compared: whole, at 32 x 32 pixels."""

Kind = Literal["bytes", "pixels", "near"]
KINDS: tuple[Kind, ...] = ("bytes", "pixels", "near")
"""From the closest to the loosest."""


@dataclass(frozen=True)
class Copy:
    """Two images, by row, that show the same picture.

    The files are equal (`bytes`), the pictures are (`pixels`), or `near`; similarity is the
    correlation of the pixels, up to 1.
    """

    one: int
    other: int
    kind: Kind
    similarity: float


def find_copies(images: Images, rows: Floats, *, progress: Progress | None = None) -> list[Copy]:
    """Pairs of images that show the same picture, also rotated by right angles or mirrored.

    The nearest neighbors in the teachers' features [N, R] are compared pixel by pixel, at 32 x 32
    pixels and up to brightness and contrast. A picture with thousands of copies has only the
    nearest. The most alike pairs come first.
    """
    distinct, again = images.distinct()
    first = np.unique(again, return_index=True)[1]
    found = [
        Copy(int(first[group]), row, "bytes", 1.0)
        for row, group in enumerate(again.tolist())
        if first[group] != row
    ]
    pairs = _candidates(rows[first])
    if len(pairs):
        used, places = np.unique(pairs, return_inverse=True)
        shown = distinct.subset(used)
        pixels = decode_images(shown.paths, SMALL, digests=shown.digests, progress=progress)
        alike = compare(pixels, places.reshape(-1, 2))
        for place in np.flatnonzero(alike >= SAME):
            a, b = pixels[places.reshape(-1, 2)[place]]
            kind = "pixels" if np.array_equal(a, b) else "near"
            one, other = sorted(first[pairs[place]].tolist())
            found.append(Copy(one, other, kind, float(alike[place])))
    return sorted(found, key=lambda c: (KINDS.index(c.kind), -c.similarity, c.one, c.other))


def _candidates(rows: Floats) -> NDArray[np.int64]:
    """Pairs [P, 2] of near rows, the smaller number first."""
    count = len(rows)
    if count < 2:
        return np.empty((0, 2), dtype=np.int64)
    near = find_nearest(rows.astype(np.float32), min(NEIGHBORS, count - 1))
    unit = unit_rows(rows)
    cosines = np.empty(near.shape, dtype=np.float32)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        cosines[part] = np.einsum("nr,nkr->nk", unit[part], unit[near[part]])
    one, which = np.nonzero(cosines >= CANDIDATE)
    return np.unique(np.sort(np.stack([one, near[one, which]], axis=1), axis=1), axis=0)


def compare(pictures: NDArray[np.uint8], pairs: NDArray[np.int64]) -> Floats:
    """The largest correlation of each two pictures over eight rotations and mirrors, [P], -1 to 1.

    Pictures are [N, 3, S, S], pairs [P, 2] their rows; one of a single color is like no other.
    """
    found = np.full(len(pairs), -1.0)
    for start in range(0, len(pairs), BLOCK):
        one, other = (_center(pictures[rows]) for rows in pairs[start : start + BLOCK].T)
        part = found[start : start + BLOCK]
        for turns, mirrored in product(range(4), (False, True)):
            turned = np.rot90(other[..., ::-1] if mirrored else other, turns, axes=(2, 3))
            np.maximum(part, np.einsum("pcij,pcij->p", one, turned), out=part)
    return found


def _center(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures whose products are correlations; by channel, or all red images were alike."""
    wide = pictures.astype(np.float32)
    wide -= wide.mean(axis=(2, 3), keepdims=True)
    return unit_rows(wide.reshape(len(wide), -1)).reshape(pictures.shape)


def group_copies(copies: Sequence[Copy]) -> list[list[int]]:
    """Rows of images that are copies of each other, a list for each picture, largest first."""
    group: dict[int, list[int]] = {}
    for copy in copies:
        found = (group.setdefault(row, [row]) for row in (copy.one, copy.other))
        other, one = sorted(found, key=len)
        if one is not other:
            one += other
            group.update(dict.fromkeys(other, one))
    distinct = {id(rows): sorted(rows) for rows in group.values()}
    return sorted(distinct.values(), key=lambda rows: (-len(rows), rows))
