"""Build a teacher's network from the files beside its card, and never load one silently wrong."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from .card import TeacherCard, sha256_of
from .errors import TeacherBroken, first_line


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
        network = _create(card)
    except Exception as error:  # timm and torch raise many kinds for a file that does not fit
        raise TeacherBroken(f"timm cannot load {card.folder}: {first_line(error)}") from error
    found_classes = getattr(network, "num_classes", None)
    if found_classes != card.classes:
        raise TeacherBroken(
            f"{card.folder} has a network of {found_classes} classes, its card says {card.classes}."
        )
    return network.eval()


def _create(card: TeacherCard) -> nn.Module:
    # built with the head that the file has, or timm would load whatever fits and skip the rest
    if card.loader == "hf-hub":
        network: Any = timm.create_model(
            f"local-dir:{card.folder}", pretrained=True, **card.model_args
        )
    else:
        file = {"file": str(card.folder and card.folder / card.weights)}
        network = timm.create_model(
            card.network,
            pretrained=True,
            pretrained_cfg_overlay=file | dict(card.overlay),
            **card.model_args,
        )
    if not card.classes:
        network.reset_classifier(0)
    return network


def absence(card: TeacherCard) -> str:
    """Why a teacher whose files are elsewhere cannot be used, in a line."""
    return f"The files of {card.name!r} are not on this machine: `zoo pull {card.name}`."


def _again(card: TeacherCard) -> str:
    """How files come anew."""
    if card.repo:
        return f"`zoo pull {card.name}` fetches it again"
    return "install source-zoo, or add the teacher, again"
