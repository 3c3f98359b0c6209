"""Resize and crop as a part of an ONNX file: it takes images of any size and agrees with Pillow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.export.module import INPUT, silence
from distill.export.onnx_file import OPSET
from zoo.teachers.card import Preprocessing

FITTED = "fitted"


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
    sizes = {0: torch.export.Dim("B"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
    with silence(), torch.no_grad():
        program: Any = torch.onnx.export(
            Resize(preprocessing).eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[FITTED],
            dynamic_shapes=(sizes,),
        )
    first, second = program.model_proto, onnx.load_from_string(content)
    first = compose.add_prefix(first, "resize/", rename_inputs=False, rename_outputs=False)
    second = compose.add_prefix(second, "network/", rename_outputs=False)
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    merged = compose.merge_models(first, second, io_map=[(FITTED, f"network/{INPUT}")])
    del merged.metadata_props[:]
    return merged.SerializeToString()
