"""Files for phones: LiteRT (.tflite), ExecuTorch (.pte) and CoreML (.mlpackage).

Each takes one image: LiteRT [1, S, S, 3], as the image libraries of phones return it, and
ExecuTorch, for XNNPACK, [1, 3, S, S]. In int8 both are quantized per channel. CoreML runs on
Apple's systems only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export.module import (
    INPUT,
    Predictor,
    QuantizationInput,
    draw_noise,
    one_by_one,
    prepare,
    silence,
)
from zoo.teachers.card import Preprocessing


def convert_litert(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [1, S, S, 3] uint8 to `probabilities` [1, C]."""
    with silence(), torch.no_grad():
        import litert_torch  # type: ignore

        module = prepare(network, preprocessing, channels_last=True)
        example = torch.from_numpy(_last(draw_noise(preprocessing.size, 1)))
        litert_torch.convert(module, (example,)).export(str(path))


def quantize_litert(source: QuantizationInput, quantized: Path) -> None:
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


def load_litert(path: Path) -> Predictor:
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


def convert_executorch(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [1, 3, S, S] uint8 to `probabilities` [1, C]."""
    example = torch.from_numpy(draw_noise(preprocessing.size, 1))
    with silence(), torch.no_grad():
        _write(prepare(network, preprocessing), example, path)


def quantize_executorch(source: QuantizationInput, quantized: Path) -> None:
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


def load_executorch(path: Path) -> Predictor:
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


def convert_coreml(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
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
