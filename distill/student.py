"""The student: a timm network with a target head, and a head per teacher during training."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from zoo.errors import StudentError, first_line
from zoo.system.files import write_atomic
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.config import CONFIG_FILE, read_layout
from zoo.teachers.starts import Start, find_start

ALIASES = {
    "mobilenetv3": "mobilenetv3_large_100",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "mobilenetv3_small": "mobilenetv3_small_100",
    # timm's networks of these very names have no weights, but for the first
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite1": "tf_efficientnet_lite1",
    "efficientnet_lite2": "tf_efficientnet_lite2",
}
WEIGHTS_FILE = "model.safetensors"


class Student(nn.Module):
    """A network phi with the target head h and the source heads h_s side by side.

    Attributes:
        network: the timm network, its classifier the target head.
        sources: a Linear [D, sum of K_s] for each group of teachers, discarded after training.

    Example:
        >>> from distill.student import create_student
        >>> student = create_student("mobilenetv3_small_100", classes=10)
        >>> student.classify(student.embed(torch.zeros(2, 3, 64, 64)))
    """

    def __init__(self, network: nn.Module, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        head: nn.Linear = network.get_classifier()  # pyright: ignore
        self.sources = nn.ModuleList(nn.Linear(head.in_features, sum(group)) for group in groups)

    def embed(self, images: Tensor) -> Tensor:
        """phi(x): images [B, 3, S, S], normalized, to [B, D]."""
        network: Any = self.network
        return network.forward_head(network.forward_features(images), pre_logits=True)

    def classify(self, embeddings: Tensor) -> Tensor:
        """h(phi): embeddings [B, D] to logits [B, C]."""
        network: Any = self.network
        return network.get_classifier()(embeddings)

    def classify_source(self, embeddings: Tensor, group: int) -> Tensor:
        """All h_s(phi) of a group: embeddings [B, D] to logits [B, sum of its K_s]."""
        return self.sources[group](embeddings)


def find_arch(name: str) -> str:
    """Resolve an alias of a student architecture to timm's name.

    Raises:
        StudentError: timm has no such network; the message lists close names.
    """
    arch = ALIASES.get(name, name)
    if timm.is_model(arch):
        return arch
    close = difflib.get_close_matches(name, [*timm.list_models(), *ALIASES], n=3, cutoff=0.5)
    hint = f"Close names: {', '.join(close)}." if close else "timm.list_models() lists all."
    raise StudentError(f"timm has no network called {name!r}. {hint}")


@cache
def check_size(arch: str, image_size: int) -> None:
    """Check by one forward pass, with random weights, that a network accepts this image size.

    Raises:
        StudentError: it does not.
    """
    network: Any = create_student(arch, 2, start="random").network
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        usual = network.pretrained_cfg["input_size"][1]
        raise StudentError(
            f"{arch} does not accept images of {image_size} px "
            f"({first_line(error).rstrip('.')}): try --image-size {usual}."
        ) from error


def student_preprocessing(start: Start, size: int) -> Preprocessing:
    """Preprocessing of a student: mean, deviation and interpolation belong to its start.

    Args:
        start: its initial weights.
        size: S, pixels.
    """
    # all of an image is used: training crops at random
    return replace(start.preprocessing, size=size, crop_pct=1.0, crop_mode="center")


def round_as_saved(network: nn.Module) -> None:
    """Round the weights to float16, as `save_network` does, so that the saved network is tested."""
    network.half().float()


def create_student(
    arch: str,
    classes: int,
    *,
    groups: Sequence[Sequence[int]] = (),
    start: str | Start = "auto",
    model_args: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Student:
    """Build a student with its initial weights.

    Args:
        arch: timm's name of the network.
        classes: C, the classes of the target.
        groups: K_s, the classes of each teacher, in the groups of `group_heads`.
        start: its initial weights, or what finds them: see `zoo.teachers.starts.find_start`. Its
            own classifier is kept if it has C classes.
        model_args: further arguments of timm's factory.
        seed: of the heads and of random weights.

    Raises:
        StudentError: timm cannot build it, or there are no such weights, or they do not fit.
    """
    # timm draws initial weights from the global generator: restore its state afterwards
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = timm.create_model(
                arch, pretrained=False, num_classes=classes, **(model_args or {})
            )
        except (RuntimeError, OSError, TypeError, ValueError) as error:
            raise StudentError(f"timm cannot build {arch!r}: {first_line(error)}.") from error
        classifier: Any = network.get_classifier  # pyright: ignore
        if not isinstance(classifier(), nn.Linear):
            raise StudentError(f"{arch!r} has no linear classifier: choose another --arch.")
        student = Student(network, groups)
    start = find_start(start, arch).fetch() if isinstance(start, str) else start
    if not start.is_random:
        load_state(network, start.state(model_args), start.origin)
    return student


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load a saved student's weights into a network of as many classes.

    Args:
        network: of the student's architecture.
        folder: in timm's Hub layout.

    Raises:
        StudentError: the file is missing, damaged or of another architecture.
    """
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StudentError(
            f"The weights {path} cannot be read ({first_line(error).rstrip('.')}): "
            "choose a folder with intact weights."
        ) from error
    load_state(network, weights, str(path), head=True)


