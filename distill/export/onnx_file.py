"""The ONNX file of a student, uint8 pixels to class probabilities: conversion, int8, resizing.

Normalization and softmax are part of the file, so that they cannot be left out, done twice or done
with other constants. Resize and crop are so only where `add_resize` adds them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.export.module import (
    INPUT,
    OUTPUT,
    ExportModule,
    Predictor,
    QuantizationInput,
    draw_noise,
    silence,
)
from zoo.errors import StudentError, first_line
from zoo.teachers.card import Preprocessing

OPSET = 18
"""ONNX operator set: the lowest that torch's exporter writes natively."""
FITTED = "fitted"
"""What the part of a file that resizes hands to the network."""


def convert(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """Convert a network to ONNX: `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B.

    Raises:
        StudentError: torch cannot export this architecture.
    """
    example = torch.from_numpy(draw_noise(preprocessing.size, 2))
    try:
        module = ExportModule(network, preprocessing)
        return _to_onnx(module, example, OUTPUT, {0: "B"}).SerializeToString()
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise StudentError(
            f"torch cannot export this network ({first_line(error)}): update torch and onnxscript, "
            "or use the student's folder."
        ) from error


def _to_onnx(module: nn.Module, example: Tensor, output: str, sizes: dict[int, str]) -> Any:
    """A module of one input and one output as a model; `sizes` names the axes of any length."""
    shapes = {axis: torch.export.Dim(name) for axis, name in sizes.items()}
    with silence(), torch.no_grad():
        program: Any = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=(shapes,),
        )
    return program.model_proto


def add_metadata(content: bytes, facts: dict[str, Any]) -> bytes:
    """Add what a file states about itself, see `distill.export.module.describe`."""
    import onnx

    model = onnx.load_from_string(content)
    texts = {
        name: fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)
        for name, fact in facts.items()
    }
    onnx.helper.set_model_props(model, texts)
    return model.SerializeToString()


def quantize(source: QuantizationInput, quantized: Path) -> None:
    """Write a student in int8."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        """One image at a time."""

        def __init__(self) -> None:
            self.remaining = iter(source.images())

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # pyright: ignore
            image = next(self.remaining, None)
            return None if image is None else {INPUT: image}

    with tempfile.TemporaryDirectory() as folder, silence():
        prepared = str(Path(folder, "prepared"))
        quant_pre_process(str(source.path), prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        quantization.quantize_static(
            prepared,
            str(quantized),
            Reader(),
            # in 8 bits the probabilities would not even sum to 1
            nodes_to_exclude=[node.name for node in nodes if OUTPUT in node.output],
            per_channel=True,
            reduce_range=True,  # 7 bits for weights: CPUs without VNNI add up 8 with overflow
            # the mean of the images' extremes: one odd image would set the range of all
            extra_options={"CalibMovingAverage": True},
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


def onnx_predictor(content: bytes) -> Predictor:
    """An ONNX file in onnxruntime, on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run([OUTPUT], {INPUT: pixels})[0]  # pyright: ignore


def write(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write a network as an ONNX file in float32."""
    path.write_bytes(convert(network, preprocessing))


def load(path: Path) -> Predictor:
    """An ONNX file on one CPU thread."""
    return onnx_predictor(path.read_bytes())


class Resize(nn.Module):
    """Pixels [B, 3, H, W] of any size to [B, 3, S, S], as Pillow resizes a centered box.

    Columns, then rows, by a matrix each, both rounded to whole numbers: what Pillow does, but that
    Pillow 13 begins with the rows of some images, and a value may differ by one or two.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.size, self.keep = preprocessing.size, preprocessing.crop_pct
        self.square = preprocessing.crop_mode == "center"
        self.cubic = preprocessing.interpolation == "bicubic"

    def forward(self, pixels: Tensor) -> Tensor:
        """Resize pixels [B, 3, H, W] uint8 in 0..255."""
        values = pixels.float()
        # the sizes as tensors: as numbers they would become constants of the file
        rows = torch.ones_like(values[0, 0, :, 0]).cumsum(0)
        columns = torch.ones_like(values[0, 0, 0, :]).cumsum(0)
        height, width = rows[-1], columns[-1]
        side = torch.minimum(height, width)
        across, down = (side, side) if self.square else (width, height)
        values = _whole(values @ self._weights(columns, width, across * self.keep).T)
        return _whole(self._weights(rows, height, down * self.keep) @ values).to(torch.uint8)

    def _weights(self, places: Tensor, length: Tensor, span: Tensor) -> Tensor:
        """Weights [S, L] of the L pixels of a line, at 1, 2, ..., in each of the S new ones."""
        step = span / self.size
        centers = (length - span) / 2 + (torch.arange(self.size) + 0.5) * step
        width = torch.clamp(step, min=1.0)
        far = ((places - 0.5)[None] - centers[:, None]).abs() / width
        if self.cubic:
            near = (1.5 * far - 2.5) * far * far + 1
            outer = ((-0.5 * far + 2.5) * far - 4) * far + 2
            weights = torch.where(far < 1, near, torch.where(far < 2, outer, 0.0))
        else:
            weights = torch.clamp(1 - far, min=0.0)
        return weights / weights.sum(1, keepdim=True)


def _whole(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)


def add_resize(content: bytes, preprocessing: Preprocessing) -> bytes:
    """An ONNX file whose `pixels` are [B, 3, H, W] of any size, from one of [B, 3, S, S]."""
    import onnx
    from onnx import compose

    example = torch.zeros(2, 3, 40, 50, dtype=torch.uint8)
    first = _to_onnx(Resize(preprocessing), example, FITTED, {0: "B", 2: "H", 3: "W"})
    second = onnx.load_from_string(content)
    first = compose.add_prefix(first, "resize/", rename_inputs=False, rename_outputs=False)
    second = compose.add_prefix(second, "network/", rename_outputs=False)
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    merged = compose.merge_models(first, second, io_map=[(FITTED, f"network/{INPUT}")])
    del merged.metadata_props[:]
    return merged.SerializeToString()
