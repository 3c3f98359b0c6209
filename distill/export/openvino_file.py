"""OpenVINO's files (.xml and .bin) of a student; int8 by NNCF, per channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import (
    INPUT,
    OUTPUT,
    Predictor,
    QuantizationInput,
    draw_noise,
    prepare,
    silence,
)
from zoo.features.openvino import to_model
from zoo.teachers.card import Preprocessing


def convert(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B, beside its .bin."""
    import openvino as ov  # type: ignore
    from openvino._offline_transformations import apply_moc_transformations  # type: ignore

    example = torch.from_numpy(draw_noise(preprocessing.size, 2))
    with silence(), torch.no_grad():
        model, _decoder = to_model(prepare(network, preprocessing), example)
        # folds batch norms, which int8 needs
        apply_moc_transformations(model, cf=False, smart_reshape=False)
        model.inputs[0].get_tensor().set_names({INPUT})
        model.outputs[0].get_tensor().set_names({OUTPUT})
        ov.save_model(model, path, compress_to_fp16=False)


def quantize(source: QuantizationInput, quantized: Path) -> None:
    """Write a student in int8."""
    with silence():
        import nncf  # type: ignore
        import openvino as ov  # type: ignore

        images = source.images()
        model = nncf.quantize(
            ov.Core().read_model(source.path),
            nncf.Dataset(images),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,  # asymmetric where activations are
        )
        ov.save_model(model, quantized, compress_to_fp16=False)


def load(path: Path) -> Predictor:
    """OpenVINO's files on one CPU thread."""
    import openvino as ov  # type: ignore

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    core = ov.Core()
    # mapped files could not be moved on some systems
    core.set_property({"ENABLE_MMAP": False})
    request = core.compile_model(path, "CPU", settings).create_infer_request()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        request.infer(np.ascontiguousarray(pixels))
        return request.get_output_tensor(0).data.copy()

    return predict
