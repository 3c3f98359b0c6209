"""The kernel of several teachers: cosines of images in their features, summed by share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import standardize
from zoo.features.store import Features

Floats = NDArray[np.float64]


def teacher_kernel(
    features: Mapping[str, Features], shares: Mapping[str, float], landmarks: NDArray[np.int64]
) -> Floats:
    """sum_s alpha_s K_s of N images with M of them; one teacher at a time is in memory.

    K_s is the cosine of two images in teacher s's features, standardized over all N images.

    Args:
        features: of each teacher for the N images.
        shares: alpha_s of each, summing to 1.
        landmarks: [M], row numbers.

    Returns:
        [N, M], from -1 to 1.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
        >>> teacher_kernel({"a": Features(rows, rows)}, {"a": 1.0}, np.arange(3)).shape
        (6, 3)
    """
    images = len(next(iter(features.values())))
    kernel = np.zeros((images, len(landmarks)))
    for name, share in shares.items():
        rows = np.sqrt(share) * _unit_rows(standardize(features[name].embeddings))
        kernel += rows @ rows[landmarks].T
    return kernel


def kernel_coordinates(
    kernel: Floats, landmarks: NDArray[np.int64], most: int | None = None
) -> Floats:
    """Rows [N, R] whose products with the M landmarks are the kernel [N, M] (Nystroem).

    R is at most M, and at most `most`: the widest directions.

    Example:
        >>> kernel = np.eye(4)[:, :2]
        >>> kernel_coordinates(kernel, np.arange(2)).shape
        (4, 2)
    """
    values, vectors = np.linalg.eigh(kernel[landmarks])
    kept = np.flatnonzero(values > 1e-12 * values.max(initial=0.0))[::-1][:most]
    return kernel @ (vectors[:, kept] / np.sqrt(values[kept]))


def _unit_rows(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
