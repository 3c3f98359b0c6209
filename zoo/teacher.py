"""Load a teacher's network and observe images with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .card import Preprocessing, TeacherCard, sha256_of
from .decoding import decode_images
from .errors import TeacherBroken, first_line
from .features import Features, FeatureStore, feature_key
from .images import Images
from .machine import autocast

BATCH = 32
SHARD = 2048
"""Images per entry of the feature store: what a killed run loses at most."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A card with its network, in evaluation mode, on its device."""

    card: TeacherCard
    network: nn.Module
    device: torch.device


@dataclass(frozen=True, eq=False)
class Observation:
    """What several teachers say of the same N images.

    Attributes:
        features: by teacher, rows in the order of the images.
        failures: by teacher, why it could not be used.
        forward_passes: how many times an image went through a teacher; 0 when all was known.
        notes: mishaps that cost nothing but time, such as a full disk.
    """

    features: dict[str, Features] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    forward_passes: int = 0
    notes: tuple[str, ...] = ()


def load_teacher(card: TeacherCard, *, device: torch.device | None = None) -> Teacher:
    """Load the network of a card whose files are on this machine.

    Raises:
        TeacherBroken: files are missing, differ from the card, or do not fit the network.
    """
    device = device or torch.device("cpu")
    if card.folder is None:
        raise TeacherBroken(f"The files of {card.name!r} are not on this machine.")
    weights = card.folder / "model.safetensors"
    try:
        found = sha256_of(weights)
    except OSError as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        raise TeacherBroken(f"{weights}: {why}; install source-zoo again.") from error
    if found != card.sha256:
        raise TeacherBroken(f"{weights} is not the file of its card: install source-zoo again.")
    try:
        network = timm.create_model(f"local-dir:{card.folder}", pretrained=True)
    except Exception as error:  # timm and torch raise many kinds for a file that does not fit
        raise TeacherBroken(f"timm cannot load {card.folder}: {first_line(error)}") from error
    if getattr(network, "num_classes", None) != len(card.labels):
        raise TeacherBroken(
            f"{card.folder} does not have the {len(card.labels)} classes of its card."
        )
    return Teacher(card, to_device(network, device).eval(), device)


def observe(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    store: FeatureStore | None = None,
    device: torch.device | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Observation:
    """Embeddings and logits of every teacher for every image, each computed once.

    A teacher that cannot be used becomes an entry of `failures`; the others go on.

    Args:
        cards: the teachers.
        images: N images.
        store: what is already known, and where new outputs go; the user's cache if not given.
        device: where to compute.
        progress: called as `progress(teacher, done, total)`, of images that were not known.
    """
    store = store or FeatureStore()
    digests, first, again = np.unique(
        np.array(images.digests), return_index=True, return_inverse=True
    )
    distinct = images.subset(first)
    looks = [_look(card, store, list(digests)) for card in cards]
    features: dict[str, Features] = {}
    failures: dict[str, str] = {}
    notes: list[str] = []
    for geometry in dict.fromkeys(card.preprocessing.geometry for card in cards):
        group = [look for look in looks if look.card.preprocessing.geometry == geometry]
        needed = np.flatnonzero(~np.all([look.known for look in group], axis=0))
        wanted = distinct.subset(needed)
        form = group[0].card.preprocessing
        pixels = decode_images(wanted.paths, form, digests=wanted.digests)
        for look in group:
            missing = np.flatnonzero(~look.known)
            try:
                fresh = _run(look, pixels[np.isin(needed, missing)], store, device, notes, progress)
            except TeacherBroken as error:
                failures[look.card.name] = str(error)
                continue
            features[look.card.name] = _merge(look, fresh).rows(again)
    passes = sum(int((~look.known).sum()) for look in looks if look.card.name not in failures)
    return Observation(features, failures, passes, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, eq=False)
class _Look:
    """What the store knows of a teacher: `known` [N] and the rows of those images."""

    card: TeacherCard
    key: str
    digests: list[str]
    known: NDArray[np.bool_]
    features: Features | None


def _look(card: TeacherCard, store: FeatureStore, digests: list[str]) -> _Look:
    key = feature_key(card)
    return _Look(card, key, digests, *store.read(key, digests))


def _merge(look: _Look, fresh: Features | None) -> Features:
    """Rows known before and fresh ones, in the order of the images."""
    if look.features is None or fresh is None:
        whole = fresh or look.features
        if whole is None:
            raise ValueError("there are no images")
        return whole
    order = np.argsort(np.concatenate([np.flatnonzero(look.known), np.flatnonzero(~look.known)]))
    return Features(
        np.concatenate([look.features.embeddings, fresh.embeddings])[order],
        np.concatenate([look.features.logits, fresh.logits])[order],
    )


def _run(
    look: _Look,
    pixels: NDArray[np.uint8],
    store: FeatureStore,
    device: torch.device | None,
    notes: list[str],
    progress: Callable[[str, int, int], None] | None,
) -> Features | None:
    """Show a teacher the images that it has not seen; keep every finished part."""
    if not len(pixels):
        return None
    teacher = load_teacher(look.card, device=device)
    unseen = [digest for digest, known in zip(look.digests, look.known, strict=True) if not known]
    parts: list[Features] = []
    for begin in range(0, len(pixels), SHARD):
        part = pixels[begin : begin + SHARD]

        def say(done: int, begin: int = begin) -> None:
            if progress:
                progress(look.card.name, begin + done, len(pixels))

        parts.append(embed(teacher, part, progress=say))
        try:
            store.write(look.key, unseen[begin : begin + SHARD], parts[-1])
        except OSError as error:
            notes.append(
                f"What the teachers said could not be kept in {store.folder} "
                f"({error.strerror or error}): the next run will ask them again. "
                "Free some space or set SOURCE_ZOO_CACHE."
            )
    return Features(
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.logits for part in parts]),
    )


