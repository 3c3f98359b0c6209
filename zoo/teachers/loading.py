"""Build a teacher's network from the files beside its card, and never load one silently wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import TeacherBroken, first_line
from zoo.teachers.card import TeacherCard, absence, sha256_of
from zoo.teachers.config import read_layout

NOT_OF_A_NETWORK = {"checkpoint_path", "features_only", "pretrained_strict", "pretrained_filter_fn"}
"""Arguments of timm's factory that would load other weights, or not all of them."""


def build_network(card: TeacherCard) -> nn.Module:
    """The network of a card whose files are on this machine, in evaluation mode.

    Weights come from safetensors, or from a pickle that holds nothing but tensors; code of the
    source is never run.

    Raises:
        TeacherBroken: files are missing, differ from the card, or do not fit the network.
    """
    if card.folder is None:
        raise TeacherBroken(absence(card))
    path = card.folder / card.weights
    try:
        found = sha256_of(path)
    except OSError as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        raise TeacherBroken(f"{path}: {why}; {_again(card)}.") from error
    if found != card.sha256:
        raise TeacherBroken(f"{path} is not the file of its card: {_again(card)}.")
    try:
        _refuse_code(path)
        network = _create(card, path)
    except TeacherBroken:
        raise
    except Exception as error:  # timm and torch raise many kinds for a file that does not fit
        raise TeacherBroken(f"timm cannot load {card.folder}: {first_line(error)}") from error
    found_classes = getattr(network, "num_classes", None)
    if found_classes != card.classes:
        raise TeacherBroken(
            f"{card.folder} has a network of {found_classes} classes, its card says {card.classes}."
        )
    return network.eval()


def _create(card: TeacherCard, path: Path) -> nn.Module:
    name, args = card.network, dict(card.model_args)
    if card.loader == "hf-hub":
        name = f"local-dir:{path.parent}"
        layout = read_layout(path.parent)
        args |= layout.model_args
        if layout.network != card.network:
            raise TeacherBroken(
                f"{path.parent}: config.json names the network {layout.network!r}, the card "
                f"{card.network!r}."
            )
    if loose := sorted(args.keys() & NOT_OF_A_NETWORK):
        raise TeacherBroken(f"{path.parent}: {loose[0]!r} is no argument of a network.")
    # the very file that was hashed, whatever else lies beside it or is named in the card
    file = {"source": "", "url": "", "state_dict": None, "file": str(path)}
    # built with the head that the file has, or timm would load whatever fits and skip the rest
    with _Unset():
        network: Any = timm.create_model(
            name,
            pretrained=True,
            pretrained_cfg_overlay={"custom_load": False, **card.overlay, **file},
            **card.model_args,
        )
    if network.num_classes != network.pretrained_cfg["num_classes"]:
        raise TeacherBroken(f"{path.parent}: arguments and file name different classes.")
    if not card.classes:
        # some networks of older timm go back to average pooling unless told
        pool = getattr(getattr(network, "global_pool", None), "pool_type", None)
        network.reset_classifier(0, **({"global_pool": pool} if pool else {}))
    return network


class _Unset(TorchFunctionMode):
    """Draw no initial weights: those of the file replace them all, and drawing takes longer."""

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
        return func(*args, **given)


def _refuse_code(path: Path) -> None:
    """Raise an error for a pickle of more than tensors: timm before 1.0.26 would run it."""
    if path.suffix != ".safetensors":
        with torch.serialization.safe_globals([argparse.Namespace]):  # as timm saves it
            torch.load(path, map_location="cpu", weights_only=True)


def _again(card: TeacherCard) -> str:
    """How files come anew."""
    if card.repo:
        return f"`zoo pull {card.name}` fetches it again"
    return "install source-zoo, or add the teacher, again"
