"""Networks on a CPU by OpenVINO, where it is installed: two to three times as fast as torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

Outputs = tuple[Tensor, Tensor]
"""Embeddings [B, D] and logits [B, K]."""

WORTHWHILE = 256 * 224**2
"""Pixels to run through a network from which on the seconds of converting it pay."""

TOLERANCE, ROUGH_TOLERANCE = 1e-3, 0.1
"""Largest difference from torch's outputs, as a part of the largest output; in bfloat16.

torch's own bfloat16 differs by up to 0.06 (EfficientNet-Lite 0 to 2 on noise); a network that was
converted wrongly, by about 1.
"""


def pays(images: int, size: int, device: torch.device) -> bool:
    """Whether a network had better be converted: for many images on a CPU, and with OpenVINO."""
    many = images * size**2 >= WORTHWHILE
    return many and device.type == "cpu" and find_spec("openvino") is not None


def convert(
    network: nn.Module, example: Tensor, *, bfloat16: bool
) -> Callable[[Tensor], Outputs] | None:
    """A network of two outputs as a function of its inputs [B, 3, S, S], computed by OpenVINO.

    None where OpenVINO cannot convert the network, or its outputs for the example differ from
    torch's. The network is in evaluation mode, from inputs to embeddings and logits.
    """
    try:
        run = _compile(network, example, bfloat16=bfloat16)
        found = run(example)
    except Exception:  # whatever a converter raises for one of the networks of timm
        return None
    with torch.no_grad():
        wanted = network(example)
    allowed = ROUGH_TOLERANCE if bfloat16 else TOLERANCE
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape:
            return None
        if other.numel() and (one - other).abs().max() > allowed * other.abs().max():
            return None
    return run


def to_model(network: nn.Module, example: Tensor) -> tuple[Any, object]:
    """A network as a model of OpenVINO, and what has to live as long as its weights are needed."""
    from openvino.frontend import FrontEndManager  # type: ignore
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # type: ignore

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against tracing
        decoder = TorchScriptPythonDecoder(torch.jit.trace(network, example, check_trace=False))
    # `openvino.convert_model` does the same and would report its use to the makers
    converter = FrontEndManager().load_by_framework("pytorch")
    model = converter.convert(converter.load(decoder))
    model.reshape([-1, *example.shape[1:]])
    return model, decoder


def _compile(network: nn.Module, example: Tensor, *, bfloat16: bool) -> Callable[[Tensor], Outputs]:
    import openvino as ov  # type: ignore

    model, _decoder = to_model(network, example)
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(images: Tensor) -> Outputs:
        request.infer(images.contiguous().numpy())
        embeddings, logits = (
            torch.from_numpy(request.get_output_tensor(i).data.copy()) for i in range(2)
        )
        return embeddings, logits

    return run
