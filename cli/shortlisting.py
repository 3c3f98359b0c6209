"""Fingerprints and the index over them: make, read, and choose teachers before any is run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.system.files import cache_folder
from zoo.teachers.catalogue import absolute_zoo, list_cards
from zoo.teachers.fingerprint import PROTOTYPES, Fingerprint, fingerprint_path, reference_card

if TYPE_CHECKING:
    from cli.workflow import Bars
    from selection.shortlist import Shortlist
    from zoo.images.folder import Images
    from zoo.teachers.card import TeacherCard


@dataclass(frozen=True, eq=False)
class Indexed:
    """The index of a zoo.

    Attributes:
        shortlist: the fingerprints that can be used.
        teachers: in the zoo, with and without one.
        path: of the index file.
        size: of it, in bytes.
        notes: a line on who is left out, and on a file that could not be kept.
    """

    shortlist: Shortlist
    teachers: int
    path: Path
    size: int
    notes: tuple[str, ...]


def fingerprint(images: Images, bars: Bars, device: Any = "cpu") -> Fingerprint:
    """The fingerprint of a domain, from images of it.

    Raises:
        TeacherBroken: the reference network cannot look at them.
    """
    import numpy as np

    from selection.index import find_centers

    shown = images.sample()
    centers = find_centers(embed(shown, bars, device), PROTOTYPES)
    return Fingerprint(centers.astype(np.float16), reference_card().sha256, len(shown))


def embed(images: Images, bars: Bars, device: Any = "cpu"):
    """What the reference network makes of images, [N, D].

    Raises:
        TeacherBroken: it cannot look at them.
    """
    from cli.workflow import by_teacher
    from zoo.features.extraction import extract_features

    card = reference_card()
    seen = extract_features([card], images, device=device, progress=by_teacher(bars))
    for reason in seen.failures.values():
        raise TeacherBroken(reason)
    return seen.features[card.name].embeddings


def read_index(zoo: str, cards: Sequence[TeacherCard] | None = None) -> Indexed:
    """The index of the zoo's fingerprints: the file of last time, or a new one if they changed.

    Raises:
        TeacherNotFound: no teacher has a fingerprint that can be used.
    """
    from selection.shortlist import Shortlist

    cards = list_cards(zoo) if cards is None else cards
    reference = reference_card().sha256
    paths = {card.name: path for card in cards if (path := fingerprint_path(card))}
    found = hashlib.sha256(reference.encode())
    for name, path in paths.items():
        found.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    key = found.hexdigest()
    place = hashlib.sha256(absolute_zoo(zoo).encode()).hexdigest()[:16]
    file = cache_folder() / "index" / f"{reference[:16]}-{place}.safetensors"
    notes: list[str] = []
    try:
        shortlist = Shortlist.load(file, key)
    except (OSError, ValueError):
        shortlist = _build(zoo, paths, reference, key)
        try:
            shortlist.save(file)
        except OSError as error:
            notes.append(f"The index could not be kept in {file.parent}: {error.strerror}.")
    if shortlist.refused:
        notes.append(
            f"The fingerprints of {', '.join(shortlist.refused)} are damaged or of another version "
            "of source-zoo: they count as having none."
        )
    if lacking := len(cards) - len(shortlist.names):
        notes.append(
            f"{lacking} of {len(cards)} teachers have no fingerprint and are left out of the "
            "shortlist: `zoo add --images` gives a teacher one."
        )
    size = file.stat().st_size if file.is_file() else 0
    return Indexed(shortlist, len(cards), file, size, tuple(notes))


def _build(zoo: str, paths: dict[str, Path], reference: str, key: str) -> Shortlist:
    from selection.shortlist import build_shortlist

    prototypes, refused = {}, []
    for name, path in paths.items():
        try:
            prototypes[name] = Fingerprint.load(path, reference).prototypes
        except TeacherBroken:
            refused.append(name)
    if not prototypes:
        raise TeacherNotFound(
            f"No teacher of --zoo {zoo} has a fingerprint to make a shortlist from: rank without "
            "--shortlist, or give your teachers one with `zoo add --images`."
        )
    return build_shortlist(prototypes, key=key, refused=refused)


def choose_nearest(
    zoo: str, count: int, images: Images, bars: Bars, device: Any = "cpu"
) -> tuple[list[TeacherCard], tuple[str, ...]]:
    """The teachers of a zoo whose fingerprints are nearest to the images; and what to tell.

    Raises:
        TeacherNotFound: no teacher has a fingerprint.
        TeacherBroken: the reference network cannot look at the images.
    """
    from selection.shortlist import Target

    cards = list_cards(zoo)
    indexed = read_index(zoo, cards)
    target = Target.of_images(embed(images, bars, device))
    nearest = {name for name, _ in indexed.shortlist.search(target, count)}
    return [card for card in cards if card.name in nearest], indexed.notes
