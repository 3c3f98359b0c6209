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
from torch.nn.functional import linear

from distill.network import (
    SEVERAL,
    build_network,
    find_head,
    head_names,
    resample_weights,
    size_arguments,
)
from distill.training.convolutions import replace_forwards
from zoo.errors import StudentError, TeacherBroken, first_line
from zoo.images.folder import Images
from zoo.system.files import write_atomic
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.config import CONFIG_FILE, read_layout
from zoo.teachers.loading import check_file, create_network
from zoo.teachers.starts import ALIASES, Start, default_arch, find_start

LEAST, MOST_ON_CPU = 96, 160
"""Pixels of a chosen image size; a network trained on photographs sees little in fewer."""
FROZEN = 0.5
"""Share of the blocks that keep weights of ImageNet."""
WEIGHTS_FILE = "model.safetensors"
TYPICAL_SIZES = (64, 96, 128, 160, 192, 224, 256, 288, 320, 384)
"""Of images, in pixels: one of these is advised where a network does not accept another."""


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
        size: int = find_head(network).weight.shape[1]
        self.sources = nn.ModuleList(nn.Linear(size, sum(group)) for group in groups)

    def embed(self, images: Tensor) -> Tensor:
        """phi(x): images [B, 3, S, S], normalized, to [B, D]."""
        with replace_forwards({find_head(self.network): lambda _, embeddings: embeddings}):
            return self.network(images)

    def classify(self, embeddings: Tensor) -> Tensor:
        """h(phi): embeddings [B, D] to logits [B, C]."""
        head = find_head(self.network)
        return linear(embeddings, head.weight.flatten(1), head.bias)

    def classify_source(self, embeddings: Tensor, group: int) -> Tensor:
        """All h_s(phi) of a group: embeddings [B, D] to logits [B, sum of its K_s]."""
        return self.sources[group](embeddings)


def find_arch(name: str, start: str = "auto") -> str:
    """Resolve `auto`, an alias, or a name of timm to timm's name of a student.

    The initial weights, `start`, choose the network of `auto`.

    Raises:
        StudentError: timm has no such network or tag; the message lists close names, or all tags.
    """
    arch = default_arch(start) if name == "auto" else ALIASES.get(name, name)
    if timm.is_model(arch):  # which leaves the tag out of account
        try:
            timm.get_pretrained_cfg(arch)
        except RuntimeError as error:
            base = arch.partition(".")[0]
            known = [full.removeprefix(f"{base}.") for full in timm.list_pretrained(f"{base}.*")]
            raise StudentError(
                f"timm has no weights {arch!r}. Tags of {base}: {', '.join(known) or 'none'}."
            ) from error
        return arch
    names = [*timm.list_models(), *ALIASES]
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"Close names: {', '.join(close)}." if close else "timm.list_models() lists all."
    raise StudentError(f"timm has no network called {name!r}. {hint}")


