"""The ONNX file of a student: pixels in, class probabilities out; written, quantized and run.

The file holds all that can be got wrong outside: scaling, mean and deviation, softmax. Its input is
what a decoder gives, uint8 of 0..255: a runtime refuses floats of 0..1 instead of answering
nonsense, and nobody normalizes twice. Resize and crop stay outside, because ONNX resizes otherwise
than Pillow: the metadata says how.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.export.parity import Answer, draw_noise
from distill.student import WEIGHTS_FILE
from zoo import __version__
from zoo.errors import StudentError, first_line
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.config import read_layout

OPSET = 18
"""Version of ONNX's operators: the lowest that torch's exporter writes natively."""
INPUT, OUTPUT = "pixels", "probabilities"
CALIBRATION = 128
"""Images that the ranges of int8 are measured on, at most."""


class Shipped(nn.Module):
    """The student with its normalization before and softmax behind."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.scale: Tensor
        self.shift: Tensor
        self.network = network
        self.swap = preprocessing.channels == "bgr"
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, S, S] uint8, red first, to probabilities [B, C]."""
        ordered = pixels.flip(1) if self.swap else pixels
        return self.network(ordered.float() * self.scale + self.shift).softmax(dim=1)


def check_extra() -> None:
    """Make sure, before any work, that what writes and runs ONNX is installed.

    Raises:
        StudentError: it is not.
    """
    try:
        for name in ("onnx", "onnxruntime", "onnxscript"):  # torch's exporter needs the last
            import_module(name)
    except ImportError as error:
        raise StudentError(
            f"The export needs {error.name or 'onnx'}: pip install 'source-zoo[export]', then run "
            "it again."
        ) from error


def convert(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """The network as ONNX: `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B.

    Raises:
        StudentError: torch cannot export this architecture.
    """
    size = preprocessing.size
    example = torch.from_numpy(draw_noise(size, 2))
    try:
        with _silence(), torch.no_grad():
            program: Any = torch.onnx.export(
                Shipped(network, preprocessing).eval(),
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("B")},),
            )
            return program.model_proto.SerializeToString()
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise StudentError(
            f"torch cannot export this network ({first_line(error)}): update torch and onnxscript, "
            "or ship the student's folder."
        ) from error


def describe(
    content: bytes,
    student: Path,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    numbers: str = "float32",
) -> bytes:
    """The same file with metadata: classes, how to resize and crop, license, origin."""
    import onnx

    layout = read_layout(student)
    shape = preprocessing
    facts: Mapping[str, Any] = {
        "classes": list(labels),
        "input": f"{INPUT}: uint8 [B, 3, {shape.size}, {shape.size}] of 0..255, red first; "
        "resized and cropped, not normalized: mean and std are applied inside",
        "output": f"{OUTPUT}: float32 [B, {len(labels)}]; softmax is applied inside",
        "image_size": shape.size,
        "interpolation": shape.interpolation,
        "crop_pct": shape.crop_pct,
        "crop_mode": shape.crop_mode,
        "mean": list(shape.mean),
        "std": list(shape.std),
        "numbers": numbers,
        "architecture": layout.network,
        "license": layout.license,
        "weights_sha256": sha256_of(student / WEIGHTS_FILE),
        "source_zoo": __version__,
    }
    model = onnx.load_from_string(content)
    texts = {
        name: fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
        for name, fact in facts.items()
    }
    onnx.helper.set_model_props(model, texts)
    return model.SerializeToString()


def quantize(content: bytes, pixels: NDArray[np.uint8]) -> bytes:
    """Static int8: weights by channel, activations by ranges seen on some of the pixels.

    Args:
        content: of an ONNX file in float32.
        pixels: [N, 3, S, S]; at most CALIBRATION of them, evenly spread, are shown.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    rows = np.unique(np.linspace(0, len(pixels) - 1, CALIBRATION).round().astype(int))

    class Reader(quantization.CalibrationDataReader):
        """One image at a time."""

        def __init__(self) -> None:
            self.left = iter(rows)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # pyright: ignore
            row = next(self.left, None)
            return None if row is None else {INPUT: pixels[[row]]}

    with tempfile.TemporaryDirectory() as folder, _silence():
        given, ready, made = (str(Path(folder, name)) for name in ("given", "ready", "made"))
        Path(given).write_bytes(content)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            made,
            Reader(),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return Path(made).read_bytes()


def onnx_answer(content: bytes) -> Answer:
    """An ONNX file in onnxruntime, on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels})[0]  # pyright: ignore


@contextmanager
def _silence() -> Iterator[None]:
    """Keep quiet: exporters warn and log of things that the user can do nothing about."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
