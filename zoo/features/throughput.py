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
    """The forward passes that teachers still need: by name the digests of `unseen` images.

    `decode` is the seconds to decode an image for all of them together.
    """

    unseen: Mapping[str, Collection[str]]
    rates: Mapping[str, Rate]
    decode: float

    def step(self, what: str, digests: Iterable[str], *, slowest: bool = False) -> Step:
        """Running all teachers, or the slowest alone, on some of the images, each once."""
        wanted, work = set(digests), list[tuple[float, int]]()
        for name, new in self.unseen.items():
            if count := len(wanted.intersection(new)):
                work.append((self.rates[name].start + count * self.rates[name].each, count))
        work = sorted(work)[-1:] if slowest else work
        decoding = self.decode * max((count for _, count in work), default=0)
        seconds = decoding + sum(seconds for seconds, _ in work)
        return Step(what, sum(count for _, count in work), "forward passes", seconds)


def plan_passes(
    cards: Sequence[TeacherCard], images: Images, deadline: Deadline, runtime: Runtime
) -> tuple[ForwardPasses, list[Step], list[str]]:
    """Forward passes of teachers, downloads that come before, and which are unavailable."""
    seconds = deadline.measuring_time()
    choose_device(runtime.device)  # also where no teacher has to be run
    rows = pull([card for card in cards if card.folder is None], runtime, dry_run=True)
    lost = {row.name: row.reason for row in rows if row.reason}
    fetching = [Step(f"fetch {row.name}", row.bytes, "bytes", None) for row in rows if row.bytes]
    present = [card for card in cards if card.name not in lost]
    needed = unseen(present, images.digests, FeatureStore(runtime.cache / "features"))
    needed = {name: digests for name, digests in needed.items() if digests}
    running = [card for card in present if card.name in needed]
    most = max(map(len, needed.values()), default=0)
    rates = measure_teachers(running, seconds=seconds, images=most, device=runtime.device)
    forms = {form.geometry: form for card in running for form in [card.preprocessing or TYPICAL]}
    decode = sum(measure_decoding(images, form.size) for form in forms.values())
    unavailable = [f"{name} is not available: {why}" for name, why in lost.items()]
    return ForwardPasses(needed, rates, decode), fetching, unavailable


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

    Each kind of network on this machine is measured once, the cheapest first. After so many
    seconds, and for absent or broken ones, rates are extrapolated from the last one by parameters
    and area; 0 where none could be measured.
    """
    kinds: dict[tuple[str, int], Rate] = {}
    cost, last = 1.0, Rate(0.0)
    began = timing.clock()
    for card in sorted(cards, key=_cost):
        late = kinds and timing.clock() - began >= seconds
        if card.folder and _kind(card) not in kinds and not late:
            with suppress(TeacherBroken):  # running it reports the error
                if not kinds:  # the very first network initializes libraries
                    _measure(card, images, device)
                kinds[_kind(card)] = last = _measure(card, images, device)
                cost = _cost(card)
    return {
        card.name: kinds.get(_kind(card), replace(last, each=last.each * _cost(card) / cost))
        for card in cards
    }


def _kind(card: TeacherCard) -> tuple[str, int]:
    return card.network, (card.preprocessing or TYPICAL).size


def _cost(card: TeacherCard) -> float:
    """Of an image, but for a factor: parameters times pixels."""
    return max(1.0, float(card.params or card.bytes / 4)) * _kind(card)[1] ** 2


def _measure(card: TeacherCard, images: int, device: str) -> Rate:
    began = timing.clock()
    teacher = load_teacher(card, device=device)
    size = teacher.card.input.size
    pixels = np.zeros((SAMPLE if size <= 128 else SAMPLE // 4, 3, size, size), dtype=np.uint8)
    embed(teacher, pixels, total=images)  # the first batch chooses kernels and allocates memory
    first = timing.clock()
    embed(teacher, pixels, total=images)
    seconds = timing.clock() - first
    return Rate(seconds / len(pixels), max(0.0, first - began - seconds))
