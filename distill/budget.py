"""How many updates a budget holds, and whether only at a smaller image size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import floor, inf, sqrt

from zoo.budget import Step, spell_duration, too_small
from zoo.errors import ZooError

LEAST_UPDATES = 100
"""Fewer teach nobody: the average over the weights has a memory of a hundred."""
SMALLEST, GRID = 32, 16
"""Image sizes to fall back to, in pixels: not below the first, multiples of the second."""


@dataclass(frozen=True)
class StudentPace:
    """How long the parts of a student's life take, in seconds.

    Attributes:
        start: building it.
        update: an update.
        decode: decoding an image.
        answer: of an image in a test, once it is decoded.
    """

    start: float
    update: float
    decode: float
    answer: float


@dataclass(frozen=True)
class Lessons:
    """Students that are taught in the same way.

    Attributes:
        method: that teaches them.
        students: how many.
        shown: images that each learns from.
        tested: images that each is tested on.
        pace: of one of them, at an image size.
    """

    method: str
    students: int
    shown: int
    tested: int
    pace: Callable[[int], StudentPace]

    def preparing(self, size: int) -> float:
        """Seconds before the first update of each, all together."""
        pace = self.pace(size)
        return self.students * (pace.start + self.shown * pace.decode)

    def update(self, size: int) -> float:
        """Seconds of one update of each."""
        return self.students * self.pace(size).update

    def testing(self, size: int) -> float:
        """Seconds of all tests."""
        pace = self.pace(size)
        return self.students * self.tested * (pace.decode + pace.answer)


@dataclass(frozen=True)
class Choice:
    """What a budget chose.

    Attributes:
        updates: of every student.
        image_size: in pixels.
    """

    updates: int
    image_size: int


def choose_run(
    lessons: Sequence[Lessons],
    asked: int,
    *,
    budget: float,
    spent: Callable[[], float],
    others: Sequence[Step] = (),
    perhaps: Sequence[Step] = (),
) -> Choice:
    """As many updates as the rest of the budget holds, at the asked image size if it can be.

    Only where it does not hold the least sensible number of updates the images become smaller, and
    no smaller than they must.

    Args:
        lessons: all that is taught; every student gets the same number of updates.
        asked: the image size, in pixels.
        budget: of the whole command, in seconds.
        spent: seconds that are gone of it; asked for each image size anew, because measuring
            takes time too.
        others: steps that are still to come besides the lessons.
        perhaps: steps that may come: they lower the choice, but refuse no budget.

    Raises:
        ZooError: the budget is too small even for the least.
    """
    if perhaps:
        with suppress(ZooError):
            return choose_run(
                lessons, asked, budget=budget, spent=spent, others=(*others, *perhaps)
            )
    size = asked
    later = sum(step.seconds or 0 for step in others)
    while True:
        update = sum(each.update(size) for each in lessons)
        around = sum(each.preparing(size) + each.testing(size) for each in lessons)
        gone = spent() + later + around
        updates = max(0.0, budget - gone) / update
        if updates >= LEAST_UPDATES:
            return Choice(floor(updates), size)
        smaller = _smaller(size, updates)
        if smaller is None or sum(each.update(smaller) for each in lessons) == inf:
            needed = gone + LEAST_UPDATES * update
            raise too_small(budget, needed, f"{LEAST_UPDATES} updates at {size} px")
        size = smaller


def _smaller(size: int, updates: float) -> int | None:
    """The next image size to try where one holds so many updates; None if there is none.

    Time goes with the area at best, so no size above the one named would do.
    """
    if size <= SMALLEST:
        return None
    guess = int(size * sqrt(updates / LEAST_UPDATES)) // GRID * GRID
    return max(SMALLEST, min(guess, (size - 1) // GRID * GRID))


def lesson_steps(lessons: Sequence[Lessons], choice: Choice) -> list[Step]:
    """Preparing, teaching and testing, as steps."""
    size = choice.image_size
    shown = sum(each.students * each.shown for each in lessons)
    tested = sum(each.students * each.tested for each in lessons)
    steps = [
        Step("prepare", shown, "images", sum(each.preparing(size) for each in lessons)),
        *(
            Step(
                f"teach ({each.method})",
                each.students * choice.updates,
                "updates",
                choice.updates * each.update(size),
            )
            for each in lessons
        ),
        Step("test", tested, "images", sum(each.testing(size) for each in lessons)),
    ]
    return [step for step in steps if step.count]


def explain(lessons: Sequence[Lessons], asked: int, choice: Choice) -> str:
    """What was chosen and why, in a line."""
    seconds = sum(each.update(choice.image_size) for each in lessons)
    students = sum(each.students for each in lessons)
    each = "an update" if students == 1 else f"an update of {students} students"
    text = (
        f"Chosen: {choice.updates} updates at {choice.image_size} px; {each} takes "
        f"{seconds:.2f} s, and {spell_duration(choice.updates * seconds)} are left for them."
    )
    if choice.image_size == asked:
        return text
    return f"{text} At {asked} px they hold fewer than {LEAST_UPDATES}."
