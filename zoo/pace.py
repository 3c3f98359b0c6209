"""How fast this machine is: a batch through each network that is needed, some images decoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import timm
import torch

from zoo.budget import Asking, Pace
from zoo.errors import TeacherBroken
from zoo.features.inference import embed
from zoo.features.store import FeatureStore, unseen
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.devices import choose_device, to_device
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.loading import Teacher, load_teacher

SAMPLE = 32
"""Images in a batch, and images decoded; a quarter where they are large."""
USUAL = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Of a teacher that was never pulled: most of the Hub are of this size."""
LARGEST = 400_000_000
"""Bytes of a network that is built only to be measured."""


def measure_asking(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    seconds: float,
    device: torch.device | str = "cpu",
    store: FeatureStore | None = None,
) -> Asking:
    """Which images the teachers have not seen yet, and what it takes to show them.

    Args:
        cards: the teachers.
        images: that they are to look at.
        seconds: for measuring the networks; the decoding comes on top.
        device: where to compute.
        store: what is known; the user's cache if not given.
    """
    new = {
        name: digests for name, digests in unseen(cards, images.digests, store).items() if digests
    }
    asked = [card for card in cards if card.name in new]
    paces = measure_teachers(asked, seconds=seconds, device=device)
    forms = {(card.preprocessing or USUAL).geometry: card.preprocessing or USUAL for card in asked}
    decode = sum(measure_decoding(images, form.size) for form in forms.values())
    return Asking(new, paces, Pace(decode))


def measure_decoding(
    images: Images, size: int, clock: Callable[[], float] = time.monotonic
) -> float:
    """Seconds to decode an image of the folder for a network of this size."""
    some = images.subset(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))
    began = clock()
    decode_images(some.paths, replace(USUAL, size=size))
    return (clock() - began) / SAMPLE


def measure_teachers(
    cards: Sequence[TeacherCard],
    *,
    seconds: float,
    device: torch.device | str = "cpu",
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Pace]:
    """The pace of each teacher, by name: of loading it, and of an image.

    Each kind of network is measured once, the smaller ones first; one that is not on this machine
    with random weights. After so many seconds, and where a network cannot be built, the rest is
    guessed from the last one, by parameters and area. Nothing is fetched.
    """
    found: dict[str, Pace] = {}
    kinds: dict[tuple[str, int], Pace] = {}
    last: tuple[float, Pace] | None = None
    began = clock()
    for card in sorted(cards, key=_work):
        kind = card.network, (card.preprocessing or USUAL).size
        if kind not in kinds and (last is None or clock() - began < seconds):
            try:
                if last is None:  # the very first network wakes libraries up
                    _measure(card, device, clock)
                kinds[kind] = _measure(card, device, clock)
                last = _work(card), kinds[kind]
            except TeacherBroken:
                pass  # asking it is where people hear of that
        if kind in kinds:
            found[card.name] = kinds[kind]
        elif last is not None:
            work, pace = last
            found[card.name] = Pace(pace.each * _work(card) / work, pace.start)
    return {card.name: found.get(card.name, Pace(0.0)) for card in cards}


def _work(card: TeacherCard) -> float:
    """What an image costs, but for a factor: parameters times pixels."""
    return max(1.0, float(card.params or card.bytes / 4)) * (card.preprocessing or USUAL).size ** 2


def _measure(card: TeacherCard, device: torch.device | str, clock: Callable[[], float]) -> Pace:
    began = clock()
    teacher = load_teacher(card, device=device) if card.folder else _imitate(card, device)
    size = teacher.card.input.size
    count = SAMPLE if size <= 128 else SAMPLE // 4
    pixels = np.zeros((count, 3, size, size), dtype=np.uint8)
    embed(teacher, pixels[:2])  # the first batch is slower: kernels are chosen
    start = clock() - began
    embed(teacher, pixels)  # and the first of its size has yet to get its memory
    began = clock()
    embed(teacher, pixels)
    return Pace((clock() - began) / count, start)


def _imitate(card: TeacherCard, device: torch.device | str) -> Teacher:
    """A network like the teacher's with random weights.

    Raises:
        TeacherBroken: it is too large for that, or timm cannot build it.
    """
    if not card.network or card.bytes > LARGEST:
        raise TeacherBroken(f"{card.name!r} is not on this machine.")
    try:
        with torch.random.fork_rng(devices=[]):
            network = timm.create_model(card.network, **card.model_args)
    except Exception as error:  # timm raises many kinds
        raise TeacherBroken(f"timm cannot build {card.network}.") from error
    place = choose_device(device)
    shown = replace(card, preprocessing=card.preprocessing or USUAL, classes=0)
    return Teacher(shown, to_device(network, place).eval(), place)
