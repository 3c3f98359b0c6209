"""export_student: an ONNX file, its parity with torch, and the latency of each runtime."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.onnx_file import (
    Predictor,
    add_metadata,
    check_extra,
    convert,
    draw_noise,
    onnx_predictor,
    quantize,
)
from distill.student import WEIGHTS_FILE, load_network
from zoo.errors import StudentError
from zoo.features.inference import to_input
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.devices import to_device
from zoo.system.files import write_atomic
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing

TOLERANCE = 1e-4
"""Maximum difference of a probability between torch and ONNX in float32."""
AGREEMENT = 0.95
"""Minimum top-1 agreement of int8 with torch, 0..1; below it there is a warning."""


@dataclass(frozen=True)
class Parity:
    """Difference of two runtimes' probabilities on the same images.

    Attributes:
        difference: maximum over all probabilities, 0..1; NaN if one is not a number.
        agreement: fraction of the images with the same top class, 0..1.
    """

    difference: float
    agreement: float


def measure_parity(one: NDArray[np.float32], other: NDArray[np.float32]) -> Parity:
    """Compare probabilities [N, C] of the same images, N at least 1.

    Raises:
        ValueError: their shapes differ, or there are none.
    """
    if one.shape != other.shape or not len(one):
        raise ValueError(f"probabilities {one.shape} and {other.shape} cannot be compared")
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return Parity(float(np.abs(one - other).max()), float(same.mean()))


def predict_batches(
    predictor: Predictor, pixels: NDArray[np.uint8], *, batch: int = 32
) -> NDArray[np.float32]:
    """Probabilities [N, C] of pixels [N, 3, S, S], N at least 1, in batches."""
    starts = range(0, len(pixels), batch)
    return np.concatenate([predictor(pixels[start : start + batch]) for start in starts])


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


@dataclass(frozen=True)
class Runtime:
    """A runtime of the student and its cost.

    Attributes:
        name: `torch` or `onnxruntime`.
        precision: `float32` or `int8`.
        bytes: size of the file.
        latency: of one image on one thread.
    """

    name: str
    precision: str
    bytes: int
    latency: Latency


@dataclass(frozen=True)
class Exported:
    """The exported file and its parity with torch.

    Attributes:
        path: of the file.
        precision: `float32` or `int8`, of the file.
        difference: maximum difference of a probability, 0..1, over random and the given images; for
            int8 over the given ones alone, which it is calibrated on.
        images: number of given images.
        agreement: fraction of them with torch's top class, 0..1; None without any.
        runtimes: torch, onnxruntime in float32, then in int8 if requested.
        labeled: number of given images with a label of the student's classes.
        accuracy: of the file on those, 0..1; None without any.
        torch_accuracy: of torch on the same images.
    """

    path: Path
    precision: str
    difference: float
    images: int
    agreement: float | None
    runtimes: tuple[Runtime, ...]
    labeled: int = 0
    accuracy: float | None = None
    torch_accuracy: float | None = None

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.runtimes[-1].bytes

    @property
    def agrees(self) -> bool:
        """Whether the agreement is at least `AGREEMENT`; true without images."""
        return self.agreement is None or self.agreement >= AGREEMENT


def export_student(
    student: Path,
    path: Path,
    *,
    images: Images | None = None,
    int8: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a saved student as an ONNX file whose probabilities match those of torch.

    Args:
        student: folder of the student.
        path: of the file; an existing file is replaced.
        images: for the comparison, labeled or not; at least one for int8.
        int8: quantize weights and activations, calibrated on these images.
        progress: called after each step.

    Raises:
        StudentError: ONNX is not installed, the student cannot be loaded or exported, the
            probabilities differ (nothing is written), or the file cannot be written.
        ImagesError: an image changed since it was read.
    """
    check_extra()
    if int8 and not images:
        raise ValueError("int8 needs images for calibration")
    progress = progress or (lambda *_: None)
    network, labels, preprocessing = load_network(student)
    size = preprocessing.size
    files = {"float32": convert(network, preprocessing)}
    files["float32"] = add_metadata(files["float32"], student, labels, preprocessing)
    progress(1, 4)
    reference = torch_predictor(network, preprocessing)
    parity = _compare(reference, files["float32"], draw_noise(size))
    difference, agreement = parity.difference, None
    pixels = np.empty((0, 3, size, size), dtype=np.uint8)
    if images:
        pixels = decode_images(images.paths, preprocessing, digests=images.digests)
        parity = _compare(reference, files["float32"], pixels)
        difference = float(np.maximum(difference, parity.difference))  # NaN stays
        agreement = parity.agreement
    _check_difference(path, difference, TOLERANCE)
    progress(2, 4)
    if int8:
        content = quantize(files["float32"], pixels)
        files["int8"] = add_metadata(content, student, labels, preprocessing, precision="int8")
        parity = _compare(reference, files["int8"], pixels)
        difference, agreement = parity.difference, parity.agreement
        _check_difference(path, difference, 1.0)
    progress(3, 4)
    runtimes = _time_runtimes(student, reference, files, size)
    progress(4, 4)
    precision, content = list(files.items())[-1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise StudentError(
            f"{path} cannot be written: {error.strerror or error}. Choose another --out."
        ) from error
    accuracy = _measure_accuracy((onnx_predictor(content), reference), images, pixels, labels)
    return Exported(path, precision, difference, len(pixels), agreement, runtimes, *accuracy)


def _measure_accuracy(
    predictors: tuple[Predictor, Predictor],
    images: Images | None,
    pixels: NDArray[np.uint8],
    classes: Sequence[str],
) -> tuple[int, float | None, float | None]:
    """Number of images of the student's classes, and the accuracy of two networks on them."""
    place = {name: index for index, name in enumerate(classes)}
    names = images.classes if images else ()
    known = np.array([*(place.get(name, -1) for name in names), -1], dtype=np.int64)
    labels = known[images.labels] if images else known[:0]
    rows = np.flatnonzero(labels >= 0)
    if not len(rows):
        return 0, None, None
    file, torch_own = (
        float((predict_batches(each, pixels[rows]).argmax(axis=1) == labels[rows]).mean())
        for each in predictors
    )
    return len(rows), file, torch_own


def torch_predictor(network: nn.Module, preprocessing: Preprocessing) -> Predictor:
    """The student in torch, on the CPU in float32."""
    device = torch.device("cpu")
    network = to_device(network, device).eval()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = to_input(torch.from_numpy(pixels), preprocessing, device)
            return network(inputs).softmax(dim=1).numpy()

    return predict


def _check_difference(path: Path, difference: float, limit: float) -> None:
    if not difference <= limit:  # NaN is refused too
        raise StudentError(
            f"{path} is not written: onnxruntime's probabilities differ from torch's by up to "
            f"{difference:.1e}, more than {limit:.0e}. Update torch, onnx and onnxruntime, or use "
            "the student's folder."
        )


def _compare(reference: Predictor, content: bytes, pixels: NDArray[np.uint8]) -> Parity:
    """Parity of torch and an ONNX file, with different batch sizes."""
    outputs = predict_batches(onnx_predictor(content), pixels, batch=5)
    return measure_parity(predict_batches(reference, pixels), outputs)


def _time_runtimes(
    student: Path, reference: Predictor, files: Mapping[str, bytes], size: int
) -> tuple[Runtime, ...]:
    image = draw_noise(size)[-1:]
    weights = (student / WEIGHTS_FILE).stat().st_size
    with one_thread():
        rows = [Runtime("torch", "float32", weights, measure_latency(reference, image))]
        for precision, content in files.items():
            latency = measure_latency(onnx_predictor(content), image)
            rows.append(Runtime("onnxruntime", precision, len(content), latency))
    return tuple(rows)


@contextmanager
def one_thread() -> Iterator[None]:
    """In here torch uses one thread, as onnxruntime does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
