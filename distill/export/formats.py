"""FORMATS: the kinds of files a student is exported as, what writes them and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.export import onnx_file, openvino_file
from distill.export import phone_files as phones
from distill.export.module import Predictor, QuantizationInput, draw_noise, prepare, silence
from zoo.errors import StudentError
from zoo.teachers.card import Preprocessing

Convert = Callable[[nn.Module, Preprocessing, Path], None]
"""Writes a network and the preprocessing of its images as a file."""
Quantize = Callable[[QuantizationInput, Path], None]
"""Writes a student as a file in int8."""


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of the file.
        second: suffix of a second file; empty for none.
        described: whether classes and preprocessing are in a JSON file beside it, not inside.
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
    second: str = ""
    described: bool = True

    def files(self, path: Path) -> list[Path]:
        """All files of an export to a path."""
        found = [path, *([path.with_suffix(self.second)] if self.second else [])]
        return [*found, *([path.with_name(f"{path.name}.json")] if self.described else [])]


def convert_torch(network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    """Write `pixels` [B, 3, S, S] uint8 to `probabilities` [B, C], any B, as a program of torch."""
    example = torch.from_numpy(draw_noise(preprocessing.size, 2))
    with silence(), torch.no_grad():
        program = torch.export.export(
            prepare(network, preprocessing),
            (example,),
            dynamic_shapes=({0: torch.export.Dim("B")},),
        )
        torch.export.save(program, path)


def load_torch(path: Path) -> Predictor:
    """A program of torch, on the CPU."""
    with silence():
        run: Any = torch.export.load(path).module()

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return run(torch.from_numpy(pixels)).numpy()

    return predict


FORMATS = {
    "onnx": Format(
        ".onnx", "onnxruntime", "uint8 [B, 3, {size}, {size}]", "export",
        ("onnx", "onnxruntime", "onnxscript"),  # the last for torch's exporter
        onnx_file.write, onnx_file.load, onnx_file.quantize, described=False,
    ),
    "openvino": Format(
        ".xml", "openvino", "uint8 [B, 3, {size}, {size}]", "openvino", ("openvino",),
        openvino_file.convert, openvino_file.load, openvino_file.quantize, ("nncf",), ".bin",
    ),
    "litert": Format(
        ".tflite", "litert", "uint8 [1, {size}, {size}, 3]", "litert",
        ("litert_torch", "ai_edge_litert"),
        phones.convert_litert, phones.load_litert, phones.quantize_litert, ("ai_edge_quantizer",),
    ),
    "executorch": Format(
        ".pte", "executorch", "uint8 [1, 3, {size}, {size}]", "executorch", ("executorch",),
        phones.convert_executorch, phones.load_executorch, phones.quantize_executorch, ("torchao",),
    ),
    "torch": Format(
        ".pt2", "torch.export", "uint8 [B, 3, {size}, {size}]", "", (),
        convert_torch, load_torch,
    ),
    "coreml": Format(
        ".mlpackage", "coreml", "image {size} x {size}", "coreml", ("coremltools",),
        phones.convert_coreml,
    ),
}  # fmt: skip
"""By the name that `zoo export --format` takes."""


def check_format(name: str, *, int8: bool = False) -> Format:
    """The format of a name; a StudentError if a package, or an int8 file of it, is missing."""
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
