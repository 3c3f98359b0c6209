"""The network as every format holds it: uint8 pixels in, probabilities out; what files state."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.student import WEIGHTS_FILE
from zoo import __version__
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.config import read_layout

INPUT, OUTPUT = "pixels", "probabilities"
CALIBRATION = 128
"""Maximum number of images for the calibration of int8."""
EXTREME = 8.0
"""An image is left out of it where an activation is so many times that of the median image."""

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A network in a runtime: pixels [B, 3, S, S] to class probabilities [B, C]."""


class ExportModule(nn.Module):
    """A network with normalization before and softmax after it.

    With `channels_last` it takes pixels [B, S, S, 3], as a decoder returns them.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, *, channels_last: bool = False
    ) -> None:
        super().__init__()
        mean, std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.scale: Tensor
        self.shift: Tensor
        self.network = network
        self.channels_last = channels_last
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB pixels [B, 3, S, S] in 0..255 to probabilities [B, C]."""
        planes = pixels.permute(0, 3, 1, 2) if self.channels_last else pixels
        return self.network(planes.float() * self.scale + self.shift).softmax(dim=1)


def prepare(
    network: nn.Module, preprocessing: Preprocessing, *, channels_last: bool = False
) -> ExportModule:
    """A copy of a network as it is exported, its weights in the usual layout of memory."""
    own = deepcopy(network).to(memory_format=torch.contiguous_format)  # pyright: ignore
    return ExportModule(own, preprocessing, channels_last=channels_last).eval()


def describe(
    student: Path,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    *,
    precision: str,
    pixels: str,
    resized: bool = False,
) -> dict[str, Any]:
    """What a file states about itself: classes, preprocessing, license, origin.

    `precision` is float32 or int8, `pixels` type and shape of the input; a file that is `resized`
    resizes and crops the image itself.
    """
    layout = read_layout(student)
    geometry = "resized and cropped inside" if resized else "resized and cropped"
    return {
        "classes": list(labels),
        "input": f"{INPUT}: {pixels} of 0..255, RGB; {geometry}, not normalized: mean and std are "
        "applied inside",
        "output": f"{OUTPUT}: float32 [B, {len(labels)}]; softmax is applied inside",
        "image_size": preprocessing.size,
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "orientation": "turned as EXIF says, before anything else",
        "alpha": "transparent pixels are laid on white",
        "bit_depth": "gray of 16 bits: value * 255 / 65535, rounded down",
        "temperature": 1.0,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "precision": precision,
        "architecture": layout.network,
        "license": layout.license,
        "weights_sha256": sha256_of(student / WEIGHTS_FILE),
        "source_zoo": __version__,
    }


@dataclass(frozen=True, eq=False)
class QuantizationInput:
    """A student, its file in float32, and images [N, 3, S, S]: what a file in int8 is made from.

    All formats quantize statically: weights per channel, activations per tensor, softmax in float.
    """

    path: Path
    network: nn.Module
    preprocessing: Preprocessing
    pixels: NDArray[np.uint8]

    def images(self) -> list[NDArray[np.uint8]]:
        """At most CALIBRATION of the images, evenly spread, [1, 3, S, S] each.

        Activations of a network can be hundreds of times larger for a few images, of sunsets for
        example. One of them would leave no steps of an 8-bit range to all others.
        """
        rows = np.linspace(0, len(self.pixels) - 1, CALIBRATION).round().astype(np.int64)
        images = [self.pixels[[row]] for row in np.unique(rows)]
        peaks = measure_peaks(prepare(self.network, self.preprocessing), images)
        usual = np.all(peaks <= EXTREME * np.median(peaks, axis=0).clip(1e-3), axis=1)
        return [images[place] for place in np.flatnonzero(usual)]


def measure_peaks(network: nn.Module, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Largest absolute output of each module without parts, for each of N images, [N, modules]."""
    found: list[list[float]] = []

    def keep(_module: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            found[-1].append(float(output.abs().max()))

    leaves = [module for module in network.modules() if not [*module.children()]]
    hooks = [leaf.register_forward_hook(keep) for leaf in leaves]
    try:
        with torch.inference_mode():
            for image in images:
                found.append([])
                network(torch.from_numpy(image))
    finally:
        for hook in hooks:
            hook.remove()
    return np.array(found)


def one_by_one(run: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Predictor:
    """A predictor of any batch from one of a single image."""
    return lambda pixels: np.concatenate([run(image[None]) for image in pixels])


def draw_noise(size: int, count: int = 8) -> NDArray[np.uint8]:
    """Fixed random images [count, 3, size, size], from uniform gray to full noise."""
    draw = np.random.default_rng(0)
    spread = np.linspace(0, 1, count)[:, None, None, None]
    noise = draw.integers(-128, 128, (count, 3, size, size))
    return (128 + spread * noise).astype(np.uint8)


@contextmanager
def silence() -> Iterator[None]:
    """Suppress the exporters' warnings, logs and bars, which the user cannot act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            _silent_descriptors(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _silent_descriptors() -> Iterator[None]:
    """Send what compiled libraries write to stdout and stderr nowhere."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
