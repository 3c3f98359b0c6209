"""FORMATS: the kinds of files a student is exported as, what writes them and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from distill.export import (
    coreml_file,
    executorch_file,
    litert_file,
    onnx_file,
    openvino_file,
    torch_file,
)
from distill.export.module import Calibration, Predictor
from zoo.errors import StudentError
from zoo.teachers.card import Preprocessing

Convert = Callable[[nn.Module, Preprocessing, Path], None]
"""Writes a network and the preprocessing of its images as a file."""
Quantize = Callable[[Calibration, Path], None]
"""Writes a student as a file in int8."""


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of the file.
        runtime: what runs it, in words.
        pixels: type and shape of the input, in words.
        extra: of source-zoo, with its packages; empty if torch is enough.
        packages: what has to be importable.
        convert: writes it in float32.
        load: opens it; None where nothing on this machine can run it.
        quantize: writes it in int8; None where there is no such file.
        quantizer: what else has to be importable for that.
    """

    suffix: str
    runtime: str
    pixels: str
    extra: str
    packages: tuple[str, ...]
    convert: Convert
    load: Callable[[Path], Predictor] | None = None
    quantize: Quantize | None = None
    quantizer: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(
        ".onnx", "onnxruntime", "uint8 [B, 3, {size}, {size}]", "export",
        ("onnx", "onnxruntime", "onnxscript"),  # the last for torch's exporter
        onnx_file.write, onnx_file.load, onnx_file.quantize,
    ),
    "openvino": Format(
        ".xml", "openvino", "uint8 [B, 3, {size}, {size}]", "openvino", ("openvino",),
        openvino_file.convert, openvino_file.load, openvino_file.quantize, ("nncf",),
    ),
    "litert": Format(
        ".tflite", "litert", "uint8 [1, {size}, {size}, 3]", "litert",
        ("litert_torch", "ai_edge_litert"),
        litert_file.convert, litert_file.load, litert_file.quantize, ("ai_edge_quantizer",),
    ),
    "executorch": Format(
        ".pte", "executorch", "uint8 [1, 3, {size}, {size}]", "executorch", ("executorch",),
        executorch_file.convert, executorch_file.load, executorch_file.quantize, ("torchao",),
    ),
    "torch": Format(
        ".pt2", "torch.export", "uint8 [B, 3, {size}, {size}]", "", (),
        torch_file.convert, torch_file.load,
    ),
    "coreml": Format(
        ".mlpackage", "coreml", "image {size} x {size}", "coreml", ("coremltools",),
        coreml_file.convert,
    ),
}  # fmt: skip
"""By the name that `zoo export --format` takes."""


def check_format(name: str, *, int8: bool = False) -> Format:
    """The format of a name, whose packages are installed.

    Raises:
        StudentError: one is not, or there is no int8 file of it.
    """
    kind = FORMATS[name]
    if int8 and kind.quantize is None:
        others = ", ".join(other for other, each in FORMATS.items() if each.quantize)
        raise StudentError(f"There is no int8 file of {name}: choose one of {others}.")
    for package in (*kind.packages, *(kind.quantizer if int8 else ())):
        try:
            found = find_spec(package)
        except (ImportError, ValueError):  # a package that is being imported, or a stub
            found = None
        if found is None:
            raise StudentError(
                f"The export needs {package}: pip install 'source-zoo[{kind.extra}]'."
            )
    return kind
