"""Plans and budgets: durations, the steps of a command, and what a budget chose."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.system.json_files import integer, mapping, read_json, write_json

clock = time.monotonic
UNITS = {"h": 3600, "m": 60, "s": 1}
SHORTEST, SHARE, LONGEST = 3.0, 0.05, 20.0
"""Seconds of measuring: a share of the budget, within bounds."""
TOLERANCE = 0.1
"""Share of the budget by which a command may end earlier or later."""
RESUMES = "Resuming with the numbers that the budget chose in the interrupted run."


@dataclass(frozen=True)
class Deadline:
    """When a command began, and its budget in seconds; None without one."""

    budget: float | None = None
    began: float = field(default_factory=lambda: clock())

    @property
    def spent(self) -> float:
        """Seconds since the command began."""
        return clock() - self.began

    @property
    def overrun(self) -> str:
        """A message if the command took clearly longer than its budget; else empty."""
        if self.budget is None or self.spent <= (1 + TOLERANCE) * self.budget:
            return ""
        return (
            f"Took {format_duration(self.spent)} instead of {format_duration(self.budget)}: this "
            "machine became slower after it was measured."
        )

    def measuring_time(self, kinds: int = 1) -> float:
        """Seconds in which each of several kinds of work is measured; under torchrun a ZooError."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ZooError(
                "--budget and --dry-run measure one process: leave them out under torchrun."
            )
        return min(max(SHORTEST, SHARE * (self.budget or 0)), LONGEST) / kinds


@dataclass(frozen=True)
class Step:
    """What a command does, how often, and in how many seconds; None for a download."""

    what: str
    count: int
    unit: str  # bytes, images, forward passes, scores, updates or students
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What a command is going to do; `chosen` are the numbers that the budget chose, by option."""

    steps: tuple[Step, ...]
    chosen: Mapping[str, int] = field(default_factory=lambda: {})
    budget: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all steps whose time is known."""
        return total_seconds(self.steps)

    def count(self, unit: str) -> int:
        """Sum of a unit over all steps."""
        return sum(step.count for step in self.steps if step.unit == unit)

    def to_json(self) -> dict[str, Any]:
        """The plan as `--dry-run --json` shows it."""
        units = ("bytes", "forward passes", "updates")
        totals = {unit.replace(" ", "_"): self.count(unit) for unit in units}
        steps = [asdict(step) for step in self.steps]
        return {"format": 1, **totals, "seconds": round(self.seconds, 1), "steps": steps,
                "chosen": dict(self.chosen), "budget": self.budget,
                "warnings": [*self.warnings]}  # fmt: skip


CHOICE_FORMAT = 1
"""Version of the kept choices: raise it when the same numbers begin to mean another plan."""


@dataclass(frozen=True)
class SavedChoice:
    """The file in which a command keeps what its budget chose, so that it can resume with that."""

    path: Path

    @classmethod
    def of(cls, cache: Path, *depends: object) -> SavedChoice:
        """The file of a command that depends on all this."""
        key = hashlib.sha256(repr((CHOICE_FORMAT, depends)).encode()).hexdigest()
        return cls(cache / "runs" / f"budget-{key[:32]}.json")

    def load(self) -> dict[str, int]:
        """The chosen numbers by name; empty if there are none."""
        with suppress(ZooError):
            return read_json(self.path, mapping(integer()), error=ZooError, advice="")
        return {}

    def save(self, chosen: Mapping[str, int], warn: Callable[[str], None]) -> None:
        """Keep the numbers until the command is done; warn if that fails."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, dict(chosen))
        except OSError as error:
            warn(
                f"The choice could not be kept in {self.path.parent} ({error.strerror or error}): "
                "an interrupted run starts again from the beginning."
            )

    def delete(self) -> None:
        """The command is done."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def total_seconds(steps: Iterable[Step]) -> float:
    """Of all steps whose time is known."""
    return sum(step.seconds or 0 for step in steps)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `20m`, `1h` or `1h30m`; all else is a ValueError."""
    parts = re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", text.strip(), re.ASCII)
    numbers = [int(part or 0) for part in parts.groups()] if parts else []
    seconds = sum(n * unit for n, unit in zip(numbers, UNITS.values(), strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is not a duration: write 90s, 20m, 1h or 1h30m")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """A duration as `parse_duration` reads it, in whole seconds."""
    left, words = max(0, round(seconds)), ""
    for name, unit in UNITS.items():
        count, left = divmod(left, unit)
        words += f"{count}{name}" if count else ""
    return words or "0s"


def too_small(budget: float, needed: float, what: str) -> ZooError:
    """The error of a budget that is too small; it states the least."""
    return ZooError(
        f"--budget {format_duration(budget)} is too small: on this machine the command needs "
        f"{format_duration(ceil(needed))} at least, for {what}."
    )
