"""Latency of one image on one thread, in torch or another runtime."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import Predictor
from zoo.features.inference import to_input
from zoo.system.devices import to_device
from zoo.teachers.card import Preprocessing


@dataclass(frozen=True)
class Latency:
    """Latency of one image in milliseconds: median and 95th percentile of some runs."""

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
    """Time a network on one decoded image [1, 3, S, S].

    After at most so many runs of warm-up, at most `runs` are timed; `limit` is seconds for each of
    the two. One run is timed at least.
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


def torch_predictor(network: nn.Module, preprocessing: Preprocessing) -> Predictor:
    """The student in torch, on the CPU in float32."""
    device = torch.device("cpu")
    network = to_device(network, device).eval()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = to_input(torch.from_numpy(pixels), preprocessing, device)
            return network(inputs).softmax(dim=1).numpy()

    return predict


@contextmanager
def one_thread() -> Iterator[None]:
    """In here torch uses one thread, as onnxruntime does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
