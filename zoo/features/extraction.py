"""What teachers say of images: known from before, or asked now; torch is only loaded to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import TeacherBroken
from zoo.features.store import Features, FeatureStore, feature_key
from zoo.images.decoding import DECODED, decode_images
from zoo.images.folder import Images
from zoo.system.runtime import Progress, ProgressBars, Runtime
from zoo.teachers.card import TeacherCard, absence

if TYPE_CHECKING:
    import torch

SHARD = 2048
"""Images per entry of the feature store: what a killed run loses at most."""


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
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


def extract_features(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    store: FeatureStore | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> TeacherOutputs:
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
    distinct, again = images.distinct()
    failures: dict[str, str] = {}
    notes: list[str] = []
    looks: list[_Look] = []
    for card in cards:
        if card.sha256 and card.preprocessing:
            looks.append(_look(card, store, distinct.digests))
        else:
            failures[card.name] = absence(card)
    # teachers look in rounds of as many images as memory holds
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
                    _run(look, rows[unseen], pixels[unseen], store, device, notes, progress)
                except TeacherBroken as error:
                    failures[look.card.name] = str(error)
    looks = [look for look in looks if look.card.name not in failures]
    features = {
        look.card.name: _spread(look.features, again, store) for look in looks if look.features
    }
    passes = sum(look.asked for look in looks)
    return TeacherOutputs(features, failures, passes, tuple(dict.fromkeys(notes)))


@dataclass(eq=False)
class _Look:
    """What is known of a teacher.

    Attributes:
        card: the teacher.
        key: where its outputs are in the store.
        digests: [N] of the images.
        known: [N], which images the store has outputs for.
        features: rows for all images; None as long as nothing is known.
        asked: how many images went through it.
    """

    card: TeacherCard
    key: str
    digests: tuple[str, ...]
    known: NDArray[np.bool_]
    features: Features | None
    asked: int = 0


def _look(card: TeacherCard, store: FeatureStore, digests: tuple[str, ...]) -> _Look:
    key = feature_key(card)
    return _Look(card, key, digests, *store.read(key, digests))


def _spread(features: Features, again: NDArray[np.int64], store: FeatureStore) -> Features:
    """Rows of different images as rows of all images."""
    if len(features) == len(again):
        return features
    spread = Features.blank(len(again), features, store.folder)
    spread.put(np.arange(len(again)), features.rows(again))
    return spread


def _run(
    look: _Look,
    rows: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    store: FeatureStore,
    device: torch.device | str,
    notes: list[str],
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Show a teacher images that it has not seen, those of `rows`; keep every finished part."""
    if not len(rows):
        return
    from zoo.features.inference import embed, load_teacher  # torch and timm, which take seconds

    teacher = load_teacher(look.card, device=device)
    total = int((~look.known).sum())

    def say(done: int) -> None:
        if progress:
            progress(look.card.name, look.asked + done, total)

    for begin in range(0, len(rows), SHARD):
        part = rows[begin : begin + SHARD]
        fresh = embed(teacher, pixels[begin : begin + SHARD], progress=say)
        look.features = look.features or Features.blank(len(look.digests), fresh, store.folder)
        look.features.put(part, fresh)
        look.asked += len(part)
        try:
            store.write(look.key, [look.digests[row] for row in part], fresh)
        except OSError as error:
            notes.append(
                f"What the teachers said could not be kept in {store.folder} "
                f"({error.strerror or error}): the next run will ask them again. "
                "Free some space or set SOURCE_ZOO_CACHE."
            )


def extract_together(
    cards: Sequence[TeacherCard], images: Images, runtime: Runtime
) -> TeacherOutputs:
    """`extract_features` by all processes of a runtime: each runs a part of the teachers."""

    def run(some: Sequence[TeacherCard]) -> TeacherOutputs:
        store = FeatureStore(runtime.cache / "features")
        bars = teacher_progress(runtime.progress)
        return extract_features(some, images, store=store, device=runtime.device, progress=bars)

    processes = runtime.processes
    own = run(processes.own(cards))
    if processes.count == 1:
        return own
    passes = processes.add_up(own.forward_passes)  # which waits for the slowest
    outputs = run(cards)  # from the store
    return replace(outputs, forward_passes=passes + outputs.forward_passes)


def teacher_progress(bars: ProgressBars) -> Callable[[str, int, int], None]:
    """A progress bar per teacher, made after its first images."""
    made: dict[str, Progress] = {}

    def progress(teacher: str, done: int, total: int) -> None:
        if teacher not in made:
            made[teacher] = bars(f"running {teacher}")
        made[teacher](done, total)

    return progress