@torch.inference_mode()
def embed(
    teacher: Teacher,
    pixels: NDArray[np.uint8],
    *,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Run a teacher over decoded images [N, 3, S, S].

    Raises:
        TeacherBroken: it cannot take such images, or its outputs are not finite numbers.
    """
    network, preprocessing = teacher.network, teacher.card.preprocessing
    seen: list[Tensor] = []
    hook = _classifier(network).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits: list[Tensor] = []
    try:
        for shown in torch.from_numpy(pixels).split(BATCH):
            inputs = to_input(shown, preprocessing, teacher.device)
            with autocast(teacher.device):
                logits.append(network(inputs).float().cpu())
            seen[-1] = seen[-1].float().cpu()
            if progress:
                progress(sum(map(len, logits)))
    except RuntimeError as error:
        raise TeacherBroken(
            f"{teacher.card.name!r} cannot look at the images: {first_line(error)}"
        ) from error
    finally:
        hook.remove()
    features = Features(torch.cat(seen).numpy(), torch.cat(logits).numpy())
    if not (np.isfinite(features.embeddings).all() and np.isfinite(features.logits).all()):
        raise TeacherBroken(f"{teacher.card.name!r} answers with numbers that are not finite.")
    return features


def _classifier(network: Any) -> nn.Module:
    """The layer whose input is the embedding and whose output are the logits."""
    return network.get_classifier()


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on its device, its weights laid out as convolutions like them."""
    moved: Any = network.to(device)
    return moved.to(memory_format=torch.channels_last)


def to_input(pixels: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Decoded images [B, 3, S, S] uint8 as a network on this device takes them."""
    scaled = pixels.to(device, memory_format=torch.channels_last).float().div_(255)
    return normalise(scaled, preprocessing)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images [B, 3, S, S] in 0..1, less the mean, over the standard deviation."""
    mean = images.new_tensor(preprocessing.mean)[:, None, None]
    std = images.new_tensor(preprocessing.std)[:, None, None]
    return (images - mean) / std


def preprocessing_of(config: Mapping[str, Any]) -> Preprocessing:
    """The `pretrained_cfg` of timm as a Preprocessing.

    Raises:
        ValueError, KeyError: it asks for something that is not supported.
    """
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ValueError(f"the input size {config['input_size']} is not 3 x S x S")
    return Preprocessing(
        size=height,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config.get("interpolation", "bilinear"),
        crop_pct=config.get("crop_pct", 1.0),
        crop_mode=config.get("crop_mode", "center"),
    )
