"""The ONNX file of a student, uint8 pixels to class probabilities: conversion, int8, inference.

Normalization and softmax are part of the file, so that they cannot be left out, done twice or done
with other constants. Resize and crop are not, as ONNX resizes differently from Pillow: the metadata
describe them.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.student import WEIGHTS_FILE
from zoo import __version__
from zoo.errors import StudentError, first_line
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.config import read_layout

OPSET = 18
"""ONNX operator set: the lowest that torch's exporter writes natively."""
INPUT, OUTPUT = "pixels", "probabilities"
CALIBRATION = 128
"""Maximum number of images for the calibration of int8."""


Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A network in a runtime: pixels [B, 3, S, S] to class probabilities [B, C]."""


class ExportModule(nn.Module):
    """A network with normalization before and softmax after it."""

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
        """RGB pixels [B, 3, S, S] uint8 to probabilities [B, C]."""
        ordered = pixels.flip(1) if self.swap else pixels
        return self.network(ordered.float() * self.scale + self.shift).softmax(dim=1)


def check_extra() -> None:
    """Check that the packages of the extra `export` are installed.

    Raises:
        StudentError: one is not.
    """
    try:
        for name in ("onnx", "onnxruntime", "onnxscript"):  # the last for torch's exporter
            import_module(name)
    except ImportError as error:
        raise StudentError(
            f"The export needs {error.name or 'onnx'}: pip install 'source-zoo[export]'."
        ) from error


def convert(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """Convert a network to ONNX: `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B.

    Raises:
        StudentError: torch cannot export this architecture.
    """
    size = preprocessing.size
    example = torch.from_numpy(draw_noise(size, 2))
    try:
        with _silence(), torch.no_grad():
            program: Any = torch.onnx.export(
                ExportModule(network, preprocessing).eval(),
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
            "or use the student's folder."
        ) from error


def add_metadata(
    content: bytes,
    student: Path,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    precision: str = "float32",
) -> bytes:
    """Add metadata to an ONNX file: classes, preprocessing, license, origin."""
    import onnx

    layout = read_layout(student)
    size = preprocessing.size
    facts: Mapping[str, Any] = {
        "classes": list(labels),
        "input": f"{INPUT}: uint8 [B, 3, {size}, {size}] of 0..255, RGB; "
        "resized and cropped, not normalized: mean and std are applied inside",
        "output": f"{OUTPUT}: float32 [B, {len(labels)}]; softmax is applied inside",
        "image_size": size,
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "orientation": "turned as EXIF says, before anything else",
        "alpha": "transparent pixels are laid on white",
        "bit_depth": "gray of 16 bits: value * 255 / 65535, rounded down",
        "temperature": 1.0,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "precision": precision,
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
    """Static quantization to int8, per channel for weights and per tensor for activations.

    Args:
        content: of an ONNX file in float32.
        pixels: [N, 3, S, S]; up to CALIBRATION of them, evenly spread, calibrate the activations.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    rows = np.unique(np.linspace(0, len(pixels) - 1, CALIBRATION).round().astype(int))

    class Reader(quantization.CalibrationDataReader):
        """One image at a time."""

        def __init__(self) -> None:
            self.remaining = iter(rows)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # pyright: ignore
            row = next(self.remaining, None)
            return None if row is None else {INPUT: pixels[[row]]}

    with tempfile.TemporaryDirectory() as folder, _silence():
        original, prepared, quantized = (str(Path(folder, name)) for name in "abc")
        Path(original).write_bytes(content)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        quantization.quantize_static(
            prepared,
            quantized,
            Reader(),
            # in 8 bits the probabilities would not even sum to 1
            nodes_to_exclude=[node.name for node in nodes if OUTPUT in node.output],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return Path(quantized).read_bytes()


def onnx_predictor(content: bytes) -> Predictor:
    """An ONNX file in onnxruntime, on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels})[0]  # pyright: ignore


def draw_noise(size: int, count: int = 8) -> NDArray[np.uint8]:
    """Fixed random images [count, 3, size, size], from uniform gray to full noise."""
    draw = np.random.default_rng(0)
    spread = np.linspace(0, 1, count)[:, None, None, None]
    noise = draw.integers(-128, 128, (count, 3, size, size))
    return (128 + spread * noise).astype(np.uint8)


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress the exporters' warnings and logs, which the user cannot act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
