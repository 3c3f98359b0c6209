"""Verify a teacher: its files, whether they load, and whether it says what it said before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .card import TeacherCard
from .errors import TeacherBroken
from .golden import TOLERANCE, distance, embed_images
from .layout import read_layout
from .teacher import load_teacher


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
