"""The file of `torch.export` (.pt2): a program that torch runs without the code of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import Predictor, draw_noise, prepare, silence
from zoo.teachers.card import Preprocessing


def convert(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B, as a program of torch."""
    example = torch.from_numpy(draw_noise(preprocessing.size, 2))
    with silence(), torch.no_grad():
        program = torch.export.export(
            prepare(network, preprocessing),
            (example,),
            dynamic_shapes=({0: torch.export.Dim("B")},),
        )
        torch.export.save(program, path)


def load(path: Path) -> Predictor:
    """A program of torch, on the CPU."""
    with silence():
        run: Any = torch.export.load(path).module()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return run(torch.from_numpy(pixels)).numpy()

    return predict
