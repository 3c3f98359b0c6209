"""Shortlist: the nearest of very many teachers to a target by their fingerprints, none of them run.

A teacher is close when each part of the target has a prototype of it nearby: `closeness`. That
costs a product with every prototype, so a linear approximation comes first: how well each teacher
covers a thousand anchors, one vector a teacher, in one flat FAISS index, from which its cover of
the target is interpolated (kriging). Only the best by that are measured; a zoo of up to MEASURED
teachers is measured whole. Both kinds of vectors are projected onto their principal directions,
which makes a search fast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selection.index import build_index, find_centers, pack_index, unit_rows, unpack_index
from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.features.extraction import extract_required
from zoo.images.folder import Images
from zoo.system.runtime import Runtime
from zoo.system.tensors import read_tensors, write_tensors
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import absolute_zoo, usable_cards
from zoo.teachers.fingerprint import PROTOTYPES, Fingerprint, fingerprint_path, reference_card

FORMAT = "3"
ARRAYS = ("starts", "axes", "prototypes", "anchors", "mixing")
"""Attributes that are saved as tensors."""
CENTERS = 16
"""Parts that the target is divided into."""
ANCHORS = 1024
SHARPNESS = 4.0
"""How fast the correlation of the similarities to two places falls with their distance."""
NUGGET = 0.01
"""Added to the variance of a similarity to an anchor, so that the interpolation is smooth."""
MEASURED = 3000
"""Teachers measured one by one; recall and time: docs/shortlist.md."""
WIDTH = 64
"""Directions in which prototypes are compared."""
COVERED = 128
"""Directions in which coverages are."""
SAMPLE = 10_000
"""Teachers whose coverages give those directions."""
NEARBY = 4
"""Times the length of a shortlist: the nearest so many, of which half are chosen by size."""
CHUNK = 4096
FULL = 32767
"""Prototypes are fixed-point numbers: numpy makes float32 of them far faster than of float16."""


@dataclass(frozen=True, eq=False)
class Target:
    """The images of a task in a few parts: centers [C, D] of unit length, and the share of each."""

    centers: NDArray[np.float32]
    shares: NDArray[np.float32]

    @classmethod
    def of_images(cls, embeddings: NDArray[np.floating]) -> Target:
        """The parts of images [N, D] in the space of the reference network."""
        unit = unit_rows(embeddings)
        centers = find_centers(unit, CENTERS)
        nearest = (unit @ centers.T).argmax(axis=1)
        counts = np.bincount(nearest, minlength=len(centers))
        return cls(centers, (counts / len(unit)).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The fingerprints of T teachers, ready to be searched.

    Attributes:
        names: [T] of the teachers.
        starts: [T + 1], the first prototype of each teacher, and how many there are.
        axes: [D, W], the widest directions of all prototypes.
        prototypes: [starts[T], W] int16, along the axes, FULL times their values.
        anchors: [A, W], along the axes.
        mixing: [A, V], from the correlations of a place with the anchors to the weights that
            interpolate its coverage, in the widest directions of the coverages.
        coverage: FAISS index, for each teacher the similarity of its nearest prototype to each
            anchor, mixed.
        key: of what it was built from.
        refused: teachers whose fingerprints could not be used.
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    axes: NDArray[np.float32]
    prototypes: NDArray[np.int16]
    anchors: NDArray[np.float32]
    mixing: NDArray[np.float32]
    coverage: Any
    key: str = ""
    refused: tuple[str, ...] = ()

    def search(self, target: Target, count: int) -> list[tuple[str, float]]:
        """The `count` teachers closest to a target and their closeness in -1..1, best first."""
        wanted = min(max(count, MEASURED), len(self.names))
        if wanted < len(self.names):
            likely = self.coverage.search(self.likeliest(target)[None], wanted)[1][0]
        else:
            likely = np.arange(len(self.names))
        close = self.closeness(target, likely)
        order = np.argsort(-close, kind="stable")[:count]
        return [(self.names[likely[row]], float(close[row])) for row in order]

    def likeliest(self, target: Target) -> NDArray[np.float32]:
        """The vector [V] whose product with a teacher's coverage approximates its closeness."""
        places = target.centers @ self.axes
        weights = target.shares @ correlate(places, self.anchors)
        return (weights @ self.mixing).astype(np.float32, copy=False)

    def closeness(self, target: Target, teachers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean over the target's parts of the similarity of a teacher's nearest prototype."""
        counts = self.starts[teachers + 1] - self.starts[teachers]
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        begin: NDArray[np.int64] = np.repeat(self.starts[teachers] - first, counts)
        rows = begin + np.arange(len(begin))
        centers = target.centers @ self.axes
        near = self.prototypes[rows].astype(np.float32) @ (centers.T / np.float32(FULL))
        return np.maximum.reduceat(near, first, axis=0) @ target.shares

    def save(self, path: Path) -> None:
        """Write it as one file, atomically; an OSError if it cannot be."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(self, name) for name in ARRAYS}
        arrays["faiss"] = pack_index(self.coverage)
        names = {"names": json.dumps(self.names), "refused": json.dumps(self.refused)}
        write_tensors(path, arrays, {"format": FORMAT, "key": self.key, **names})

    @classmethod
    def load(cls, path: Path, key: str) -> Shortlist:
        """Read what `save` wrote for the same fingerprints.

        Raises:
            OSError: there is no such file.
            ValueError: it is damaged, or of other fingerprints.
        """
        arrays, metadata = read_tensors(path)
        if (metadata.get("format"), metadata.get("key")) != (FORMAT, key):
            raise ValueError(f"{path} is of other fingerprints")
        return cls(
            **{name: arrays[name] for name in ARRAYS},
            names=tuple(json.loads(metadata["names"])),
            coverage=unpack_index(arrays["faiss"]),
            key=key,
            refused=tuple(json.loads(metadata["refused"])),
        )


def build_shortlist(
    fingerprints: Mapping[str, NDArray[np.float16]],
    *,
    key: str = "",
    refused: Sequence[str] = (),
) -> Shortlist:
    """Index prototypes [k, D] of unit length by teacher; at least one teacher."""
    counts = [len(prototypes) for prototypes in fingerprints.values()]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    whole = np.concatenate(list(fingerprints.values()))
    shown = np.sort(np.random.default_rng(0).permutation(len(whole))[: 40 * ANCHORS])
    some = whole[shown].astype(np.float32)
    axes = _widest(some, WIDTH)
    turned = [prototypes.astype(np.float32) @ axes for prototypes in fingerprints.values()]
    rows = np.rint(np.concatenate(turned).clip(-1, 1) * FULL).astype(np.int16)
    anchors = find_centers(some, ANCHORS) @ axes
    coverage = np.empty((len(counts), len(anchors)), dtype=np.float32)
    for begin in range(0, len(counts), CHUNK):
        end = min(begin + CHUNK, len(counts))
        part = rows[starts[begin] : starts[end]].astype(np.float32)
        near = part @ (anchors.T / np.float32(FULL))
        coverage[begin:end] = np.maximum.reduceat(near, starts[begin:end] - starts[begin], axis=0)
    coverage -= coverage.mean(axis=0)
    widest = _widest(coverage[:: 1 + len(coverage) // SAMPLE], COVERED)
    index = build_index(coverage @ widest)
    mixing = _interpolate(anchors, widest)
    return Shortlist(
        tuple(fingerprints), starts, axes, rows, anchors, mixing, index, key, tuple(refused)
    )


def correlate(places: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlations of the similarities of teachers to places [P, W] and to anchors [A, W]."""
    return np.exp(SHARPNESS * (places @ anchors.T - 1))


def _interpolate(anchors: NDArray[np.float32], widest: NDArray[np.float32]) -> NDArray[np.float32]:
    """`Shortlist.mixing`: simple kriging of a coverage from those of the anchors."""
    covariance = correlate(anchors, anchors).astype(np.float64)
    covariance[np.diag_indices_from(covariance)] += NUGGET
    return np.linalg.solve(covariance, widest.astype(np.float64)).astype(np.float32)


def _widest(rows: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The directions that hold most of rows [N, D]: [D, at most width], orthonormal."""
    vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))[1]
    return vectors[:, ::-1][:, :width].astype(np.float32)


@dataclass(frozen=True, eq=False)
class FingerprintIndex:
    """The index of a zoo, its file, and the cards of its teachers, also without fingerprint.

    Warnings say which are left out, and whether the file, of so many bytes, could not be written.
    """

    shortlist: Shortlist
    cards: Sequence[TeacherCard]
    path: Path
    size: int
    warnings: tuple[str, ...]


def make_fingerprint(images: Images, runtime: Runtime) -> Fingerprint:
    """The fingerprint of a domain, from images of it; TeacherBroken without the reference."""
    sample = images.sample()
    centers = find_centers(embed_by_reference(sample, runtime), PROTOTYPES)
    return Fingerprint(centers.astype(np.float16), reference_card().sha256, len(sample))


def read_index(zoo: str, runtime: Runtime) -> FingerprintIndex:
    """The index of a zoo's fingerprints, rebuilt if they changed; TeacherNotFound without any."""
    cards = usable_cards(zoo)
    reference = reference_card().sha256
    paths = {card.name: path for card in cards if (path := fingerprint_path(card))}
    found = hashlib.sha256(reference.encode())
    for name, path in paths.items():
        found.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    key = found.hexdigest()
    place = hashlib.sha256(absolute_zoo(zoo).encode()).hexdigest()[:16]
    file = runtime.cache / "index" / f"{reference[:16]}-{place}.safetensors"
    warnings: list[str] = []
    try:
        shortlist = Shortlist.load(file, key)
    except (OSError, ValueError):
        shortlist = _build(zoo, paths, reference, key)
        try:
            shortlist.save(file)
        except OSError as error:
            warnings.append(f"The index could not be saved in {file.parent}: {error.strerror}.")
    if shortlist.refused:
        warnings.append(
            f"The fingerprints of {', '.join(shortlist.refused)} are damaged or of another version "
            "of source-zoo: these teachers are left out of the shortlist, `zoo add --images` makes "
            "new ones."
        )
    if lacking := len(cards) - len(shortlist.names) - len(shortlist.refused):
        warnings.append(
            f"{lacking} of {len(cards)} teachers have no fingerprint and are left out of the "
            "shortlist: `zoo add --images` makes one."
        )
    size = file.stat().st_size if file.is_file() else 0
    return FingerprintIndex(shortlist, cards, file, size, tuple(warnings))


def shortlist_teachers(zoo: str, count: int, images: Images, runtime: Runtime) -> list[TeacherCard]:
    """The teachers of a zoo to rank, chosen by their fingerprints and sizes.

    Raises:
        TeacherNotFound: no teacher has a fingerprint.
        TeacherBroken: the reference network cannot be run.
    """
    index = read_index(zoo, runtime)
    for message in index.warnings:
        runtime.warn(message)
    target = Target.of_images(embed_by_reference(images, runtime))
    near = [name for name, _ in index.shortlist.search(target, NEARBY * count)]
    cards = {card.name: card for card in index.cards}
    chosen = choose_nearby(near, {name: cards[name].bytes for name in near}, count)
    return [card for name, card in cards.items() if name in chosen]


def choose_nearby(near: Sequence[str], sizes: Mapping[str, int], count: int) -> set[str]:
    """So many of the teachers, which are given the nearest first, and their sizes.

    Half are the nearest, half the largest of the others: the nearest alone is often a small
    network, the largest alone often of another domain (docs/shortlist.md).
    """
    half = (count + 1) // 2
    largest = sorted(near[half:], key=lambda name: -sizes[name])
    return {*near[:half], *largest[: count - half]}


def largest_teachers(zoo: str, count: int) -> list[TeacherCard]:
    """The most work that a shortlist can cause: the largest teachers and the reference network."""
    largest: Sequence[TeacherCard] = sorted(usable_cards(zoo), key=lambda card: -card.bytes)[:count]
    return list({card.name: card for card in (*largest, reference_card())}.values())


def embed_by_reference(images: Images, runtime: Runtime) -> NDArray[np.float32]:
    """Embeddings of images by the reference network, [N, D]."""
    card = reference_card()
    return extract_required([card], images, runtime)[card.name].embeddings


def _build(zoo: str, paths: dict[str, Path], reference: str, key: str) -> Shortlist:
    width = len(reference_card().golden[0])
    prototypes: dict[str, NDArray[np.float16]] = {}
    refused: list[str] = []
    for name, path in paths.items():
        try:
            prototypes[name] = Fingerprint.load(path, reference, width).prototypes
        except TeacherBroken:
            refused.append(name)
    if not prototypes:
        raise TeacherNotFound(
            f"No teacher of --zoo {zoo} has a fingerprint: rank without --shortlist, or make "
            "fingerprints with `zoo add --images`."
        )
    return build_shortlist(prototypes, key=key, refused=refused)
