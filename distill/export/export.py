"""Ship a student: an ONNX file that answers as it does, how far from it, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.onnx_file import check_extra, convert, describe, onnx_answer, quantize
from distill.export.parity import (
    Answer,
    Latency,
    Parity,
    answer_all,
    compare,
    draw_noise,
    measure_latency,
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
"""Largest difference of a probability that float32 in another order of operations may make."""
AGREEMENT = 0.95
"""Share of the images whose top class int8 has to keep, or the user is warned."""


@dataclass(frozen=True)
class Runtime:
    """A way to run the student, and what it costs.

    Attributes:
        name: `torch` or `onnxruntime`.
        numbers: `float32` or `int8`.
        bytes: of its file.
        latency: of one image on one thread.
    """

    name: str
    numbers: str
    bytes: int
    latency: Latency


@dataclass(frozen=True)
class Exported:
    """What was written, and how it compares with the student in torch.

    Attributes:
        path: of the file.
        numbers: `float32` or `int8`, of the file.
        difference: the largest of a probability, in 0..1, over random images and the given ones;
            in int8 over the given ones, which are what its ranges are made for.
        images: how many images were given.
        agreement: share of them with the student's top class, in 0..1; None without any.
        runtimes: torch, then onnxruntime in float32, then in int8 if that was asked for.
    """

    path: Path
    numbers: str
    difference: float
    images: int
    agreement: float | None
    runtimes: tuple[Runtime, ...]

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.runtimes[-1].bytes

    @property
    def faithful(self) -> bool:
        """Whether nearly all given images keep their top class; true without any."""
        return self.agreement is None or self.agreement >= AGREEMENT


def export_student(
    student: Path,
    path: Path,
    *,
    images: Images | None = None,
    int8: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a saved student as an ONNX file, whole, if it answers as the student does in torch.

    Args:
        student: folder of the student.
        path: of the file; what is there is replaced.
        images: real ones to compare on, labeled or not.
        int8: quantize weights and activations, with ranges measured on these images.
        progress: called after each step.

    Raises:
        StudentError: ONNX is not installed, the student cannot be used or exported, the answers
            differ (nothing is written then), or the file cannot be written.
        ImagesError: an image changed since it was read.
    """
    check_extra()
    if int8 and not images:
        raise ValueError("int8 needs images to measure its ranges on")

    def say(step: int) -> None:
        if progress:
            progress(step, 4)

    network, labels, preprocessing = load_network(student)
    size = preprocessing.size
    plain = describe(convert(network, preprocessing), student, labels, preprocessing)
    say(1)
    reference, shown = torch_answer(network, preprocessing), None
    difference = _compare_on(reference, plain, draw_noise(size)).difference
    pixels = np.empty((0, 3, size, size), dtype=np.uint8)
    if images:
        pixels = decode_images(images.paths, preprocessing, digests=images.digests)
        shown = _compare_on(reference, plain, pixels)
        difference = float(np.maximum(difference, shown.difference))  # NaN stays
    _check(path, difference, TOLERANCE)
    say(2)
    files = {"float32": plain}
    if int8:
        small = quantize(plain, pixels)
        files["int8"] = describe(small, student, labels, preprocessing, numbers="int8")
        shown = _compare_on(reference, files["int8"], pixels)
        difference = shown.difference
        _check(path, difference, 1.0)
    say(3)
    runtimes = _time_all(student, reference, files, size)
    say(4)
    numbers, content = list(files.items())[-1]
    write_export(path, content)
    agreement = shown and shown.agreement
    return Exported(path, numbers, difference, len(pixels), agreement, runtimes)


def _check(path: Path, difference: float, limit: float) -> None:
    if not difference <= limit:  # what is not a number is refused too
        raise StudentError(
            f"{path} is not written: onnxruntime's probabilities differ from torch's by up to "
            f"{difference:.1e}, more than {limit:.0e}. Update torch, onnx and onnxruntime, or ship "
            "the student's folder."
        )


def write_export(path: Path, content: bytes) -> None:
    """Write the file and its folder.

    Raises:
        StudentError: they cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise StudentError(
            f"{path} cannot be written: {error.strerror or error}. Choose another --out."
        ) from error


def torch_answer(network: nn.Module, preprocessing: Preprocessing) -> Answer:
    """The student in torch, on the CPU in float32."""
    device = torch.device("cpu")
    network = to_device(network, device).eval()

    def answer(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = to_input(torch.from_numpy(pixels), preprocessing, device)
            return network(inputs).softmax(dim=1).numpy()

    return answer


def _compare_on(reference: Answer, content: bytes, pixels: NDArray[np.uint8]) -> Parity:
    """Of torch and an ONNX file, in batches of two sizes: the file must take any."""
    answers = answer_all(onnx_answer(content), pixels, batch=5)
    return compare(answer_all(reference, pixels), answers)


def _time_all(
    student: Path, reference: Answer, files: Mapping[str, bytes], size: int
) -> tuple[Runtime, ...]:
    image = draw_noise(size)[-1:]
    size_of_weights = (student / WEIGHTS_FILE).stat().st_size
    with _one_thread():
        rows = [Runtime("torch", "float32", size_of_weights, measure_latency(reference, image))]
        for numbers, content in files.items():
            latency = measure_latency(onnx_answer(content), image)
            rows.append(Runtime("onnxruntime", numbers, len(content), latency))
    return tuple(rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes on one thread in torch, as in onnxruntime."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
