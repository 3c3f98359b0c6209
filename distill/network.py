"""Networks of timm as students need them: for images of a size, with one small new head."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.init import normal_, zeros_

from zoo.errors import StudentError
from zoo.teachers.loading import create_network

HEAD_DEVIATION = 0.01
"""Standard deviation of a new head's weights; timm's rule gives 0.18 for ten classes."""

PINNED = {"fbnetc_100": {"bn_eps": 1e-3}}
"""Arguments that timm chooses by whether weights are loaded: the saved student must have them."""
SEVERAL = "does not compute its classes from one embedding"
"""Why a network cannot be a student."""


def size_arguments(arch: str, image_size: int) -> list[dict[str, Any]]:
    """Arguments of timm's factory to try, in this order, for images of a size."""
    native: Any = timm.get_pretrained_cfg(arch)
    sized = {"img_size": image_size}
    if native and native.fixed_input_size and native.input_size[1] != image_size:
        return [sized, {}]
    return [{}, sized]


def build_network(arch: str, classes: int, model_args: Mapping[str, Any]) -> nn.Module:
    """A network of timm with random weights and one head, whose weights are small.

    Where timm averages the logits of two heads, as DeiT's for labels and for a teacher, these
    become one: then the average is the head of the average embedding. `model_args` stay with the
    network, for `save_network`.

    Raises:
        StudentError: it has no linear head.
        Exception: of any kind, from timm.
    """
    args = {**PINNED.get(arch.partition(".")[0], {}), **model_args}
    network = create_network(arch, classes, args)
    network.model_args = args
    head = find_head(network)
    for name in head_names(network)[1:]:
        if network.get_submodule(name).weight.shape != head.weight.shape:
            raise StudentError(f"{arch} {SEVERAL}: choose another --arch.")
        network.set_submodule(name, head)
    normal_(head.weight, std=HEAD_DEVIATION)
    if head.bias is not None:
        zeros_(head.bias)
    return network


def find_head(network: nn.Module) -> Any:
    """The linear layer or 1 x 1 convolution from [B, D] to logits [B, C]; else a StudentError."""
    head = network.get_submodule(head_names(network)[0])
    if not isinstance(head, nn.Linear | nn.Conv2d):
        raise StudentError("The network has no linear classifier: choose another --arch.")
    return head


def check_outputs(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same class probabilities [N, C]; a StudentError if one is not finite."""
    if not np.isfinite(probabilities).all():
        raise StudentError(
            "The student's outputs are not finite: its weights or the mean and std in its "
            "config.json are damaged. Copy or train it again."
        )
    return probabilities


@contextmanager
def single_image_fits() -> Iterator[None]:
    """In here CUDA's error that one image is too many for its memory is a StudentError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise StudentError(
            "Out of GPU memory with 1 image: lower --image-size, or choose a smaller --arch or "
            "--device cpu."
        ) from error


def head_names(network: Any) -> list[str]:
    """Names of the layers that depend on the number of classes; a StudentError if there is none."""
    names = network.pretrained_cfg["classifier"]
    if not names:
        arch = network.pretrained_cfg["architecture"]
        raise StudentError(f"{arch} has no classifier: choose another --arch.")
    return [names] if isinstance(names, str) else list(names)


def resample_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights for another image size, their position embeddings resampled as timm does.

    Those that timm cannot resample are returned as they are.
    """
    module = sys.modules[type(network).__module__]
    resample = getattr(module, "checkpoint_filter_fn", lambda weights, _network: weights)
    try:
        return resample({name: value.float() for name, value in weights.items()}, network)
    except Exception:  # of weights of another network: their names differ, too
        return weights
