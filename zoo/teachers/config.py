"""timm's Hub layout: the network that `config.json` beside the weights describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import TeacherBroken, ZooError
from zoo.images.labels import same_text
from zoo.system import json_files as js
from zoo.system.files import cache_folder
from zoo.teachers.card import Preprocessing
from zoo.teachers.network import check_model_args, network_name

CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which timm tries them."""


@dataclass(frozen=True)
class Layout:
    """The content of a `config.json`: timm's name of the architecture, and what goes with it.

    There are 0 classes for a network without a classifier; labels, license and the SHA-256 of the
    weights are empty where it states none.
    """

    network: str
    classes: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    license: str
    model_args: Mapping[str, Any]
    sha256: str


def read_layout(
    folder: Path,
    *,
    error: type[ZooError] = TeacherBroken,
    advice: str = "timm's Hub layout is `config.json` and `model.safetensors` in one folder.",
) -> Layout:
    """Read the `config.json` of a folder.

    Raises:
        ZooError: of the kind `error`, ending in `advice`: there is no such file, or timm could
            not build a network from it.
    """
    return js.read_json(folder / CONFIG_FILE, _check_config, error=error, advice=advice)


def find_weights(folder: Path) -> str:
    """Name of the weights file that timm would load from a folder; TeacherBroken if none."""
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return name
    raise TeacherBroken(f"{folder} holds no {' or '.join(WEIGHTS_FILES)}.")


def pulled_folders() -> Path:
    """Where the folders of teachers pulled from the Hub lie."""
    return cache_folder() / "teachers"


def check_inside(folder: Path, name: str) -> None:
    """Make sure that a file of a folder, if it is there, does not lead out of it.

    A snapshot in the Hub's cache may lead to the blobs of its repository, and a teacher that was
    pulled is made of links into that cache. Nothing that a card states is an exception: it may be
    a stranger's.

    Raises:
        TeacherBroken: it is a link to a file elsewhere.
    """
    home = folder.resolve()
    if home.parent == pulled_folders().resolve():
        return
    homes = [home]
    if home.parent.name == "snapshots" and home.parents[1].name.startswith("models--"):
        homes.append(home.parents[1] / "blobs")
    if not any((folder / name).resolve().is_relative_to(place) for place in homes):
        raise TeacherBroken(
            f"{folder / name} is a link out of its folder: put the file itself there."
        )


def _check_config(value: Any, key: str) -> Layout:
    if isinstance(value, dict) and "architecture" not in value:
        kind = "a transformers model" if "architectures" in value else "no model of timm"
        raise ValueError(f"architecture: missing, this is {kind}")
    config = _CONFIG(value, key)
    pretrained = config["pretrained_cfg"]
    labels: tuple[str, ...] = config["label_names"] or pretrained["label_names"]
    classes: int | None = config.get("num_classes", pretrained["num_classes"])
    if classes is None and not labels:
        raise ValueError("num_classes: missing")
    classes = len(labels) if classes is None else classes
    if labels and classes and len(labels) != classes:
        raise ValueError(f"label_names: expected {classes}, one per class, found {len(labels)}")
    return Layout(
        network=config["architecture"],
        classes=classes,
        labels=labels if classes else (),
        preprocessing=Preprocessing.of_timm(pretrained),
        license=pretrained["license"],
        model_args=config["model_args"],
        sha256=config["sha256"],
    )


def label_names(value: Any, key: str) -> tuple[str, ...]:
    """A check of class names in any form in use, as a tuple in the order of the logits.

    They are a list, or a mapping of number to name, or of name to number.
    """
    if not isinstance(value, dict):
        return js.listing(_class_name)(value, key)
    if all(type(place) is int for place in value.values()):
        numbered = {place: _class_name(name, key) for name, place in value.items()}
    else:
        names = js.mapping(_class_name)(value, key)
        numbered = {int(place) if place.isdecimal() else -1: names[place] for place in names}
    if sorted(numbered) != list(range(len(value))):
        raise ValueError(f"{key}: the classes are not numbered 0, 1, 2, ...")
    return tuple(numbered[place] for place in range(len(value)))


def _class_name(value: Any, key: str) -> str:
    return str(value) if type(value) in (int, float) else same_text(js.text()(value, key))


_PRETRAINED = js.record(
    {
        "input_size": js.listing(js.integer(), most=3),
        "mean": js.listing(js.number(), most=3),
        "std": js.listing(js.number(), most=3),
        "interpolation": js.optional(js.text(), js.OMIT, null=False),
        "crop_pct": js.optional(js.number(), js.OMIT, null=False),
        "crop_mode": js.optional(js.text(), js.OMIT, null=False),
        "num_classes": js.optional(js.integer()),
        "label_names": js.optional(label_names, ()),
        "license": js.optional(js.text(), ""),
    }
)
_CONFIG = js.record(
    {
        "architecture": network_name,
        "pretrained_cfg": _PRETRAINED,
        "num_classes": js.optional(js.integer(), js.OMIT, null=False),
        "label_names": js.optional(label_names, ()),
        "model_args": js.optional(check_model_args, {}),
        "sha256": js.optional(js.text(), ""),
    }
)
