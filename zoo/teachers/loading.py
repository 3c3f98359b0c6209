"""Load the network of a teacher from the files beside its card, after checking them.

`create_network` is the one door to timm's networks for what a file describes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import TeacherBroken, first_line
from zoo.system.devices import choose_device, to_device
from zoo.teachers.card import TeacherCard, absence, sha256_of
from zoo.teachers.config import pulled_folders, read_layout
from zoo.teachers.network import check_model_args, check_overlay, network_name

FLOATS = {"F16", "BF16", "F32", "F64", "float16", "bfloat16", "float32", "float64"}
"""Types that weights are saved in, as safetensors and torch call them."""
COUNTER = "num_batches_tracked"
"""The end of the names of tensors that batch normalization counts in."""
INDICES = (COUNTER, "index", "idx", "idxs", "ids", "mask")
"""Ends of the names of tensors that may hold whole numbers."""
SPARE = 1 << 26
"""Values that a network may hold beyond its weights file: masks and resampled positions."""
_ALLOCATIONS = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand,
    torch.randn, torch.zeros,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Teacher:
    """A card with its network, in evaluation mode, on its device.

    Example:
        >>> load_teacher(find_card("food")).network.num_classes
    """

    card: TeacherCard
    network: nn.Module
    device: torch.device


def load_teacher(card: TeacherCard, *, device: torch.device | str = "cpu") -> Teacher:
    """Load the network of a card whose files are on this machine.

    Raises:
        TeacherBroken: files are missing, differ from the card, or do not fit the network.
        ZooError: the device is unknown or absent.

    Example:
        >>> teacher = load_teacher(find_card("food"), device="auto")
    """
    place = choose_device(device)
    return Teacher(card, to_device(build_network(card), place).eval(), place)


def build_network(card: TeacherCard) -> nn.Module:
    """The network of a card whose files are on this machine, in evaluation mode.

    Weights are read from safetensors, or from a pickle of nothing but tensors; no code of the
    source is run.

    Raises:
        TeacherBroken: files are missing, differ from the card, or do not fit the network.
    """
    if card.folder is None:
        raise TeacherBroken(absence(card))
    path = card.folder / card.weights
    again = "install source-zoo, or add the teacher, again"
    if card.repo and card.folder.parent == pulled_folders():
        again = f"`zoo pull {card.name}` downloads it again"
    elif card.repo:
        again = f"remove {card.folder} and add the teacher again"
    try:
        found = sha256_of(path)
    except OSError as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise TeacherBroken(f"{path}: {why}; {again}.") from error
    if found != card.sha256:
        raise TeacherBroken(f"{path} is not the file of its card: {again}.")
    try:
        check_file(path)
        network = _create(card, path)
    except TeacherBroken:
        raise
    except Exception as error:  # timm and torch raise many types for a file that does not fit
        raise TeacherBroken(f"timm cannot load {card.folder}: {first_line(error)}") from error
    classes = getattr(network, "num_classes", None)
    if classes != card.classes:
        raise TeacherBroken(
            f"The network in {card.folder} has {classes} classes, its card {card.classes}."
        )
    return network.eval()


def _create(card: TeacherCard, path: Path) -> nn.Module:
    network: Any
    if card.loader == "package":
        return _create_in_order(card, path)
    # with the head of the file: with another one timm would load a part of the weights
    if card.loader == "hf-hub":
        layout = read_layout(path.parent)
        if layout.network != card.network:
            raise TeacherBroken(
                f"{path.parent}: config.json names the network {layout.network!r}, the card "
                f"{card.network!r}."
            )
        args = {**layout.model_args, **card.model_args}
        network = create_network(card.network, layout.classes, args, weights=path)
    else:
        network = create_network(
            card.network, None, card.model_args, weights=path, overlay=card.overlay
        )
    if network.num_classes != network.pretrained_cfg["num_classes"]:
        raise TeacherBroken(f"{path.parent}: arguments and file differ in the number of classes.")
    if not card.classes:
        # some networks of older timm go back to average pooling by default
        pool = getattr(getattr(network, "global_pool", None), "pool_type", None)
        network.reset_classifier(0, **({"global_pool": pool} if pool else {}))
    return network


def _create_in_order(card: TeacherCard, path: Path) -> nn.Module:
    """A network with the tensors of a file whose names are not timm's, but whose order is."""
    network = create_network(card.network, card.classes, card.model_args, weights=path, load=False)
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    given = [tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)]
    own = {n: tensor for n, tensor in network.state_dict().items() if not n.endswith(COUNTER)}
    if [tensor.shape for tensor in given] != [tensor.shape for tensor in own.values()]:
        raise TeacherBroken(f"The tensors of {path} are not those of the network, in order.")
    network.load_state_dict(dict(zip(own, given, strict=True)), strict=False)
    return network


