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

DECODED = 1 << 30
"""Bytes of decoded images that are held at once: more images come in several rounds."""


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
        form = group[0].card.input
        most = max(1, DECODED // (3 * form.size**2))
        for rows in np.split(needed, range(most, len(needed), most)):
            wanted = distinct.subset(rows)
            pixels = decode_images(wanted.paths, form, digests=wanted.digests)
            for look in group:
                if look.card.name in failures:
                    continue
                unseen = ~look.known[rows]
                try:
                    fresh = _run(look, rows[unseen], pixels[unseen], store, device, notes, progress)
                except TeacherBroken as error:
                    failures[look.card.name] = str(error)
                    continue
                look.fresh.extend(fresh)
    looks = [look for look in looks if look.card.name not in failures]
    features = {look.card.name: _merge(look).rows(again) for look in looks}
    passes = sum(int((~look.known).sum()) for look in looks)
    return Observation(features, failures, passes, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, eq=False)
class _Look:
    """What is known of a teacher.

    Attributes:
        card: the teacher.
        key: where its outputs are in the store.
        digests: [N] of the images.
        known: [N], which images the store has outputs for.
        before: the rows of those images.
        fresh: the rows of other images, in their order, as far as they were asked for.
    """

    card: TeacherCard
    key: str
    digests: list[str]
    known: NDArray[np.bool_]
    before: Features | None
    fresh: list[Features] = field(default_factory=list)


def _look(card: TeacherCard, store: FeatureStore, digests: list[str]) -> _Look:
    key = feature_key(card)
    return _Look(card, key, digests, *store.read(key, digests))


def _merge(look: _Look) -> Features:
    """Rows known before and fresh ones, in the order of the images."""
    parts = [look.before, *look.fresh] if look.before else look.fresh
    order = np.argsort(np.concatenate([np.flatnonzero(look.known), np.flatnonzero(~look.known)]))
    return Features(
        np.concatenate([part.embeddings for part in parts])[order],
        np.concatenate([part.logits for part in parts])[order],
    )


def _run(
    look: _Look,
    rows: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    store: FeatureStore,
    device: torch.device | str,
    notes: list[str],
    progress: Callable[[str, int, int], None] | None,
) -> list[Features]:
    """Show a teacher images that it has not seen, those of `rows`; keep every finished part."""
    if not len(rows):
        return []
    from .teacher import embed, load_teacher  # torch and timm, which take seconds

    teacher = load_teacher(look.card, device=device)
    total, parts = int((~look.known).sum()), list[Features]()
    for begin in range(0, len(rows), SHARD):
        before = sum(map(len, [*look.fresh, *parts]))

        def say(done: int, before: int = before) -> None:
            if progress:
                progress(look.card.name, before + done, total)

        parts.append(embed(teacher, pixels[begin : begin + SHARD], progress=say))
        digests = [look.digests[row] for row in rows[begin : begin + SHARD]]
        try:
            store.write(look.key, digests, parts[-1])
        except OSError as error:
            notes.append(
                f"What the teachers said could not be kept in {store.folder} "
                f"({error.strerror or error}): the next run will ask them again. "
                "Free some space or set SOURCE_ZOO_CACHE."
            )
    return parts
