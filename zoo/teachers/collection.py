"""A user's own zoo: add a teacher to it, pack teachers for another machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zoo.errors import TeacherBroken
from zoo.images.folder import TRAINED_ON
from zoo.system.files import atomic_new_folder
from zoo.system.json_files import integer, number, read_json, record
from zoo.teachers.card import CARD_FILE, LONGEST_NAME, TeacherCard, absence, sha256_of
from zoo.teachers.catalogue import WORDS
from zoo.teachers.config import CONFIG_FILE, check_inside, find_weights, read_layout
from zoo.teachers.fingerprint import fingerprint_path


def check_words(name: str, domain: str) -> None:
    """Raise TeacherBroken for a name or domain that is no printable text, or no folder's name."""
    if not re.fullmatch(r"[^\W_][^/\\,=:]*", name) or name != name.strip():
        raise TeacherBroken(
            f"A teacher cannot be called {name!r}: begin with a letter or digit, without any of "
            "/ \\ , = : in it."
        )
    if len(name) > LONGEST_NAME:
        raise TeacherBroken(f"A teacher's name has {LONGEST_NAME} letters at most.")
    for text in (name, domain):
        if not (text.strip() and text.isprintable()):
            raise TeacherBroken(f"Names and domains are printable text, not {text!r}.")


def check_zoo(zoo: Path) -> None:
    """Raise TeacherBroken for a folder that `--zoo` could not name, or that is itself a teacher."""
    if str(zoo) in WORDS or re.search("[,=]", str(zoo)):
        raise TeacherBroken(
            f"--zoo could not name a folder {str(zoo)!r}: choose another, without , or = in it, "
            f"and not {', '.join(WORDS)}."
        )
    if (zoo / CARD_FILE).exists():
        raise TeacherBroken(f"{zoo} is a teacher: choose a folder of teachers as --zoo.")


def describe_folder(folder: Path, name: str, domain: str) -> TeacherCard:
    """The card of a folder in timm's Hub layout, such as that of every student of this project.

    Raises:
        TeacherBroken: the folder is not in that layout, or its weights are not those that it
            states the SHA-256 of.
    """
    weights = find_weights(folder)
    layout = read_layout(folder)
    found = sha256_of(folder / weights)
    if layout.sha256 not in ("", found):
        raise TeacherBroken(
            f"{folder / weights} is damaged: it has not the SHA-256 that {CONFIG_FILE} states. "
            "Train or copy it again."
        )
    accuracy, images = _read_accuracy(folder)
    return TeacherCard(
        name=name,
        domain=domain,
        source=f"folder:{name}",
        network=layout.network,
        classes=layout.classes,
        license=layout.license or "unknown",
        data="unknown",
        data_license="unknown",
        preprocessing=layout.preprocessing,
        labels=layout.labels,
        bytes=(folder / weights).stat().st_size,
        sha256=found,
        weights=weights,
        accuracy=accuracy,
        accuracy_images=images,
        folder=folder,
    )


def copy_teacher(card: TeacherCard, zoo: Path) -> TeacherCard:
    """Copy a teacher's files and card into a folder of teachers, all or nothing.

    Raises:
        TeacherBroken: its files are not here, the zoo has a teacher of this name, or cannot be
            written.
    """
    if card.folder is None:
        raise TeacherBroken(absence(card))
    place = zoo / card.file_name
    try:
        if place.exists():
            raise TeacherBroken(f"{zoo} has a teacher {card.name!r} already: choose another name.")
        with atomic_new_folder(place) as part:
            for file in (card.weights, *([CONFIG_FILE] if card.loader == "hf-hub" else [])):
                _copy_inside(card.folder / file, part)
            if sha256_of(part / card.weights) != card.sha256:
                raise TeacherBroken(
                    f"{card.folder / card.weights} is not the file of its card: add or pull "
                    f"{card.name!r} again."
                )
            if fingerprint := fingerprint_path(card):
                _copy_inside(fingerprint, part)
            if (card.folder / TRAINED_ON).is_file():
                _copy_inside(card.folder / TRAINED_ON, part)
            card.save(part)
    except OSError as error:
        raise TeacherBroken(f"{place} cannot be written: {error.strerror or error}.") from error
    return replace(card, folder=place)


def _copy_inside(path: Path, place: Path) -> None:
    """Copy a file of a teacher's folder into another one, unless it is a link out of its folder."""
    check_inside(path.parent, path.name)
    shutil.copyfile(path, place / path.name)


def pack(cards: Sequence[TeacherCard], zoo: Path) -> list[TeacherCard]:
    """Copy teachers into one new folder that is a zoo on any machine, without a network.

    Raises:
        TeacherBroken: the folder is not empty, or cannot be written.
    """
    if zoo.exists() and (not zoo.is_dir() or any(zoo.iterdir())):
        raise TeacherBroken(f"{zoo} is not an empty folder: choose another.")
    packed: list[TeacherCard] = []
    try:
        for card in cards:
            packed.append(copy_teacher(card, zoo))
    except TeacherBroken:
        for card in packed:
            shutil.rmtree(card.folder or zoo, ignore_errors=True)
        raise
    return packed


def _read_accuracy(folder: Path) -> tuple[float | None, int]:
    """Accuracy of a student of this project on held-out images, and the number of images."""
    evaluation = record({"accuracy": number(0, 1), "images": integer()})
    try:
        report = read_json(
            folder / "report.json",
            record({"evaluation": evaluation}),
            error=TeacherBroken,
            advice="",
        )
    except TeacherBroken:
        return None, 0
    return report["evaluation"]["accuracy"], report["evaluation"]["images"]