def check_file(path: Path) -> None:
    """Raise an error for a file of more than tensors, or with weights that are no floats.

    timm before 1.0.26 would run a pickle, and any version rounds whole numbers into weights.
    """
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    else:
        with torch.serialization.safe_globals([argparse.Namespace]):  # as timm saves it
            kinds = _tensor_types(torch.load(path, map_location="cpu", weights_only=True))
    for name, kind in kinds.items():
        if kind not in FLOATS and not name.endswith(INDICES):
            raise TeacherBroken(f"{path}: {name} is of the type {kind}, which no weights have.")


def _tensor_types(content: Any) -> dict[str, str]:
    """Types of the tensors of a pickle by name, also of those in dictionaries inside."""
    found: dict[str, str] = {}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, Tensor):
            found[str(name)] = str(value.dtype).removeprefix("torch.")
        else:
            found |= _tensor_types(value)
    return found


def create_network(
    name: str,
    classes: int | None,
    model_args: Mapping[str, Any],
    *,
    weights: Path | None = None,
    overlay: Mapping[str, Any] = {},
    load: bool = True,
) -> Any:
    """Build a network of timm; the only call of its factory for what a file describes.

    K classes are those of its classifier; 0 for none, None for what timm and the overlay state.
    `model_args` are further arguments of the factory, `overlay` entries of timm's `pretrained_cfg`
    that differ for these weights. It may not hold many more values than the weights, if any; timm
    loads them unless the caller does (`load`).

    Raises:
        ValueError: timm has no such network, an argument is not allowed, or the network is larger
            than its weights.
        Exception: of any kind, from timm.
    """
    network_name(name, "architecture")
    args = check_model_args(dict(model_args), "model_args")
    entries = check_overlay(dict(overlay), "overlay")
    if not timm.is_model(name):  # timm would read other names as addresses
        raise ValueError(f"timm has no network called {name!r}")
    if args.pop("num_classes", classes) != classes:
        raise ValueError("model_args.num_classes: differs from the file's")
    if weights is None:
        return timm.create_model(name, pretrained=False, num_classes=classes, **args)
    # exactly this file, whatever else lies beside it or is named in timm's registry
    file: dict[str, Any] = {"source": "", "url": "", "state_dict": None, "file": str(weights)}
    stated = {} if classes is None else {"num_classes": classes}
    entries = {"custom_load": False, **stated, **entries, **file}
    with _Construction(weights.stat().st_size + SPARE):
        return timm.create_model(
            name, pretrained=load, num_classes=classes, pretrained_cfg_overlay=entries, **args
        )


class _Construction(TorchFunctionMode):
    """Skip the drawing of initial weights, which takes longer than reading the file; count values.

    More than `most` values in all are a ValueError.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or (
            getattr(func, "__module__", "") == "torch.nn.init"
        ):
            return args[0] if args else given["tensor"]
        made = func(*args, **given)
        if func in _ALLOCATIONS:
            self.left -= made.numel()
            if self.left < 0:
                raise ValueError("the network is far larger than its weights file")
        return made
