"""Plans of training: how fast a student trains here, and how many updates a budget holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import floor, inf, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from distill.evaluation.evaluate import predict_pixels
from distill.recipe import Distillation, Method, Recipe
from distill.student import IMAGENET, create_student
from distill.training.loop import fit
from distill.training.targets import (
    SoftLabels,
    SourceProbabilities,
    SourceTargets,
    Targets,
    group_heads,
)
from zoo.errors import StudentError, ZooError
from zoo.features import throughput
from zoo.system import timing
from zoo.system.devices import choose_device
from zoo.system.timing import Deadline, Plan, SavedChoice, Step, format_duration, total_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from distill.teachers import TeacherWork
    from zoo.images.folder import Images
    from zoo.system.runtime import Runtime

LEAST_UPDATES = 100
"""Fewer train no student: the average over the weights has a memory of a hundred."""
SMALLEST, GRID = 32, 16
"""Image sizes to fall back to, in pixels: not below the first, multiples of the second."""
IMAGES, WARMUP = 128, 2
"""Random images of a measurement, and its first updates, which do not count."""

Parts = Sequence[tuple["Images", "Images | None"]]
"""Images to train on and to test on, of each student of a method."""


@dataclass(frozen=True)
class StudentRate:
    """Seconds to build a student, of an update, to decode an image, and to predict one."""

    start: float
    update: float
    decode: float
    predict: float


@dataclass(frozen=True)
class TrainingJobs:
    """Students trained alike: method, how many, images each is trained and tested on, rate."""

    method: str
    students: int
    images: int
    tested: int
    rate: Callable[[int], StudentRate]

    def seconds(self, size: int) -> NDArray[np.float64]:
        """At an image size: before the first update, of one update, of the tests; all students."""
        rate = self.rate(size)
        tests = self.tested * (rate.decode + rate.predict)
        return self.students * np.array(
            [rate.start + self.images * rate.decode, rate.update, tests]
        )


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(Plan):
    """A plan whose number of updates is chosen again when the teachers have been run.

    `choose` gives the numbers for the time that is left; None without a budget or when resuming.
    """

    choose: Callable[[], dict[str, int]] | None
    explain: Callable[[Mapping[str, int]], str]
    saved: SavedChoice

    def settle(self, how: Distillation, runtime: Runtime) -> Distillation:
        """The distillation with the numbers that fit now; a ZooError if too little is left."""
        if self.budget is None:
            return how
        chosen = self.choose() if self.choose else self.chosen
        self.saved.save(chosen, runtime.warn)
        if self.choose:
            runtime.warn(self.explain(chosen))
        recipe = replace(how.recipe, updates=chosen["updates"])
        return replace(how, recipe=recipe, image_size=chosen["image_size"])


def plan_training(
    parts: Parts,
    methods: Sequence[Method],
    how: Distillation,
    teachers: TeacherWork,
    *,
    deadline: Deadline,
    runtime: Runtime,
    saved: SavedChoice,
    ending: Sequence[Step] = (),
) -> TrainingPlan:
    """Plan a student by each method on each part; a ZooError if the budget is too small."""
    timing.check_single_process()
    jobs = measure_jobs(parts, methods, how, teachers.widths, deadline, runtime)
    size, budget = how.image_size, deadline.budget
    for job in jobs:
        job.rate(size)  # measured now: the time spent includes it
    begun = Step("read and measure", len(parts[0][0]), "images", deadline.spent)
    resumed = saved.load("updates", "image_size") if budget else None
    chosen: Mapping[str, int] = resumed or {}

    def choose(*others: Step, perhaps: Sequence[Step] = ()) -> dict[str, int]:
        return choose_run(jobs, size, budget=budget or inf, spent=lambda: deadline.spent,
                          others=[*others, *ending], perhaps=perhaps)  # fmt: skip

    def explain(chosen: Mapping[str, int]) -> str:
        return explain_choice(jobs, size, chosen["updates"], chosen["image_size"])

    if budget and not resumed:
        chosen = choose(*teachers.sure, perhaps=teachers.perhaps)
    numbers = {"updates": how.recipe.updates, "image_size": size, **chosen}
    training = training_steps(jobs, numbers["updates"], numbers["image_size"])
    return TrainingPlan(
        (begun, *teachers.sure, *teachers.perhaps, *training, *ending),
        chosen,
        budget,
        (*teachers.warnings, *([timing.RESUMES] if resumed else [])),
        choose=choose if budget and not resumed else None,
        explain=explain,
        saved=saved,
    )


def choose_run(
    jobs: Sequence[TrainingJobs],
    wanted: int,
    *,
    budget: float,
    spent: Callable[[], float],
    others: Sequence[Step] = (),
    perhaps: Sequence[Step] = (),
) -> dict[str, int]:
    """As many `updates` as a budget of seconds holds, and the `image_size`: as wanted if it can be.

    Every student gets the same number. Images become smaller only where the budget holds less
    than `LEAST_UPDATES`. Steps of `others` are still to come; those of `perhaps` may come: they
    lower the number, but refuse no budget. `spent` is called anew for each size, because measuring
    takes time too. Raises a ZooError if the budget is too small.
    """
    if perhaps:
        with suppress(ZooError):
            return choose_run(jobs, wanted, budget=budget, spent=spent, others=[*others, *perhaps])
    size = wanted
    while True:
        before, update, tests = np.sum([job.seconds(size) for job in jobs], axis=0)
        gone = spent() + total_seconds(others) + before + tests
        updates = max(0.0, budget - gone) / update
        if updates >= LEAST_UPDATES:
            return {"updates": floor(updates), "image_size": size}
        # time grows with the area at least, so no larger size can fit
        guess = int(size * sqrt(updates / LEAST_UPDATES)) // GRID * GRID
        smaller = max(SMALLEST, min(guess, (size - 1) // GRID * GRID))
        if size <= SMALLEST or sum(job.rate(smaller).update for job in jobs) == inf:
            needed = gone + LEAST_UPDATES * update
            raise timing.too_small(budget, needed, f"{LEAST_UPDATES} updates at {size} px")
        size = smaller


def training_steps(jobs: Sequence[TrainingJobs], updates: int, size: int) -> list[Step]:
    """Preparing, training and testing."""
    before, _, tests = np.sum([job.seconds(size) for job in jobs], axis=0)
    train = [
        Step(f"train ({j.method})", j.students * updates, "updates", updates * j.seconds(size)[1])
        for j in jobs
    ]
    tested = sum(j.students * j.tested for j in jobs)
    test = [Step("test", tested, "images", tests)] if tested else []
    shown = sum(j.students * j.images for j in jobs)
    return [Step("prepare images", shown, "images", before), *train, *test]


def explain_choice(jobs: Sequence[TrainingJobs], wanted: int, updates: int, size: int) -> str:
    """What was chosen and why, in a line."""
    seconds, students = sum(j.seconds(size)[1] for j in jobs), sum(j.students for j in jobs)
    each = "an update" if students == 1 else f"an update of {students} students"
    less = f" At {wanted} px fewer than {LEAST_UPDATES} updates fit." if size != wanted else ""
    return (
        f"Chosen: {updates} updates at {size} px; {each} takes {seconds:.2f} s, and "
        f"{format_duration(updates * seconds)} are left for them.{less}"
    )


def measure_jobs(
    parts: Parts,
    methods: Sequence[Method],
    how: Distillation,
    widths: Sequence[int],
    deadline: Deadline,
    runtime: Runtime,
) -> list[TrainingJobs]:
    """The students of each method; those that are trained alike are measured once, when wanted."""
    kinds = {m: m if m in ("transfer", "fixmatch") else "distilled" for m in methods}
    found: dict[tuple[str, int], StudentRate] = {}
    decode: dict[int, float] = {}

    def rate(method: Method, size: int) -> StudentRate:
        if size not in decode:
            decode[size] = throughput.measure_decoding(parts[0][0], size)
        if (key := (kinds[method], size)) not in found:
            found[key] = measure_student(
                how.arch,
                len(parts[0][0].classes),
                how.by(method).recipe,
                teachers=widths if kinds[method] == "distilled" else None,
                image_size=size,
                seconds=deadline.measuring_time(len(set(kinds.values()))),
                device=choose_device(runtime.device),
                decode=decode[size],
            )
        return found[key]

    images = int(np.mean([len(train) for train, _ in parts]))
    tested = int(np.mean([len(test) if test else 0 for _, test in parts]))
    return [
        TrainingJobs(m, len(parts), images, tested, lambda size, m=m: rate(m, size))
        for m in methods
    ]


class _Done(Exception):
    """The measurement is over."""


def measure_student(
    arch: str,
    classes: int,
    recipe: Recipe,
    *,
    teachers: Sequence[int] | None,
    image_size: int,
    seconds: float,
    device: torch.device,
    decode: float = 0.0,
    clock: Callable[[], float] = timing.clock,
) -> StudentRate:
    """Time real updates of a student on noise; infinite if it rejects images of this size.

    `teachers` are the classes K_s of imitated teachers; empty for soft labels, None without
    teachers. At least three updates are made. `decode` is taken over.
    """
    began = clock()
    try:
        student = create_student(
            arch, classes, groups=group_heads(teachers or ()), start="random", image_size=image_size
        )
    except StudentError:
        return StudentRate(0.0, inf, decode, 0.0)
    start = clock() - began
    form = replace(IMAGENET, size=image_size)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, 3, image_size, image_size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.where(torch.arange(IMAGES) % 2 == 0, torch.arange(IMAGES) % classes, -1)
    targets, stamps = _uniform_targets(teachers, classes), list[float]()

    def progress(_done: int, _total: int) -> None:
        torch.zeros(1, device=device).tolist()  # waits for a GPU
        stamps.append(clock())
        if len(stamps) > WARMUP and stamps[-1] - stamps[WARMUP - 1] >= seconds:
            raise _Done

    try:
        fit(student, pixels, labels, replace(recipe, updates=10**6), targets=targets,
            preprocessing=form, device=device, progress=progress)  # fmt: skip
    except _Done:
        pass
    except (RuntimeError, AssertionError, ValueError, TypeError):
        return StudentRate(start, inf, decode, 0.0)
    update = (stamps[-1] - stamps[WARMUP - 1]) / (len(stamps) - WARMUP)
    network = student.network.eval()
    predict_pixels(network, pixels[:2], form, device=device)
    began = clock()
    predict_pixels(network, pixels[: IMAGES // 2], form, device=device)
    return StudentRate(start, update, decode, (clock() - began) / (IMAGES // 2))


def _uniform_targets(teachers: Sequence[int] | None, classes: int) -> Targets | None:
    """Teacher outputs in which all classes are equally likely."""
    if teachers is None:
        return None
    if not teachers:
        return SoftLabels(torch.full((IMAGES, classes), 1 / classes), accuracy=0.0)
    outputs = [
        SourceProbabilities.from_logits(np.zeros((IMAGES, width), np.float32)) for width in teachers
    ]
    return SourceTargets(tuple(outputs), (1 / len(teachers),) * len(teachers))
