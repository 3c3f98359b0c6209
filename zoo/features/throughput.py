"""How fast this machine runs teachers: forward passes and decoding, measured and planned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from zoo.errors import TeacherBroken
from zoo.features.inference import embed
from zoo.features.store import FeatureStore, unseen
from zoo.hub.pull import pull
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system import timing
from zoo.system.devices import choose_device
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, Step
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.loading import load_teacher

SAMPLE = 32
"""Images in a batch, and images decoded; a quarter where they are large."""
TYPICAL = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Of a teacher that was never pulled: most teachers of the Hub have this size."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a teacher: to load it, then for `each` image."""

    each: float
    start: float = 0.0


@dataclass(frozen=True)
class ForwardPasses:
    """The forward passes that teachers still need, each image once.

    `unseen` has by teacher the digests of images without stored outputs; `decode` is the seconds to
    decode an image for all of them together.
    """

    unseen: Mapping[str, Collection[str]]
    rates: Mapping[str, Rate]
    decode: float

    def step(self, what: str, digests: Iterable[str], *, slowest: bool = False) -> Step:
        """Running all teachers, or the slowest alone, on some of the images."""
        wanted = set(digests)
        work: list[tuple[float, int]] = []
        for name, new in self.unseen.items():
            if count := len(wanted.intersection(new)):
                rate = self.rates[name]
                work.append((rate.start + count * rate.each, count))
        if slowest:
            work = sorted(work)[-1:]
        seconds, counts = [each for each, _ in work], [count for _, count in work]
        decoding = self.decode * max(counts, default=0)
        return Step(what, sum(counts), "forward passes", decoding + sum(seconds))


def plan_passes(
    cards: Sequence[TeacherCard], images: Images, deadline: Deadline, runtime: Runtime
) -> tuple[ForwardPasses, list[Step], list[str]]:
    """Forward passes of teachers, downloads that come before, and which are unavailable."""
    seconds = deadline.measuring_time()
    choose_device(runtime.device)  # also where no teacher has to be run
    absent = [card for card in cards if card.folder is None]
    rows = pull(absent, runtime, dry_run=True) if absent else []
    lost = {row.name: row.reason for row in rows if row.reason}
    fetching = [Step(f"fetch {row.name}", row.bytes, "bytes", None) for row in rows if row.bytes]
    present = [card for card in cards if card.name not in lost]
    passes = measure_passes(present, images, runtime, seconds=seconds)
    return passes, fetching, [f"{name} is not available: {why}" for name, why in lost.items()]


def measure_passes(
    cards: Sequence[TeacherCard], images: Images, runtime: Runtime, *, seconds: float
) -> ForwardPasses:
    """The forward passes that teachers still need on images, and how long they take.

    `seconds` are for measuring the networks; decoding comes on top.
    """
    store = FeatureStore(runtime.cache / "features")
    new = {name: left for name, left in unseen(cards, images.digests, store).items() if left}
    running = [card for card in cards if card.name in new]
    most = max(map(len, new.values()), default=0)
    rates = measure_teachers(running, seconds=seconds, images=most, device=runtime.device)
    sizes = {form.geometry: form.size for card in running for form in [_form(card)]}
    return ForwardPasses(new, rates, sum(measure_decoding(images, s) for s in sizes.values()))


def measure_decoding(images: Images, size: int) -> float:
    """Seconds to decode an image of the folder for a network of this size."""
    some = images.subset(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))
    began = timing.clock()
    decode_images(some.paths, replace(TYPICAL, size=size))
    return (timing.clock() - began) / SAMPLE


def measure_teachers(
    cards: Sequence[TeacherCard], *, seconds: float, images: int = 0, device: str = "cpu"
) -> dict[str, Rate]:
    """The rate of each teacher for so many images, by name; nothing is fetched.

    Each kind of network on this machine is measured once, the smaller ones first. After so many
    seconds, and for absent or broken ones, rates are extrapolated from the last one by parameters
    and area; 0 where none could be measured.
    """
    kinds: dict[tuple[str, int], Rate] = {}
    work, last = 1.0, Rate(0.0)
    began = timing.clock()
    for card in sorted(cards, key=_work):
        kind = card.network, _form(card).size
        if card.folder and kind not in kinds and (not kinds or timing.clock() - began < seconds):
            with suppress(TeacherBroken):  # running it reports the error
                if not kinds:  # the very first network initializes libraries
                    _measure(card, images, device)
                kinds[kind] = last = _measure(card, images, device)
                work = _work(card)
    return {
        card.name: kinds.get((card.network, _form(card).size))
        or replace(last, each=last.each * _work(card) / work)
        for card in cards
    }


def _form(card: TeacherCard) -> Preprocessing:
    return card.preprocessing or TYPICAL


def _work(card: TeacherCard) -> float:
    """Cost of an image, but for a factor: parameters times pixels."""
    return max(1.0, float(card.params or card.bytes / 4)) * _form(card).size ** 2


def _measure(card: TeacherCard, images: int, device: str) -> Rate:
    began = timing.clock()
    teacher = load_teacher(card, device=device)
    size = teacher.card.input.size
    count = SAMPLE if size <= 128 else SAMPLE // 4
    pixels = np.zeros((count, 3, size, size), dtype=np.uint8)
    embed(teacher, pixels[:2], total=images)  # the first batch is slower: kernels are chosen
    start = timing.clock() - began
    embed(teacher, pixels, total=images)  # the first of its size allocates memory
    began = timing.clock()
    embed(teacher, pixels, total=images)
    return Rate((timing.clock() - began) / count, start)
