"""The kernel of several teachers: cosines of images in their features, summed by share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import Standardization
from zoo.features.store import Features

Floats = NDArray[np.float64]
Rows = NDArray[np.int64] | slice

BLOCK = 4096
"""Images whose kernel is in memory at once."""


@dataclass(frozen=True, eq=False)
class TeacherKernel:
    """sum_s alpha_s K_s of N images with M of them, computed where it is asked for.

    K_s is the cosine of two images in teacher s's features, standardized over all N images. The
    parts are of each teacher its features and alpha_s; landmarks are M row numbers. One teacher's
    features of the asked images and of the landmarks are in memory at a time.
    """

    images: int
    landmarks: NDArray[np.int64]
    parts: tuple[tuple[Standardization, float], ...]

    @classmethod
    def of(
        cls,
        features: Mapping[str, Features],
        shares: Mapping[str, float],
        landmarks: NDArray[np.int64],
    ) -> TeacherKernel:
        """The kernel of teachers with shares alpha_s, of sum 1, and landmarks, [M] row numbers."""
        parts = [
            (Standardization.of(features[name].embeddings), share) for name, share in shares.items()
        ]
        return cls(len(next(iter(features.values()))), landmarks, tuple(parts))

    def rows(self, index: Rows) -> Floats:
        """The kernel of some images with the landmarks, [n, M], from -1 to 1."""
        cosines = (
            scale_rows(each.rows(index)) @ (share * scale_rows(each.rows(self.landmarks))).T
            for each, share in self.parts
        )
        return sum(cosines, 0.0)  # pyright: ignore

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """The kernel of all images, `BLOCK` at a time, and which these are."""
        for start in range(0, self.images, BLOCK):
            part = slice(start, start + BLOCK)
            yield part, self.rows(part)

    def products(self, weights: Floats) -> Floats:
        """The kernel of all images times weights [M, R]: [N, R]; it is never whole in memory."""
        found = np.empty((self.images, weights.shape[1]))
        for part, block in self.blocks():
            found[part] = block @ weights
        return found


def kernel_basis(kernel: Floats, most: int | None = None) -> Floats:
    """[M, R] that makes coordinates of kernel rows: their products are the kernel (Nystroem).

    From the kernel [M, M] of the landmarks with each other; R is at most M, and at most `most`: the
    widest directions.
    """
    values, vectors = np.linalg.eigh(kernel)
    kept = np.flatnonzero(values > 1e-12 * values.max(initial=0.0))[::-1][:most]
    return vectors[:, kept] / np.sqrt(values[kept])


def scale_rows(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows [N, D] at length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
