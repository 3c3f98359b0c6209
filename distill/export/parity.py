"""Whether two runtimes of one network answer alike, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A network: pixels [B, 3, S, S] to class probabilities [B, C]."""


@dataclass(frozen=True)
class Parity:
    """How far two answers are from each other.

    Attributes:
        difference: the largest of any probability, in 0..1; NaN if an answer is not a number.
        agreement: share of the images with the same top class, in 0..1.
        images: how many were compared.
    """

    difference: float
    agreement: float
    images: int


def compare(one: NDArray[np.float32], other: NDArray[np.float32]) -> Parity:
    """Probabilities [N, C] of the same images, N at least 1.

    Raises:
        ValueError: they are not of the same images and classes.
    """
    if one.shape != other.shape or not len(one):
        raise ValueError(f"probabilities {one.shape} and {other.shape} cannot be compared")
    alike = one.argmax(axis=1) == other.argmax(axis=1)
    return Parity(float(np.abs(one - other).max()), float(alike.mean()), len(one))


def answer_all(
    answer: Answer, pixels: NDArray[np.uint8], *, batch: int = 32
) -> NDArray[np.float32]:
    """Probabilities [N, C] of pixels [N, 3, S, S], N at least 1, a batch at a time."""
    starts = range(0, len(pixels), batch)
    return np.concatenate([answer(pixels[start : start + batch]) for start in starts])


def draw_noise(size: int, count: int = 8) -> NDArray[np.uint8]:
    """Random images [count, 3, size, size], always the same: from even gray to full noise."""
    draw = np.random.default_rng(0)
    spread = np.linspace(0, 1, count)[:, None, None, None]
    noise = draw.integers(-128, 128, (count, 3, size, size))
    return (128 + spread * noise).astype(np.uint8)


@dataclass(frozen=True)
class Latency:
    """How long one image takes.

    Attributes:
        median: milliseconds, at batch 1.
        p95: milliseconds that 95 % of the runs stay below.
        runs: how many were timed.
    """

    median: float
    p95: float
    runs: int


def measure_latency(
    answer: Answer,
    image: NDArray[np.uint8],
    *,
    warmup: int = 20,
    runs: int = 200,
    limit: float = 10,
) -> Latency:
    """Time a network on one image [1, 3, S, S], as often as `runs` or for `limit` seconds.

    Args:
        answer: the network.
        image: decoded: reading the file is not in these times.
        warmup: runs before, not timed; no more than `limit` seconds of them either.
        runs: timed ones, at most.
        limit: seconds, for large networks; one run is timed in any case.
    """
    _repeat(answer, image, warmup, limit)
    times = 1000 * np.array(_repeat(answer, image, runs, limit))
    return Latency(float(np.median(times)), float(np.percentile(times, 95)), len(times))


def _repeat(answer: Answer, image: NDArray[np.uint8], runs: int, limit: float) -> list[float]:
    """Seconds of each run."""
    times: list[float] = []
    began = time.perf_counter()
    while not times or (len(times) < runs and time.perf_counter() - began < limit):
        start = time.perf_counter()
        answer(image)
        times.append(time.perf_counter() - start)
    return times
