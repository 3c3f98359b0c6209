"""The LiteRT file (.tflite, TensorFlow Lite) of a student; int8 by AI Edge Quantizer, per channel.

It takes one image [1, S, S, 3], as the image libraries of phones return it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import (
    Calibration,
    Predictor,
    draw_noise,
    one_by_one,
    prepare,
    silence,
)
from zoo.teachers.card import Preprocessing


def convert(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [1, S, S, 3] uint8 to `probabilities` [1, C]."""
    with silence(), torch.no_grad():
        import litert_torch  # type: ignore

        module = prepare(network, preprocessing, channels_last=True)
        example = torch.from_numpy(_last(draw_noise(preprocessing.size, 1)))
        litert_torch.convert(module, (example,)).export(str(path))


def quantize(source: Calibration, quantized: Path) -> None:
    """Write a student in int8."""
    with silence():
        from ai_edge_quantizer import quantizer, recipe  # type: ignore

        signature, name = _signature(_interpreter(source.path))
        images = [{name: _last(image)} for image in source.images()]
        work = quantizer.Quantizer(str(source.path))
        work.load_quantization_recipe(recipe.static_wi8_ai8())
        for name in ("SOFTMAX", "OUTPUT"):
            work.update_quantization_recipe(".*", name, algorithm_key="no_quantize")
        result = work.quantize(work.calibrate({signature: images}))
        result.export_model(str(quantized))


def load(path: Path) -> Predictor:
    """A LiteRT file on one CPU thread."""
    with silence():
        interpreter = _interpreter(path)
        signature, name = _signature(interpreter)
        run = interpreter.get_signature_runner(signature)

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        (probabilities,) = run(**{name: _last(image)}).values()
        return probabilities

    return one_by_one(predict)


def _last(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels [B, 3, S, S] as [B, S, S, 3]."""
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore

    return Interpreter(str(path), num_threads=1)


def _signature(interpreter: Any) -> tuple[str, str]:
    """Name of the only signature, and of its only input."""
    ((signature, parts),) = interpreter.get_signature_list().items()
    (name,) = parts["inputs"]
    return signature, name
