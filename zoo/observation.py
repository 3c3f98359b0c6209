"""What teachers say of images: known from before, or asked now; torch is only loaded to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .card import TeacherCard, absence
from .decoding import decode_images
from .errors import TeacherBroken
from .features import Features, FeatureStore, feature_key
from .images import Images

if TYPE_CHECKING:
    import torch

SHARD = 2048
"""Images per entry of the feature store: what a killed run loses at most."""


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


def observe(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    store: FeatureStore | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Observation:
    """Embeddings and logits of every teacher for every image, each computed once.

    A teacher that cannot be used becomes an entry of `failures`; the others go on.

    Args:
        cards: the teachers.
        images: N images.
        store: what is already known, and where new outputs go; the user's cache if not given.
        device: where to compute; looked for when there is something to compute.
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
    device: torch.device | str,
    notes: list[str],
    progress: Callable[[str, int, int], None] | None,
) -> Features | None:
    """Show a teacher the images that it has not seen; keep every finished part."""
    if not len(pixels):
        return None
    from .teacher import embed, load_teacher  # torch and timm, which take seconds

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
