"""A user's own zoo: add a teacher to it, pack teachers for another machine."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zoo.errors import TeacherBroken
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.config import CONFIG_FILE, find_weights, read_layout
from zoo.teachers.fingerprint import fingerprint_path


def check_words(name: str, domain: str) -> None:
    """Make sure that a teacher can be called so, in a folder and on the command line.

    Raises:
        TeacherBroken: it cannot.
    """
    if not re.fullmatch(r"[^\W_][^/\\,=:]*", name) or name != name.strip():
        raise TeacherBroken(
            f"A teacher cannot be called {name!r}: begin with a letter or digit, without any of "
            "/ \\ , = : in it."
        )
    for text in (name, domain):
        if not (text.strip() and text.isprintable()):
            raise TeacherBroken(f"Names and domains are words that can be printed, not {text!r}.")


def describe_folder(folder: Path, name: str, domain: str) -> TeacherCard:
    """The card of a folder in timm's Hub layout, such as every student of this project has.

    Raises:
        TeacherBroken: the folder is not in that layout.
    """
    weights = find_weights(folder)
    layout = read_layout(folder)
    accuracy, images = _tested(folder)
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
        sha256=sha256_of(folder / weights),
        weights=weights,
        accuracy=accuracy,
        accuracy_images=images,
        folder=folder,
    )


def copy_teacher(card: TeacherCard, zoo: Path) -> TeacherCard:
    """Put a teacher's files and card into a folder of teachers, whole or not at all.

    Raises:
        TeacherBroken: its files are not here, the zoo has a teacher of this name, or cannot be
            written.
    """
    if card.folder is None:
        raise TeacherBroken(f"The files of {card.name!r} are not on this machine: pull it first.")
    place = zoo / card.file_name
    part = zoo / f".{card.file_name}.{os.getpid()}.part"
    try:
        if place.exists():
            raise TeacherBroken(f"{zoo} has a teacher {card.name!r} already: choose another name.")
        part.mkdir(parents=True)
        for file in (card.weights, *([CONFIG_FILE] if card.loader == "hf-hub" else [])):
            shutil.copyfile(card.folder / file, part / file)
        if mark := fingerprint_path(card):
            shutil.copyfile(mark, part / mark.name)
        card.save(part)
        part.rename(place)
    except OSError as error:
        raise TeacherBroken(f"{place} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return replace(card, folder=place)


def pack(cards: Sequence[TeacherCard], zoo: Path) -> list[TeacherCard]:
    """Copy teachers into one new folder that is a zoo on any machine, without a network.

    Raises:
        TeacherBroken: the folder holds something already, or cannot be written.
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


def _tested(folder: Path) -> tuple[float | None, int]:
    """Accuracy of a student of this project on held-out images, and their number."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        accuracy, images = float(report["evaluation"]["accuracy"]), report["evaluation"]["images"]
        return (accuracy, int(images)) if 0 <= accuracy <= 1 else (None, 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None, 0
