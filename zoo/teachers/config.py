"""timm's Hub layout: what `config.json` beside the weights says of a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import TeacherBroken
from zoo.teachers.card import Preprocessing

CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which timm looks for them."""


@dataclass(frozen=True)
class Layout:
    """What a `config.json` says.

    Attributes:
        network: timm's name of the architecture.
        classes: K, 0 for a network without a classifier.
        labels: names of the classes; empty where it has none.
        preprocessing: how the network wants its images.
        license: of the weights; empty where it says none.
        model_args: further arguments of the network's factory.
    """

    network: str
    classes: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    license: str
    model_args: Mapping[str, Any]


def read_layout(folder: Path) -> Layout:
    """Read the `config.json` of a folder.

    Raises:
        TeacherBroken: there is none, or timm could not build a network from it.
    """
    path = folder / CONFIG_FILE
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "architecture" not in config:
            kind = "a transformers model" if "architectures" in config else "nothing timm knows"
            raise ValueError(f"it names no `architecture`: this is {kind}")
        shape: dict[str, Any] = config["pretrained_cfg"]
        classes = int(config.get("num_classes", shape.get("num_classes", 0)))
        labels = name_labels(config.get("label_names") or shape.get("label_names") or [])
        if labels and classes and len(labels) != classes:
            raise ValueError(f"it has {len(labels)} label_names for {classes} classes")
        return Layout(
            network=str(config["architecture"]),
            classes=classes,
            labels=labels if classes else (),
            preprocessing=Preprocessing.of_timm(shape),
            license=str(shape.get("license") or ""),
            model_args=dict(config.get("model_args") or {}),
        )
    except FileNotFoundError as error:
        raise TeacherBroken(f"{path} is missing: it is not in timm's layout.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise TeacherBroken(f"{path} cannot be used: {why}.") from error


def find_weights(folder: Path) -> str:
    """Name of the weights file that timm would take from a folder.

    Raises:
        TeacherBroken: there is none.
    """
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return name
    raise TeacherBroken(f"{folder} holds no {' or '.join(WEIGHTS_FILES)}.")


def name_labels(names: Sequence[str] | Mapping[str, Any]) -> tuple[str, ...]:
    """Class names in the order of the logits, from any of the three forms in use.

    Args:
        names: a list, or a mapping of number to name, or of name to number.

    Raises:
        ValueError: they are one text, or the numbers are not 0 .. K - 1.
    """
    if isinstance(names, str):
        raise ValueError("its label_names are one text, not a list")
    if not isinstance(names, Mapping):
        return tuple(map(str, names))
    if all(isinstance(number, int) for number in names.values()):
        numbered = {number: name for name, number in names.items()}
    else:
        numbered = {int(number): str(name) for number, name in names.items()}
    if sorted(numbered) != list(range(len(names))):
        raise ValueError("its label_names are not numbered 0, 1, 2, ...")
    return tuple(numbered[number] for number in range(len(names)))
