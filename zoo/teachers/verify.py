"""Verify a teacher: its files, the loading of its network, and its outputs for two images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import TeacherBroken
from zoo.features.inference import embed
from zoo.features.store import Features
from zoo.system.runtime import Progress
from zoo.teachers.card import TeacherCard
from zoo.teachers.config import read_layout
from zoo.teachers.loading import Teacher, load_teacher

TOLERANCE = 0.02
"""Largest relative distance to the golden embedding that passes. Rounding on other machines stays
well below a thousandth; a swapped channel or a flipped weight is far above."""


@dataclass(frozen=True)
class Verification:
    """The checks that one teacher passed, in order, and the first problem; empty if none."""

    name: str
    checks: tuple[str, ...]
    problem: str = ""


def verify(card: TeacherCard) -> Verification:
    """Check a teacher whose files are on this machine, up to the first problem.

    The weights against their hash, the network against the weights, the classes and the
    preprocessing of the card against `config.json`, and the embeddings and logits of two synthetic
    images against the card's golden ones.
    """
    passed: list[str] = []
    try:
        teacher = load_teacher(card)
        passed += ["hash", "load", "classes"]
        if card.loader == "hf-hub":
            _check_layout(card)
            passed += ["labels", "preprocessing"]
        outputs = embed_images(teacher)
        passed.append("outputs")
        for what, found, golden in (
            ("golden embedding", outputs.embeddings, card.golden),
            ("golden logits", outputs.logits, card.golden_logits),
        ):
            if not golden:
                continue
            gap = distance(found, golden)
            if gap > TOLERANCE:
                raise TeacherBroken(
                    f"The outputs of {card.name!r} differ from its card ({what}, relative distance "
                    f"{gap:.2g}): weights or preprocessing are not the same."
                )
            passed.append(what)
    except TeacherBroken as error:
        return Verification(card.name, tuple(passed), str(error))
    return Verification(card.name, tuple(passed))


def measure(card: TeacherCard) -> TeacherCard:
    """The card with the parameters and golden outputs of its files; TeacherBroken if they fail."""
    teacher = load_teacher(card)
    outputs = embed_images(teacher)
    return replace(
        card,
        params=sum(parameter.numel() for parameter in teacher.network.parameters()),
        golden=_rounded(outputs.embeddings),
        golden_logits=_rounded(outputs.logits) if card.classes else (),
    )


def _rounded(rows: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.4g}") for value in row) for row in rows.tolist())


def _check_layout(card: TeacherCard) -> None:
    folder = card.folder
    if folder is None:
        return
    layout = read_layout(folder)
    if card.classes and layout.labels != card.labels:
        raise TeacherBroken(f"{folder}: the classes of config.json and card differ.")
    # a card may override the order of channels, and the size together with the network's
    expected = replace(layout.preprocessing, channels=card.input.channels)
    if "img_size" in card.model_args:
        expected = replace(expected, size=card.input.size)
    if expected != card.input:
        raise TeacherBroken(f"{folder}: the preprocessing of config.json and card differ.")


def draw_images(size: int) -> NDArray[np.uint8]:
    """Two synthetic images [2, 3, size, size]: a color gradient, and colored rings."""
    down, right = np.mgrid[0:size, 0:size] / (size - 1)
    rings = (1 + np.cos(8 * np.pi * np.hypot(down - 0.5, right - 0.3))) / 2
    gradient = [right, down, 1 - right]
    target = [rings, 1 - rings * down, np.full_like(rings, 0.25)]
    return (np.array([gradient, target]) * 255).round().astype(np.uint8)


def embed_images(teacher: Teacher) -> Features:
    """A teacher's outputs for the two synthetic images, in float32 on any device; see `embed`."""
    return embed(teacher, draw_images(teacher.card.input.size), mixed=False)


def distance(found: NDArray[np.float32], golden: ArrayLike) -> float:
    """Relative distance of outputs [2, D], the larger of two; infinite if shapes differ."""
    try:
        known = np.asarray(golden, dtype=np.float32)
    except (ValueError, TypeError):  # rows of different widths, or no numbers
        return math.inf
    if found.shape != known.shape or not np.isfinite(known).all():
        return math.inf
    gap = np.linalg.norm(found - known, axis=1)
    return float(np.max(gap / np.maximum(np.linalg.norm(known, axis=1), 1e-12)))


def verify_all(cards: Sequence[TeacherCard], progress: Progress) -> list[Verification]:
    """Verify each teacher; the first time that a pulled one loads, keep its golden outputs."""
    verdicts: list[Verification] = []
    for done, card in enumerate(cards, start=1):
        verdict = verify(card)
        lacking = not card.golden or (card.classes and not card.golden_logits)
        if card.repo and card.folder and lacking and not verdict.problem:
            noted = "golden outputs saved"
            try:
                measure(card).save(card.folder)
            except OSError:
                noted = "golden outputs not saved: the folder cannot be written"
            verdict = replace(verdict, checks=(*verdict.checks, noted))
        verdicts.append(verdict)
        progress(done, len(cards))
    return verdicts
