"""The ExecuTorch file (.pte) of a student for XNNPACK; int8 per channel by PT2E quantization.

It takes one image [1, 3, S, S].
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
    """Write `pixels` [1, 3, S, S] uint8 to `probabilities` [1, C]."""
    example = torch.from_numpy(draw_noise(preprocessing.size, 1))
    with silence(), torch.no_grad():
        _write(prepare(network, preprocessing), example, path)


def quantize(source: Calibration, quantized: Path) -> None:
    """Write a student in int8."""
    images = [torch.from_numpy(image) for image in source.images()]
    with silence(), torch.no_grad():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # type: ignore
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import (  # type: ignore
            convert_pt2e,
            prepare_pt2e,
        )

        how = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        program = torch.export.export(prepare(source.network, source.preprocessing), (images[0],))
        calibrated = prepare_pt2e(program.module(), how)
        for image in images:
            calibrated(image)
        _write(convert_pt2e(calibrated), images[0], quantized)


def load(path: Path) -> Predictor:
    """An ExecuTorch file on the CPU."""
    with silence():
        from executorch.runtime import Runtime  # type: ignore

        content = path.read_bytes()
        # the method does not keep alive what it runs: the closure does
        program = Runtime.get().load_program(content)
        methods = [(content, program, program.load_method("forward"))]

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        _, _, method = methods[0]
        (probabilities,) = method.execute([torch.from_numpy(image)])
        return probabilities.numpy().copy()

    return one_by_one(predict)


def _write(module: Any, example: torch.Tensor, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # type: ignore
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # type: ignore

    program = torch.export.export(module, (example,))
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(edge.to_executorch().buffer)
