"""Parity and latency of a network in two runtimes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A network in a runtime: pixels [B, 3, S, S] to class probabilities [B, C]."""


@dataclass(frozen=True)
class Parity:
    """Difference of two runtimes' probabilities on the same images.

    Attributes:
        difference: maximum over all probabilities, 0..1; NaN if one is not a number.
        agreement: fraction of the images with the same top class, 0..1.
        images: their number.
    """

    difference: float
    agreement: float
    images: int


def measure_parity(one: NDArray[np.float32], other: NDArray[np.float32]) -> Parity:
    """Compare probabilities [N, C] of the same images, N at least 1.

    Raises:
        ValueError: their shapes differ, or there are none.
    """
    if one.shape != other.shape or not len(one):
        raise ValueError(f"probabilities {one.shape} and {other.shape} cannot be compared")
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return Parity(float(np.abs(one - other).max()), float(same.mean()), len(one))


def predict_batches(
    predictor: Predictor, pixels: NDArray[np.uint8], *, batch: int = 32
) -> NDArray[np.float32]:
    """Probabilities [N, C] of pixels [N, 3, S, S], N at least 1, in batches."""
    starts = range(0, len(pixels), batch)
    return np.concatenate([predictor(pixels[start : start + batch]) for start in starts])


def draw_noise(size: int, count: int = 8) -> NDArray[np.uint8]:
    """Fixed random images [count, 3, size, size], from uniform gray to full noise."""
    draw = np.random.default_rng(0)
    spread = np.linspace(0, 1, count)[:, None, None, None]
    noise = draw.integers(-128, 128, (count, 3, size, size))
    return (128 + spread * noise).astype(np.uint8)


@dataclass(frozen=True)
class Latency:
    """Latency of one image.

    Attributes:
        median: milliseconds, at batch size 1.
        p95: 95th percentile, milliseconds.
        runs: how many were timed.
    """

    median: float
    p95: float
    runs: int


def measure_latency(
    predictor: Predictor,
    image: NDArray[np.uint8],
    *,
    warmup: int = 20,
    runs: int = 200,
    limit: float = 10,
) -> Latency:
    """Time a network on one image [1, 3, S, S].

    Args:
        predictor: the network.
        image: decoded: reading the file is not timed.
        warmup: maximum number of runs before, not timed.
        runs: maximum number of timed runs; at least one.
        limit: seconds for each of the two, at most.
    """
    _time_runs(predictor, image, warmup, limit)
    times = 1000 * np.array(_time_runs(predictor, image, runs, limit))
    return Latency(float(np.median(times)), float(np.percentile(times, 95)), len(times))


def _time_runs(
    predictor: Predictor, image: NDArray[np.uint8], runs: int, limit: float
) -> list[float]:
    """Seconds of each run."""
    times: list[float] = []
    began = time.perf_counter()
    while not times or (len(times) < runs and time.perf_counter() - began < limit):
        start = time.perf_counter()
        predictor(image)
        times.append(time.perf_counter() - start)
    return times
