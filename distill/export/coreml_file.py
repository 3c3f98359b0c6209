"""The CoreML package (.mlpackage) of a student; it runs on Apple's systems only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from distill.export.module import INPUT, draw_noise, prepare, silence
from zoo.teachers.card import Preprocessing


def convert(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write an RGB image of S x S pixels to the probability of each class."""
    with silence(), torch.no_grad():
        import coremltools as ct  # type: ignore

        example = torch.from_numpy(draw_noise(preprocessing.size, 1)).float()
        traced = torch.jit.trace(prepare(network, preprocessing), example, check_trace=False)
        image = ct.ImageType(
            name=INPUT, shape=tuple(example.shape), color_layout=ct.colorlayout.RGB
        )
        model: Any = ct.convert(
            traced,
            inputs=[image],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(path))
