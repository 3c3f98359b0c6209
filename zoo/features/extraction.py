"""Extract features: from the store where they are known, from the teachers' networks otherwise.

torch is imported only when a network is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import TeacherBroken
from zoo.features.store import Features, FeatureStore, feature_key
from zoo.images.decoding import DECODED, decode_images
from zoo.images.folder import Images
from zoo.system.distributed import Processes
from zoo.system.runtime import Progress, Runtime
from zoo.teachers.card import TeacherCard, absence

if TYPE_CHECKING:
    import torch

SHARD = 2048
"""Images per shard of the feature store: a killed run loses at most so many."""

TeacherProgress = Callable[[str, int, int], None]
"""Called as `progress(teacher, done, total)`."""


@dataclass(frozen=True, eq=False)
class TeacherOutputs:
    """Outputs of several teachers for the same N images.

    Attributes:
        features: by teacher, rows in the order of the images.
        failures: by teacher, why it could not be used.
        forward_passes: images times teachers that were computed; 0 when all were stored.
        warnings: problems that only cost time, such as a full disk.

    Example:
        >>> outputs = extract_features(list_cards("builtin"), read_images(Path("imgs")))
        >>> outputs.features["food"].embeddings.shape
    """

    features: dict[str, Features] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    forward_passes: int = 0
    warnings: tuple[str, ...] = ()


def extract_features(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    store: FeatureStore | None = None,
    device: torch.device | str = "cpu",
    progress: TeacherProgress | None = None,
    decoding: Progress | None = None,
) -> TeacherOutputs:
    """Embeddings and logits of every teacher for every image, each computed once.

    A teacher that cannot be used becomes an entry of `failures`; the others go on.

    Args:
        cards: the teachers.
        images: N images.
        store: of earlier and new features; the user's cache if not given.
        device: where to compute.
        progress: called for images that are not in the store.
        decoding: called for each image that is decoded.

    Example:
        >>> outputs = extract_features([find_card("food")], read_images(Path("imgs")))
    """
    store = store or FeatureStore()
    distinct, again = images.distinct()
    failures: dict[str, str] = {}
    warnings: list[str] = []
    partials: list[_Partial] = []
    for card in cards:
        if card.sha256 and card.preprocessing:
            key = feature_key(card)
            known, features = store.read(key, distinct.digests)
            partials.append(_Partial(card, key, distinct.digests, known, features))
        else:
            failures[card.name] = absence(card)
    for geometry in dict.fromkeys(partial.card.input.geometry for partial in partials):
        group = [partial for partial in partials if partial.card.input.geometry == geometry]
        needed = np.flatnonzero(~np.all([partial.known for partial in group], axis=0))
        form = group[0].card.input
        # all teachers of the group take one decoded batch, as large as memory allows
        most = max(1, DECODED // (3 * form.size**2))
        for rows in np.split(needed, range(most, len(needed), most)):
            batch = distinct.subset(rows)
            pixels = decode_images(batch.paths, form, digests=batch.digests, progress=decoding)
            for partial in group:
                if partial.card.name in failures:
                    continue
                new = ~partial.known[rows]
                try:
                    _compute(partial, rows, new, pixels, store, device, warnings, progress)
                except TeacherBroken as error:
                    failures[partial.card.name] = str(error)
    partials = [partial for partial in partials if partial.card.name not in failures]
    found: dict[str, Features] = {}
    for name, features in ((partial.card.name, partial.features) for partial in partials):
        if features is not None:
            found[name] = features
            if len(features) < len(again):  # copies of images have a row each
                found[name] = Features.blank(len(again), features, store.folder)
                found[name].put(np.arange(len(again)), features.rows(again))
    passes = sum(partial.computed for partial in partials)
    if passes:
        from zoo.features.inference import release_teacher

        release_teacher()
    return TeacherOutputs(found, failures, passes, tuple(dict.fromkeys(warnings)))


@dataclass(eq=False)
class _Partial:
    """Features of a teacher for N images; the store has the rows of `known` [N]."""

    card: TeacherCard
    key: str
    digests: tuple[str, ...]
    known: NDArray[np.bool_]
    features: Features | None
    computed: int = 0


def _compute(
    partial: _Partial,
    rows: NDArray[np.int64],
    new: NDArray[np.bool_],
    pixels: NDArray[np.uint8],
    store: FeatureStore,
    device: torch.device | str,
    warnings: list[str],
    progress: TeacherProgress | None,
) -> None:
    """Compute and store the features of the `new` ones of the images of `rows`, by shards."""
    if not new.any():
        return
    from zoo.features.inference import embed  # torch and timm take seconds
    from zoo.teachers.loading import load_teacher

    teacher = load_teacher(partial.card, device=device)
    missing = int((~partial.known).sum())

    def report(done: int, _: int) -> None:
        if progress:
            progress(partial.card.name, partial.computed + done, missing)

    places = np.flatnonzero(new)
    for begin in range(0, len(places), SHARD):
        shard = places[begin : begin + SHARD]
        part, shown = rows[shard], pixels[shard]
        # all images, also those in the store: a run that resumes converts the network or not, as
        # one that was not killed
        found = embed(teacher, shown, total=len(partial.digests), progress=report)
        if partial.features is None:
            partial.features = Features.blank(len(partial.digests), found, store.folder)
        partial.features.put(part, found)
        partial.computed += len(part)
        try:
            store.write(partial.key, [partial.digests[row] for row in part], found)
        except OSError as error:
            warnings.append(
                f"Features could not be saved in {store.folder} ({error.strerror or error}): the "
                "next run will compute them again. Free some space or set SOURCE_ZOO_CACHE."
            )


def extract_together(
    cards: Sequence[TeacherCard], images: Images, runtime: Runtime
) -> TeacherOutputs:
    """`extract_features` by all processes of a runtime: each runs a part of the teachers.

    Their caches may be one folder or several, as on several machines. Problems that only cost time
    go to `runtime.warn`.
    """
    bars: dict[str, Progress] = {}

    def progress(what: str, done: int, total: int) -> None:
        if what not in bars:  # made after its first images
            bars[what] = runtime.progress(what)
        bars[what](done, total)

    store, processes = FeatureStore(runtime.cache / "features"), runtime.processes

    def run(some: Sequence[TeacherCard]) -> TeacherOutputs:
        outputs = extract_features(
            some, images, store=store, device=runtime.device,
            progress=lambda name, done, total: progress(f"running {name}", done, total),
            decoding=lambda done, total: progress("decoding images", done, total),
        )  # fmt: skip
        for message in outputs.warnings:
            runtime.warn(message)
        return outputs

    own = run(processes.own(cards))
    if processes.count == 1:
        return own
    passes = processes.add_up(own.forward_passes)  # which waits for the slowest
    _exchange([feature_key(card) for card in cards if card.sha256 and card.preprocessing],
              tuple(dict.fromkeys(images.digests)), store, processes)  # fmt: skip
    outputs = run(cards)  # from the store
    return replace(outputs, forward_passes=passes + outputs.forward_passes)


def extract_required(
    cards: Sequence[TeacherCard], images: Images, runtime: Runtime
) -> dict[str, Features]:
    """The features of `extract_together`; a teacher that cannot be used is TeacherBroken."""
    outputs = extract_together(cards, images, runtime)
    for name, reason in outputs.failures.items():
        raise TeacherBroken(f"The teacher {name!r} cannot be used: {reason}")
    return outputs.features


def _exchange(
    keys: Sequence[str], digests: Sequence[str], store: FeatureStore, processes: Processes
) -> None:
    """Send stored features to the processes whose store lacks them."""
    held = processes.gather({key: store.names_all(key, digests) for key in keys})
    for key in sorted(set().union(*held)):
        having = [rank for rank, names in enumerate(held) if names.get(key)]
        if not having or len(having) == processes.count:
            continue
        own: Features | None = None
        if processes.rank == having[0]:
            known, own = store.read(key, digests)
            own = own if known.all() else None  # a shard may be damaged
        for start in range(0, len(digests), SHARD):
            rows = np.arange(start, min(start + SHARD, len(digests)))
            part = processes.share(lambda own=own, rows=rows: own and own.rows(rows), having[0])
            if part is not None and processes.rank not in having:
                with suppress(OSError):  # a full disk costs time only
                    store.write(key, [digests[row] for row in rows.tolist()], part)
