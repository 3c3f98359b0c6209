"""Fingerprints of domains and the index over them: a shortlist of teachers before any is run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selection.index import find_centers
from selection.shortlist import Shortlist, Target, build_shortlist
from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.features.extraction import extract_together
from zoo.images.folder import Images
from zoo.system.runtime import Runtime
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import absolute_zoo, usable_cards
from zoo.teachers.fingerprint import PROTOTYPES, Fingerprint, fingerprint_path, reference_card


@dataclass(frozen=True, eq=False)
class FingerprintIndex:
    """The index of a zoo.

    Attributes:
        shortlist: the usable fingerprints.
        teachers: number of teachers in the zoo, with and without a fingerprint.
        path: of the index file.
        size: of it, in bytes.
        warnings: which teachers are left out, and whether the file could not be written.
    """

    shortlist: Shortlist
    teachers: int
    path: Path
    size: int
    warnings: tuple[str, ...]


def make_fingerprint(images: Images, runtime: Runtime) -> Fingerprint:
    """The fingerprint of a domain, from images of it.

    Raises:
        TeacherBroken: the reference network cannot be run.
    """
    sample = images.sample()
    centers = find_centers(embed_by_reference(sample, runtime), PROTOTYPES)
    return Fingerprint(centers.astype(np.float16), reference_card().sha256, len(sample))


def read_index(zoo: str, runtime: Runtime) -> FingerprintIndex:
    """The index of a zoo's fingerprints, rebuilt if they changed.

    Raises:
        TeacherNotFound: no teacher has a usable fingerprint.
    """
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
            "of source-zoo and are ignored."
        )
    if lacking := len(cards) - len(shortlist.names):
        warnings.append(
            f"{lacking} of {len(cards)} teachers have no fingerprint and are left out of the "
            "shortlist: `zoo add --images` makes one."
        )
    size = file.stat().st_size if file.is_file() else 0
    return FingerprintIndex(shortlist, len(cards), file, size, tuple(warnings))


def shortlist_teachers(zoo: str, count: int, images: Images, runtime: Runtime) -> list[TeacherCard]:
    """The teachers of a zoo whose fingerprints are closest to the images.

    Raises:
        TeacherNotFound: no teacher has a fingerprint.
        TeacherBroken: the reference network cannot be run.
    """
    index = read_index(zoo, runtime)
    for message in index.warnings:
        runtime.warn(message)
    target = Target.of_images(embed_by_reference(images, runtime))
    nearest = {name for name, _ in index.shortlist.search(target, count)}
    return [card for card in usable_cards(zoo) if card.name in nearest]


def largest_teachers(zoo: str, count: int) -> list[TeacherCard]:
    """The most work that a shortlist can cause: the largest teachers and the reference network."""
    largest: Sequence[TeacherCard] = sorted(usable_cards(zoo), key=lambda card: -card.bytes)[:count]
    return list({card.name: card for card in (*largest, reference_card())}.values())


def embed_by_reference(images: Images, runtime: Runtime) -> NDArray[np.float32]:
    """Embeddings of images by the reference network, [N, D]."""
    card = reference_card()
    outputs = extract_together([card], images, runtime)
    for reason in outputs.failures.values():
        raise TeacherBroken(reason)
    for message in outputs.warnings:
        runtime.warn(message)
    return outputs.features[card.name].embeddings


def _build(zoo: str, paths: dict[str, Path], reference: str, key: str) -> Shortlist:
    prototypes: dict[str, NDArray[np.float16]] = {}
    refused: list[str] = []
    for name, path in paths.items():
        try:
            prototypes[name] = Fingerprint.load(path, reference).prototypes
        except TeacherBroken:
            refused.append(name)
    if not prototypes:
        raise TeacherNotFound(
            f"No teacher of --zoo {zoo} has a fingerprint: rank without --shortlist, or make "
            "fingerprints with `zoo add --images`."
        )
    return build_shortlist(prototypes, key=key, refused=refused)
