"""Load a teacher's network and observe images with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .card import Preprocessing, TeacherCard
from .decoding import decode_images
from .errors import TeacherBroken, first_line
from .features import Features, FeatureStore, feature_key
from .halving import in_batches
from .images import Images
from .machine import autocast
from .network import absence, build_network

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
    return Teacher(card, to_device(build_network(card), device).eval(), device)


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
    features: dict[str, Features] = {}
    failures: dict[str, str] = {}
    notes: list[str] = []
    looks: list[_Look] = []
    for card in cards:
        if card.sha256 and card.preprocessing:
            looks.append(_look(card, store, list(digests)))
        else:
            failures[card.name] = absence(card)
    for geometry in dict.fromkeys(look.card.input.geometry for look in looks):
        group = [look for look in looks if look.card.input.geometry == geometry]
        needed = np.flatnonzero(~np.all([look.known for look in group], axis=0))
        wanted = distinct.subset(needed)
        form = group[0].card.input
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
    mixed: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Run a teacher over decoded images [N, 3, S, S], in bfloat16 where that is faster.

    Args:
        teacher: the teacher.
        pixels: the images as its preprocessing wants them, but for mean and deviation.
        mixed: False keeps to float32.
        progress: called with the number of images that are through.

    Raises:
        TeacherBroken: it cannot take such images, or its outputs are not finite numbers.
    """
    network, preprocessing = teacher.network, teacher.card.input
    classifier = _classifier(network) if teacher.card.classes else None
    seen: list[Tensor] = []
    hook = classifier and classifier.register_forward_pre_hook(lambda _, at: seen.append(at[0]))

    def look(shown: Tensor) -> tuple[Tensor, Tensor]:
        seen.clear()
        inputs = to_input(shown, preprocessing, teacher.device)
        with autocast(teacher.device) if mixed else nullcontext():
            answer = network(inputs).float().cpu()
        if hook is None:  # the network ends in its embedding
            return answer, answer[:, :0]
        return seen[0].float().cpu(), answer

    embeddings: list[Tensor] = []
    logits: list[Tensor] = []
    try:
        for embedding, answer in in_batches(look, torch.from_numpy(pixels), BATCH):
            embeddings.append(embedding)
            logits.append(answer)
            if progress:
                progress(sum(map(len, logits)))
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise TeacherBroken(
            f"{teacher.card.name!r} cannot look at the images: {first_line(error)}"
        ) from error
    finally:
        if hook:
            hook.remove()
    if any(part.ndim != 2 for part in (*embeddings, *logits)):
        raise TeacherBroken(f"{teacher.card.name!r} does not answer with one vector an image.")
    features = Features(torch.cat(embeddings).numpy(), torch.cat(logits).numpy())
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
    moved = pixels.to(device, memory_format=torch.channels_last)
    ordered = moved.flip(1) if preprocessing.channels == "bgr" else moved
    return normalise(ordered.float().div_(255), preprocessing)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images [B, 3, S, S] in 0..1, less the mean, over the standard deviation."""
    mean = images.new_tensor(preprocessing.mean)[:, None, None]
    std = images.new_tensor(preprocessing.std)[:, None, None]
    return (images - mean) / std
