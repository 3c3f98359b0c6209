"""Time: what the steps of a command take, and how much of the work a budget holds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

from zoo.errors import ZooError

clock = time.monotonic
UNITS = {"h": 3600, "m": 60, "s": 1}
SHORTEST, SHARE, LONGEST = 3.0, 0.05, 20.0
"""Seconds of measuring: a share of the budget, within bounds."""
TOLERANCE = 0.1
"""Share of the budget by which a command may end earlier or later."""


@dataclass(frozen=True)
class Watch:
    """The time of a command.

    Attributes:
        budget: seconds that it may take; None without a budget.
        began: when it began.
    """

    budget: float | None = None
    began: float = field(default_factory=lambda: clock())

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return clock() - self.began

    @property
    def verdict(self) -> str:
        """A line if the command took clearly longer than its budget; empty otherwise."""
        if self.budget is None or self.spent <= (1 + TOLERANCE) * self.budget:
            return ""
        return (
            f"It took {spell_duration(self.spent)} instead of {spell_duration(self.budget)}: this "
            "machine became slower after it was measured."
        )


@dataclass(frozen=True)
class Pace:
    """How long a kind of work takes, in seconds.

    Attributes:
        each: for one piece.
        start: before the first piece.
    """

    each: float
    start: float = 0.0

    def of(self, pieces: int) -> float:
        """Seconds for so many pieces; nothing to do takes no time."""
        return self.start + pieces * self.each if pieces else 0.0


@dataclass(frozen=True)
class Step:
    """A step of a command.

    Attributes:
        what: is done.
        count: how often.
        unit: what is counted: `bytes`, `images`, `forward passes`, `scores`, `updates`.
        seconds: how long it takes; None where nobody can know, as for a download.
    """

    what: str
    count: int
    unit: str
    seconds: float | None


@dataclass(frozen=True)
class Asking:
    """Teachers that look at images, each image once.

    Attributes:
        unseen: by teacher, digests of the images that it has not seen yet.
        paces: of the teachers.
        decode: of an image, for all of them together.
    """

    unseen: Mapping[str, Collection[str]]
    paces: Mapping[str, Pace]
    decode: Pace

    def step(
        self,
        what: str,
        digests: Iterable[str],
        *,
        slowest: bool = False,
        unit: str = "forward passes",
    ) -> Step:
        """Showing images to all teachers, or to the slowest alone."""
        shown = set(digests)
        counts = {name: len(shown.intersection(new)) for name, new in self.unseen.items()}
        times = {name: self.paces[name].of(count) for name, count in counts.items()}
        if slowest and times:
            last = max(times, key=lambda name: (times[name], counts[name]))
            counts, times = {last: counts[last]}, {last: times[last]}
        decoding = self.decode.of(max(counts.values(), default=0))
        return Step(what, sum(counts.values()), unit, decoding + sum(times.values()))


@dataclass(frozen=True)
class Outlook:
    """What a command would do, as far as this machine's measured speed tells.

    Attributes:
        steps: in their order.
        chosen: numbers that the budget chose, by option; empty without a budget.
        budget: seconds that were asked for; None without.
        notes: what cannot be had or known, a line each.
    """

    steps: tuple[Step, ...]
    chosen: Mapping[str, int]
    budget: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all steps whose time is known."""
        return sum(step.seconds or 0 for step in self.steps)

    def count(self, unit: str) -> int:
        """How many of a unit all steps have together."""
        return sum(step.count for step in self.steps if step.unit == unit)

    def to_json(self) -> dict[str, Any]:
        """The plan as `--dry-run --json` shows it."""
        totals = {
            "bytes": self.count("bytes"),
            "forward_passes": self.count("forward passes"),
            "updates": self.count("updates"),
            "seconds": round(self.seconds, 1),
        }
        return {"format": 1, **totals, **asdict(self)}


def parse_duration(text: str) -> float:
    """Seconds of a time such as `90s`, `20m`, `1h` or `1h30m`.

    Raises:
        ValueError: the text is no such time, or none at all.
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip(), re.ASCII)
    numbers = [int(part or 0) for part in parts.groups()] if parts else []
    seconds = sum(n * unit for n, unit in zip(numbers, UNITS.values(), strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is no time: write it as 90s, 20m, 1h or 1h30m")
    return float(seconds)


def spell_duration(seconds: float) -> str:
    """A time as `parse_duration` reads it, in whole seconds."""
    left, words = max(0, round(seconds)), ""
    for name, unit in UNITS.items():
        count, left = divmod(left, unit)
        words += f"{count}{name}" if count else ""
    return words or "0s"


def measuring_time(budget: float | None, kinds: int = 1) -> float:
    """For how many seconds each of several kinds of work is measured."""
    return min(max(SHORTEST, SHARE * (budget or 0)), LONGEST) / kinds


def scoring_step(teachers: int, labeled: int, pace: Pace, rankings: int = 1) -> Step:
    """Scoring teachers, each on so many labeled images."""
    scores = teachers * rankings
    return Step("score", scores, "scores", scores * pace.of(labeled))


def most(fits: Callable[[int], bool], least: int, asked: int) -> int | None:
    """The largest number from `least` to `asked` that fits, if smaller ones do; None if none."""
    if not fits(least):
        return None
    while least < asked:
        middle = (least + asked + 1) // 2
        if fits(middle):
            least = middle
        else:
            asked = middle - 1
    return least


def choose_probe(
    steps: Callable[[int, int], Iterable[Step]],
    *,
    budget: float,
    spent: float,
    labeled: tuple[int, int],
    pool: int,
) -> tuple[int, int]:
    """How many labeled and unlabeled images to rank on: unlabeled ones are given up first.

    Args:
        steps: of a ranking on so many labeled and unlabeled images.
        budget: of the whole command, in seconds.
        spent: seconds that are gone.
        labeled: labeled images at least and at most.
        pool: unlabeled images at most.

    Raises:
        ZooError: the budget is too small for the least.
    """

    def seconds(labeled: int, pool: int) -> float:
        return spent + sum(step.seconds or 0 for step in steps(labeled, pool))

    least, asked = labeled
    kept = most(lambda count: seconds(asked, count) <= budget, 0, pool)
    if kept is not None:
        return asked, kept
    kept = most(lambda count: seconds(count, 0) <= budget, least, asked)
    if kept is None:
        raise too_small(budget, seconds(least, 0), f"{least} labeled images")
    return kept, 0


def too_small(budget: float, needed: float, what: str) -> ZooError:
    """The error of a budget that holds nothing sensible; it says the least."""
    return ZooError(
        f"--budget {spell_duration(budget)} is too small: on this machine the command needs "
        f"{spell_duration(ceil(needed))} at least, for {what}."
    )
