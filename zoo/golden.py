"""Golden embeddings: what a teacher says of two synthetic images, to prove that it loads right."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .teacher import Teacher, embed

TOLERANCE = 0.02
"""Largest relative distance to the golden embedding that counts as the same: rounding on other
machines stays well below a thousandth, a swapped channel or a flipped weight far above."""


def draw_images(size: int) -> NDArray[np.uint8]:
    """Two images [2, 3, size, size] made by code: a sheet of colours, and coloured rings."""
    down, right = np.mgrid[0:size, 0:size] / (size - 1)
    rings = (1 + np.cos(8 * np.pi * np.hypot(down - 0.5, right - 0.3))) / 2
    sheet = [right, down, 1 - right]
    target = [rings, 1 - rings * down, np.full_like(rings, 0.25)]
    return (np.array([sheet, target]) * 255).round().astype(np.uint8)


def embed_images(teacher: Teacher) -> NDArray[np.float32]:
    """A teacher's embeddings [2, D] of the two images, in float32 on any device.

    Raises:
        TeacherBroken: it cannot take such images, or its outputs are not finite numbers.
    """
    return embed(teacher, draw_images(teacher.card.input.size), mixed=False).embeddings


def distance(found: NDArray[np.float32], golden: ArrayLike) -> float:
    """Relative distance of embeddings [2, D], the larger of two images; infinite if not alike."""
    try:
        known = np.asarray(golden, dtype=np.float32)
    except (ValueError, TypeError):  # rows of different widths, or no numbers
        return math.inf
    if found.shape != known.shape or not np.isfinite(known).all():
        return math.inf
    gap = np.linalg.norm(found - known, axis=1)
    return float(np.max(gap / np.maximum(np.linalg.norm(known, axis=1), 1e-12)))