def choose_image_size(images: Images, start: Start, device: torch.device) -> int:
    """Size of a student's images: that of its initial weights, unless the images are smaller.

    The median of the images' shorter sides counts; on a CPU, images are `MOST_ON_CPU` pixels at
    most. In pixels, a multiple of 32, or the native size of the initial weights.
    """
    native = start.preprocessing.size
    largest = native if device.type != "cpu" else min(native, MOST_ON_CPU)
    own = -int(-images.median_side() // 32) * 32
    return min(largest, max(own, LEAST))


def choose_frozen(frozen: float | None, start: Start) -> float:
    """The share of frozen blocks, 0..1: as given, or by the initial weights.

    Half of the blocks keep weights of ImageNet. Embedded ones, which are weaker, gain 1 to 6 points
    where all of them are trained, for two to five times the time.
    """
    if frozen is not None:
        return frozen
    return 0.0 if start.is_embedded else FROZEN


@cache
def check_size(arch: str, image_size: int) -> Mapping[str, Any]:
    """Check with random weights and one image that a network can be a student at this size.

    Arguments of timm's factory for it: `img_size` for transformers of fixed size.

    Raises:
        StudentError: it cannot; the message names a size that fits, if there is one.
    """
    found = _fit_size(arch, image_size)
    if not isinstance(found, Exception):
        return found
    larger = [size for size in TYPICAL_SIZES if size > image_size]
    fitting = (size for size in larger if not isinstance(_fit_size(arch, size), Exception))
    size = next(fitting, None)
    raise StudentError(
        f"{arch} does not accept images of {image_size} px ({first_line(found).rstrip('.')}): "
        f"{f'try --image-size {size}' if size else 'choose another --arch'}."
    ) from found


def _fit_size(arch: str, image_size: int) -> dict[str, Any] | Exception:
    """Arguments with which a network accepts images of this size, or why none does."""
    problem: Exception = TypeError()
    for model_args in size_arguments(arch, image_size):
        try:
            _check_parts(arch, image_size, model_args)
            return model_args
        except StudentError:
            raise
        except Exception as error:  # timm's networks raise many types
            # a factory without `img_size` says nothing about the size
            problem = problem if isinstance(error, TypeError) else error
    return problem


def _check_parts(arch: str, image_size: int, model_args: Mapping[str, Any]) -> None:
    """Run a network as one, then as embedding and head.

    Raises:
        StudentError: these differ.
        Exception: of any kind: the network does not accept the image.
    """
    with torch.random.fork_rng(devices=[]):
        student = Student(build_network(arch, 2, model_args), ()).eval()
    image = torch.rand(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = student.network(image)
        try:
            parts = student.classify(student.embed(image))
            same = torch.allclose(parts, whole, rtol=1e-3, atol=1e-5)
        except (RuntimeError, TypeError, AttributeError):
            same = False
    if not same:
        raise StudentError(f"{arch} {SEVERAL}: choose another --arch.")


def student_preprocessing(start: Start, size: int) -> Preprocessing:
    """Preprocessing of a student at S pixels; mean, deviation and interpolation are its start's.

    The channels are red, green and blue, whatever their order was.
    """
    look = start.preprocessing
    if look.channels == "bgr":
        look = replace(look, mean=look.mean[::-1], std=look.std[::-1], channels="rgb")
    # all of an image is used: training crops at random
    return replace(look, size=size, crop_pct=1.0, crop_mode="center")


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
    image_size: int | None = None,
    seed: int = 0,
) -> Student:
    """Build a student of C classes with its initial weights.

    `groups` are the classes of the teachers, as `group_heads` returns them. `start` are the initial
    weights, or what finds them (`zoo.teachers.starts.find_start`); their own classifier is kept if
    it has C classes. `image_size` in pixels is for networks that are built for a size, `seed` for
    heads and random weights.

    Raises:
        StudentError: timm cannot build it, or there are no such weights, or they do not fit.
    """
    sized = check_size(arch, image_size) if image_size else {}
    # timm draws initial weights from the global generator: restore its state afterwards
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = build_network(arch, classes, {**sized, **(model_args or {})})
        except StudentError:
            raise
        except Exception as error:  # timm's networks raise many types
            raise StudentError(f"timm cannot build {arch!r}: {first_line(error)}.") from error
        student = Student(network, groups)
    start = find_start(start, arch).fetch() if isinstance(start, str) else start
    if not start.is_random:
        load_state(network, start.state(), start.origin)
        if start.preprocessing.channels == "bgr":
            _swap_channels(network)
    return student


@torch.no_grad()
def _swap_channels(network: Any) -> None:
    """Make a network of blue, green and red images one of red, green and blue ones."""
    names: str | Sequence[str] = network.pretrained_cfg["first_conv"]
    for name in [names] if isinstance(names, str) else names:
        weight = network.get_submodule(name).weight
        weight.copy_(weight.flip(1))


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load a saved student's weights; a StudentError if they are damaged or do not fit."""
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
    """Load tensors by timm's names into a network; a message names their origin.

    With `head` the classifier must fit too; else one of another size is skipped.

    Raises:
        StudentError: they are of another architecture.
    """
    own = network.state_dict()
    skipped = () if head else tuple(f"{name}." for name in head_names(network))
    misfits = {n for n, value in weights.items() if n in own and own[n].shape != value.shape}
    if not all(name.startswith(skipped) for name in misfits):
        weights = resample_weights(network, weights)
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
    temperature: float | None = None,
) -> None:
    """Write a network in timm's Hub layout: `config.json` and `model.safetensors` in float16.

    It loads with `timm.create_model("local-dir:FOLDER", pretrained=True)`. `config.json` holds the
    SHA-256 of the weights, which `load_network` checks, and for information the temperature that
    the logits were divided by.
    """
    weights = {
        name: (value.half() if value.is_floating_point() else value.clone()).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    content = save(weights, metadata={"format": "pt"})
    size = preprocessing.size
    config = {
        "architecture": arch,
        "num_classes": len(labels),
        "num_features": network.num_features,
        "label_names": list(labels),
        "model_args": getattr(network, "model_args", {}),
        "sha256": hashlib.sha256(content).hexdigest(),
        **({} if temperature is None else {"temperature": temperature}),
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
    if len({*layout.labels}) < len(layout.labels):
        raise StudentError(
            f"{folder / CONFIG_FILE} is not valid: label_names: a name stands twice."
        )
    weights = folder / WEIGHTS_FILE
    known = layout.sha256  # older students have none
    if known and weights.is_file() and sha256_of(weights) != known:
        raise StudentError(f"The weights {weights} are damaged: make or copy the student again.")
    try:
        check_file(weights)
        network = create_network(
            layout.network, layout.classes, layout.model_args, weights=weights, load=False
        )
    except TeacherBroken as error:
        raise StudentError(str(error)) from error
    except Exception as error:  # timm's networks and safetensors raise many types
        raise StudentError(
            f"timm cannot make the network of {folder}: {first_line(error).rstrip('.')}. {advice}"
        ) from error
    load_weights(network, folder)
    return network.eval(), layout.labels, layout.preprocessing