def load_state(
    network: nn.Module, weights: Mapping[str, Tensor], origin: str, *, head: bool = False
) -> None:
    """Load tensors into a network.

    Args:
        network: with any number of classes.
        weights: by timm's names.
        origin: of the weights, for the message.
        head: whether the classifier must fit too; else one of another size is skipped.

    Raises:
        StudentError: they are of another architecture.
    """
    own = network.state_dict()
    skipped = () if head else (f"{network.pretrained_cfg['classifier']}.",)  # pyright: ignore
    fitting = {
        name: value.to(own[name].dtype)
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    names = own.keys() | weights.keys()
    if wrong := sorted(n for n in names if n not in fitting and not n.startswith(skipped)):
        raise StudentError(
            f"The weights ({origin}) do not fit the network: {wrong[0]} and {len(wrong) - 1} more "
            "differ. Choose weights of the same architecture."
        )
    network.load_state_dict(fitting, strict=False)


def save_network(
    network: Any,
    folder: Path,
    *,
    arch: str,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    license: str,
    model_args: Mapping[str, Any] | None = None,
) -> None:
    """Write a network in timm's Hub layout: `config.json` and `model.safetensors` in float16.

    It loads with `timm.create_model("local-dir:FOLDER", pretrained=True)`. `config.json` holds the
    SHA-256 of the weights, which `load_network` checks.
    """
    weights = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    content = save(weights, metadata={"format": "pt"})
    size = preprocessing.size
    config = {
        "architecture": arch,
        "num_classes": len(labels),
        "num_features": network.num_features,
        "label_names": list(labels),
        "model_args": dict(model_args or {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": preprocessing.crop_mode,
            "num_classes": len(labels),
            "first_conv": network.pretrained_cfg["first_conv"],
            "classifier": network.pretrained_cfg["classifier"],
            "license": license,
        },
    }
    write_atomic(folder / WEIGHTS_FILE, content)
    write_atomic(folder / CONFIG_FILE, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def load_network(folder: Path) -> tuple[nn.Module, tuple[str, ...], Preprocessing]:
    """A saved student's network in evaluation mode, its class names and its preprocessing.

    Raises:
        StudentError: the folder is not a student of source-zoo.

    Example:
        >>> network, classes, preprocessing = load_network(Path("student"))
    """
    advice = "Name a folder that `zoo distill` wrote."
    layout = read_layout(folder, error=StudentError, advice=advice)
    if not layout.labels:
        raise StudentError(f"{folder / CONFIG_FILE} is not valid: label_names: missing. {advice}")
    try:
        network = timm.create_model(layout.network, num_classes=layout.classes, **layout.model_args)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise StudentError(
            f"timm cannot make the network of {folder}: {first_line(error)}. {advice}"
        ) from error
    weights = folder / WEIGHTS_FILE
    known = layout.sha256  # older students have none
    if known and weights.is_file() and sha256_of(weights) != known:
        raise StudentError(f"The weights {weights} are damaged: make or copy the student again.")
    load_weights(network, folder)
    return network.eval(), layout.labels, layout.preprocessing
