"""How fast this machine runs teachers: forward passes and decoding, measured and planned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from zoo.system.timing import Deadline, Rate, Step, check_single_process
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.loading import load_teacher

SAMPLE = 32
"""Images in a batch, and images decoded; a quarter where they are large."""
TYPICAL = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Of a teacher that was never pulled: most teachers of the Hub have this size."""


@dataclass(frozen=True)
class ForwardPasses:
    """The forward passes that teachers still need, each image once.

    Attributes:
        unseen: by teacher, digests of the images without stored outputs.
        rates: of the teachers.
        decode: seconds to decode an image for all of them together.
    """

    unseen: Mapping[str, Collection[str]]
    rates: Mapping[str, Rate]
    decode: float

    def step(self, what: str, digests: Iterable[str], *, slowest: bool = False) -> Step:
        """Running all teachers, or the slowest alone, on some of the images."""
        wanted = set(digests)
        counts = {name: len(wanted.intersection(new)) for name, new in self.unseen.items()}
        times = {name: self.rates[name].of(count) for name, count in counts.items()}
        if slowest and times:
            last = max(times, key=lambda name: (times[name], counts[name]))
            counts, times = {last: counts[last]}, {last: times[last]}
        decoding = self.decode * max(counts.values(), default=0)
        return Step(what, sum(counts.values()), "forward passes", decoding + sum(times.values()))


def measure_passes(
    cards: Sequence[TeacherCard],
    images: Images,
    *,
    seconds: float,
    device: str = "cpu",
    store: FeatureStore | None = None,
) -> ForwardPasses:
    """The forward passes that teachers still need on images, and how long they take.

    Args:
        cards: the teachers.
        images: N images.
        seconds: for measuring the networks; decoding comes on top.
        device: where to compute.
        store: stored outputs; the user's cache if not given.
    """
    new = {name: left for name, left in unseen(cards, images.digests, store).items() if left}
    running = [card for card in cards if card.name in new]
    rates = measure_teachers(running, seconds=seconds, device=device)
    sizes = {form.geometry: form.size for card in running for form in [_form(card)]}
    return ForwardPasses(new, rates, sum(measure_decoding(images, s) for s in sizes.values()))


def measure_decoding(images: Images, size: int) -> float:
    """Seconds to decode an image of the folder for a network of this size."""
    some = images.subset(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))
    began = timing.clock()
    decode_images(some.paths, replace(TYPICAL, size=size))
    return (timing.clock() - began) / SAMPLE


def measure_teachers(
    cards: Sequence[TeacherCard],
    *,
    seconds: float,
    device: str = "cpu",
    clock: Callable[[], float] = timing.clock,
) -> dict[str, Rate]:
    """The rate of each teacher, by name: of loading it, and of an image.

    Each kind of network on this machine is measured once, the smaller ones first. After so many
    seconds, and for absent or broken ones, rates are extrapolated from the last one by parameters
    and area; 0 where none could be measured. Nothing is fetched.
    """
    found: dict[str, Rate] = {}
    kinds: dict[tuple[str, int], Rate] = {}
    last: tuple[float, Rate] | None = None
    began = clock()
    for card in sorted(cards, key=_work):
        kind = card.network, _form(card).size
        if card.folder and kind not in kinds and (last is None or clock() - began < seconds):
            with suppress(TeacherBroken):  # running it reports the error
                if last is None:  # the very first network initializes libraries
                    _measure(card, device, clock)
                kinds[kind] = _measure(card, device, clock)
                last = _work(card), kinds[kind]
    for card in cards:
        kind = card.network, _form(card).size
        work, rate = last or (1.0, Rate(0.0))
        guess = Rate(rate.each * _work(card) / work, rate.start)
        found[card.name] = kinds.get(kind, guess)
    return found


def _form(card: TeacherCard) -> Preprocessing:
    return card.preprocessing or TYPICAL


def _work(card: TeacherCard) -> float:
    """Cost of an image, but for a factor: parameters times pixels."""
    return max(1.0, float(card.params or card.bytes / 4)) * _form(card).size ** 2


def _measure(card: TeacherCard, device: str, clock: Callable[[], float]) -> Rate:
    began = clock()
    teacher = load_teacher(card, device=device)
    size = teacher.card.input.size
    count = SAMPLE if size <= 128 else SAMPLE // 4
    pixels = np.zeros((count, 3, size, size), dtype=np.uint8)
    embed(teacher, pixels[:2])  # the first batch is slower: kernels are chosen
    start = clock() - began
    embed(teacher, pixels)  # the first of its size allocates memory
    began = clock()
    embed(teacher, pixels)
    return Rate((clock() - began) / count, start)


def plan_passes(
    cards: Sequence[TeacherCard], images: Images, deadline: Deadline, runtime: Runtime
) -> tuple[ForwardPasses, list[Step], list[str]]:
    """Forward passes of teachers, downloads that come before, and which are unavailable."""
    check_single_process()
    choose_device(runtime.device)  # also where no teacher has to be run
    absent = [card for card in cards if card.folder is None]
    rows = pull(absent, runtime, dry_run=True) if absent else []
    lost = {row.name: row.reason for row in rows if row.reason}
    fetching = [Step(f"fetch {row.name}", row.bytes, "bytes", None) for row in rows if row.bytes]
    present = [card for card in cards if card.name not in lost]
    store = FeatureStore(runtime.cache / "features")
    seconds, device = deadline.measuring_time(), runtime.device
    passes = measure_passes(present, images, seconds=seconds, device=device, store=store)
    return passes, fetching, [f"{name} is not available: {why}" for name, why in lost.items()]
