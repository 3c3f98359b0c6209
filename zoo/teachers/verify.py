"""Verify a teacher: its files, whether they load, and whether it says what it said before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import TeacherBroken
from zoo.features.inference import Teacher, embed, load_teacher
from zoo.system.runtime import Progress
from zoo.teachers.card import TeacherCard
from zoo.teachers.config import read_layout


@dataclass(frozen=True)
class Verdict:
    """What was found out about one teacher.

    Attributes:
        name: of the teacher.
        checks: what was looked at and found right, in order.
        problem: the first thing that is wrong; empty when all is well.
    """

    name: str
    checks: tuple[str, ...]
    problem: str = ""


def verify(card: TeacherCard) -> Verdict:
    """Check a teacher whose files are on this machine; the first thing wrong ends it.

    The weights against their hash, the network against the weights, the classes and the
    preprocessing of the card against `config.json`, and the embeddings of two synthetic
    images against the card's golden ones.
    """
    passed: list[str] = []
    try:
        teacher = load_teacher(card)
        passed += ["hash", "load", "classes"]
        if card.loader == "hf-hub":
            _check_layout(card)
            passed += ["labels", "preprocessing"]
        found = embed_images(teacher)
        passed.append("answers")
        if card.golden:
            gap = distance(found, card.golden)
            if gap > TOLERANCE:
                raise TeacherBroken(
                    f"{card.name!r} answers otherwise than its card says "
                    f"(relative distance {gap:.2g}): weights or preprocessing are not the same."
                )
            passed.append("golden embedding")
    except TeacherBroken as error:
        return Verdict(card.name, tuple(passed), str(error))
    return Verdict(card.name, tuple(passed))


def measure(card: TeacherCard) -> TeacherCard:
    """The card with the parameters and golden embeddings that its files give now.

    Raises:
        TeacherBroken: they cannot be loaded.
    """
    teacher = load_teacher(card)
    rows = embed_images(teacher).tolist()
    return replace(
        card,
        params=sum(parameter.numel() for parameter in teacher.network.parameters()),
        golden=tuple(tuple(float(f"{value:.4g}") for value in row) for row in rows),
    )


def _check_layout(card: TeacherCard) -> None:
    folder = card.folder
    if folder is None:
        return
    layout = read_layout(folder)
    if card.classes and layout.labels != card.labels:
        raise TeacherBroken(f"{folder}: config.json and card name different classes.")
    # what the card may override: the order of channels, and the size together with the network's
    wanted = replace(layout.preprocessing, channels=card.input.channels)
    if "img_size" in card.model_args:
        wanted = replace(wanted, size=card.input.size)
    if wanted != card.input:
        raise TeacherBroken(f"{folder}: config.json and card want different preprocessing.")


TOLERANCE = 0.02
"""Largest relative distance to the golden embedding that counts as the same: rounding on other
machines stays well below a thousandth, a swapped channel or a flipped weight far above."""


def draw_images(size: int) -> NDArray[np.uint8]:
    """Two images [2, 3, size, size] made by code: a sheet of colors, and colored rings."""
    down, right = np.mgrid[0:size, 0:size] / (size - 1)
    rings = (1 + np.cos(8 * np.pi * np.hypot(down - 0.5, right - 0.3))) / 2
    sheet = [right, down, 1 - right]
    target = [rings, 1 - rings * down, np.full_like(rings, 0.25)]
    return (np.array([sheet, target]) * 255).round().astype(np.uint8)


def embed_images(teacher: Teacher) -> NDArray[np.float32]:
    """A teacher's embeddings [2, D] of the two images, in float32 on any device.

    Raises:
        TeacherBroken: it cannot take such images, or its outputs are not finite numbers.
    """
    return embed(teacher, draw_images(teacher.card.input.size), mixed=False).embeddings


def distance(found: NDArray[np.float32], golden: ArrayLike) -> float:
    """Relative distance of embeddings [2, D], the larger of two images; infinite if not alike."""
    try:
        known = np.asarray(golden, dtype=np.float32)
    except (ValueError, TypeError):  # rows of different widths, or no numbers
        return math.inf
    if found.shape != known.shape or not np.isfinite(known).all():
        return math.inf
    gap = np.linalg.norm(found - known, axis=1)
    return float(np.max(gap / np.maximum(np.linalg.norm(known, axis=1), 1e-12)))


def verify_all(cards: Sequence[TeacherCard], progress: Progress) -> list[Verdict]:
    """Verify each teacher; the first time that a pulled one loads, keep its golden embeddings."""
    verdicts: list[Verdict] = []
    for done, card in enumerate(cards, start=1):
        verdict = verify(card)
        if card.repo and card.folder and not verdict.problem and not card.golden:
            noted = "golden embedding saved"
            try:
                measure(card).save(card.folder)
            except OSError:
                noted = "golden embedding not saved: the folder cannot be written"
            verdict = replace(verdict, checks=(*verdict.checks, noted))
        verdicts.append(verdict)
        progress(done, len(cards))
    return verdicts
