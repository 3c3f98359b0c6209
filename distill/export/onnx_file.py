"""The ONNX file of a student, uint8 pixels to class probabilities: conversion, int8, inference.

Normalization and softmax are part of the file, so that they cannot be left out, done twice or done
with other constants. Resize and crop are so only where `distill.export.resize` adds them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import (
    INPUT,
    OUTPUT,
    Calibration,
    ExportModule,
    Predictor,
    draw_noise,
    silence,
)
from zoo.errors import StudentError, first_line
from zoo.teachers.card import Preprocessing

OPSET = 18
"""ONNX operator set: the lowest that torch's exporter writes natively."""


def convert(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """Convert a network to ONNX: `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B.

    Raises:
        StudentError: torch cannot export this architecture.
    """
    size = preprocessing.size
    example = torch.from_numpy(draw_noise(size, 2))
    try:
        with silence(), torch.no_grad():
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


def quantize(source: Calibration, quantized: Path) -> None:
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
