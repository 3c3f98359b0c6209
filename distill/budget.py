"""Plans of training: how fast a student trains here, and how many updates a budget holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from math import floor, inf, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from distill.evaluation.evaluate import predict_pixels
from distill.recipe import DISTILLED, Distillation, Method
from distill.student import create_student
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
from zoo.teachers.starts import IMAGENET

if TYPE_CHECKING:
    from distill.teachers import TeacherWork
    from zoo.images.folder import Images
    from zoo.system.runtime import Runtime

NO_TIME = 1e-9
"""Seconds of an update of a method that has none."""
LEAST_UPDATES = 100
"""Fewer train no student: the average over the weights has a memory of a hundred."""
SMALLEST, GRID = 32, 16
"""Image sizes to fall back to, in pixels: not below the first, multiples of the second."""
IMAGES, WARMUP = 128, 2
"""Random images of a measurement, and its first updates, which do not count."""


@dataclass(frozen=True)
class StudentRate:
    """Seconds: to build a student; per image, for all its views; per update; per prediction."""

    start: float
    views: float
    update: float
    predict: float


@dataclass(frozen=True)
class TrainingJobs:
    """By each of some methods `students`, trained and tested on so many images.

    `decode` has the seconds of an image at an image size, `rate` those of a student by its method.
    """

    methods: Sequence[Method]
    students: int
    images: int
    labeled: int
    tested: int
    decode: Callable[[int], float]
    rate: Callable[[Method, int], StudentRate]

    def times(self, seeds: int) -> TrainingJobs:
        """The same with so many students in place of each."""
        return replace(self, students=self.students * seeds)

    def seconds(self, size: int) -> tuple[float, dict[str, float], float]:
        """Of all students: before the first update, of one update by method, and of the tests."""
        decode = self.decode(size)
        rates = {method: self.rate(method, size) for method in self.methods}
        seen = {m: self.labeled if m in ("transfer", "probe") else self.images for m in rates}
        before = sum(
            rate.start + self.images * decode + seen[method] * rate.views
            for method, rate in rates.items()
        )
        updates = {
            method: self.students * (NO_TIME if method == "probe" else rate.update)
            for method, rate in rates.items()
        }
        tests = sum(self.tested * (decode + rate.predict) for rate in rates.values())
        return self.students * before, updates, self.students * tests

    def train_at(self, size: int) -> bool:
        """Whether every student accepts images of this size."""
        return inf not in self.seconds(size)[1].values()

    def steps(self, updates: int, size: int) -> list[Step]:
        """Preparing, training and testing."""
        before, each, tests = self.seconds(size)
        students = len(self.methods) * self.students
        return [
            Step("prepare images", students * self.images, "images", before),
            *(
                Step(f"train ({method})", self.students * updates, "updates", updates * seconds)
                for method, seconds in each.items()
            ),
            *([Step("test", students * self.tested, "images", tests)] if self.tested else []),
        ]

    def choose(
        self,
        wanted: int,
        deadline: Deadline,
        others: Sequence[Step] = (),
        perhaps: Sequence[Step] = (),
    ) -> dict[str, int]:
        """As many `updates` as the budget holds, and the `image_size`: as wanted if it can be.

        Every student gets the same number. Images become smaller only where the budget holds less
        than `LEAST_UPDATES`. Steps of `others` are still to come; those of `perhaps` may come: they
        lower the number, but refuse no budget. Raises a ZooError if the budget is too small.
        """
        if perhaps:
            with suppress(ZooError):
                return self.choose(wanted, deadline, [*others, *perhaps])
        size, budget = wanted, deadline.budget or inf
        while True:
            before, each, tests = self.seconds(size)
            update = sum(each.values())
            gone = deadline.spent + total_seconds(others) + before + tests  # measuring takes time
            updates = max(0.0, budget - gone) / update
            if updates >= LEAST_UPDATES:
                return {"updates": floor(updates), "image_size": size}
            # time grows with the area at least, so no larger size can fit
            guess = int(size * sqrt(updates / LEAST_UPDATES)) // GRID * GRID
            smaller = max(SMALLEST, min(guess, (size - 1) // GRID * GRID))
            if size <= SMALLEST or not self.train_at(smaller):
                needed = gone + LEAST_UPDATES * update
                raise timing.too_small(budget, needed, f"{LEAST_UPDATES} updates at {size} px")
            size = smaller

    def explain(self, wanted: int, updates: int, image_size: int) -> str:
        """What was chosen and why, in a line."""
        seconds = sum(self.seconds(image_size)[1].values())
        students = len(self.methods) * self.students
        each = "an update" if students == 1 else f"an update of {students} students"
        fewer = f" At {wanted} px fewer than {LEAST_UPDATES} updates fit."
        return (
            f"Chosen: {updates} updates at {image_size} px; {each} takes {seconds:.2f} s, and "
            f"{format_duration(updates * seconds)} are left for them."
            f"{fewer if image_size != wanted else ''}"
        )


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(Plan):
    """A plan whose numbers are chosen `again` when the teachers have been run.

    Not so without a budget, or when an interrupted run is resumed.
    """

    jobs: TrainingJobs
    deadline: Deadline
    ending: Sequence[Step]
    again: bool
    saved: SavedChoice

    def settle(self, how: Distillation, runtime: Runtime) -> Distillation:
        """The distillation with the numbers that fit now; a ZooError if too little is left."""
        if self.budget is None:
            return how
        chosen = self.chosen
        if self.again:
            now = self.jobs.choose(how.size, self.deadline, self.ending)
            runtime.warn(self.jobs.explain(how.size, **now))
            chosen = {**chosen, **now}
        self.saved.save(chosen, runtime.warn)
        recipe = replace(how.recipe, updates=chosen["updates"])
        return replace(how, recipe=recipe, image_size=chosen["image_size"]).by(how.method)


def plan_training(
    parts: Sequence[tuple[Images, Images | None]],
    methods: Sequence[Method],
    how: Distillation,
    teachers: TeacherWork,
    *,
    deadline: Deadline,
    runtime: Runtime,
    saved: SavedChoice,
    ending: Sequence[Step] = (),
    seeds: Sequence[int] = (1,),
) -> TrainingPlan:
    """Plan students by each method on each part, images to train on and to test on.

    Of several numbers of `seeds`, in descending order, a budget gets the first that leaves the
    recipe's updates and image size to each student, or the last; without a budget it is the first.

    Raises:
        ZooError: the budget is too small.
    """
    kinds = {m: "distilled" if m in DISTILLED else m for m in methods}
    seconds = deadline.measuring_time(len(set(kinds.values())))
    images, device = parts[0][0], choose_device(runtime.device)

    @cache
    def rate(kind: str, size: int) -> StudentRate:
        method: Method = next(method for method in methods if kinds[method] == kind)
        widths = teachers.widths if kind == "distilled" else None
        return measure_student(how.by(method), len(images.classes), widths, size, seconds, device)

    jobs = TrainingJobs(
        methods,
        len(parts),
        int(np.mean([len(train) for train, _ in parts])),
        int(np.mean([train.labeled for train, _ in parts])),
        int(np.mean([len(test) if test else 0 for _, test in parts])),
        cache(lambda size: throughput.measure_decoding(images, size)),
        lambda method, size: rate(kinds[method], size),
    )
    names = ["updates", "image_size", *(["seeds"] if len(seeds) > 1 else [])]
    resumed = saved.load(*names) if deadline.budget else None
    chosen, again = resumed or {}, bool(deadline.budget and not resumed)
    others = [*teachers.sure, *ending]
    if again and len(methods) * len(parts) > 1 and jobs.train_at(SMALLEST):
        # many students at their own size take a minute to measure: refuse before what never fits
        jobs.times(seeds[-1]).choose(SMALLEST, deadline, others)
    if not jobs.train_at(how.size):  # measured now: the time spent includes it
        raise StudentError(
            f"An update of {how.arch} at {how.size} px could not be measured: leave out --budget "
            "and --dry-run, or choose another --arch or --image-size."
        )
    begun = Step("read and measure", len(images), "images", deadline.spent)
    if again:
        chosen = _choose_seeds(jobs, seeds, how, deadline, others, teachers.perhaps)
    jobs = jobs.times(chosen.get("seeds", seeds[0]))
    training = jobs.steps(
        chosen.get("updates", how.recipe.updates), chosen.get("image_size", how.size)
    )
    return TrainingPlan(
        (begun, *teachers.sure, *teachers.perhaps, *training, *ending),
        chosen,
        deadline.budget,
        (*teachers.warnings, *([timing.RESUMES] if resumed else [])),
        jobs=jobs,
        deadline=deadline,
        ending=ending,
        again=again,
        saved=saved,
    )


def _choose_seeds(
    jobs: TrainingJobs,
    seeds: Sequence[int],
    how: Distillation,
    deadline: Deadline,
    others: Sequence[Step],
    perhaps: Sequence[Step],
) -> dict[str, int]:
    """What `TrainingJobs.choose` does, and the number of `seeds` where there are several."""
    *more, least = seeds
    for count in more:
        with suppress(ZooError):
            chosen = jobs.times(count).choose(how.size, deadline, others, perhaps)
            if chosen["updates"] >= how.recipe.updates and chosen["image_size"] == how.size:
                return {**chosen, "seeds": count}
    chosen = jobs.times(least).choose(how.size, deadline, others, perhaps)
    return {**chosen, "seeds": least} if more else chosen


class _Done(Exception):
    """The measurement is over."""


def measure_student(
    how: Distillation,
    classes: int,
    teachers: Sequence[int] | None,
    image_size: int,
    seconds: float,
    device: torch.device,
) -> StudentRate:
    """Time real updates of a student on noise; infinite if it rejects images of this size.

    `teachers` are the classes K_s of imitated teachers; empty for soft labels, None without
    teachers. At least three updates are made.
    """
    began = timing.clock()
    groups = group_heads(teachers or ())
    try:
        student = create_student(
            how.arch, classes, groups=groups, start="random", image_size=image_size
        )
    except StudentError:
        return StudentRate(0.0, 0.0, inf, 0.0)
    start = timing.clock() - began
    form = replace(IMAGENET, size=image_size)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, 3, image_size, image_size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    rows = torch.arange(IMAGES)
    # half are labeled; the last class is among them, whatever the number of classes
    labels = torch.where(rows % 2 == 0, (classes - 1 - rows // 2) % classes, -1)
    stamps: list[float] = []
    began = timing.clock()

    def progress(_done: int, _total: int) -> None:
        torch.zeros(1, device=device).tolist()  # waits for a GPU
        stamps.append(timing.clock())
        if len(stamps) > WARMUP and stamps[-1] - stamps[WARMUP - 1] >= seconds:
            raise _Done

    try:
        fit(student, pixels, labels, replace(how.recipe, updates=10**6, views=1), device=device,
            targets=_uniform_targets(teachers, classes), preprocessing=form,
            pretrained=how.start != "random", progress=progress)  # fmt: skip
    except _Done:
        pass
    except (RuntimeError, AssertionError, ValueError, TypeError):
        return StudentRate(start, 0.0, inf, 0.0)
    update = (stamps[-1] - stamps[WARMUP - 1]) / (len(stamps) - WARMUP)
    before = max(0.0, stamps[0] - began - update)
    network = student.network.eval()
    predict_pixels(network, pixels[:2], form, device=device)
    began = timing.clock()
    predict_pixels(network, pixels[: IMAGES // 2], form, device=device)
    predict = (timing.clock() - began) / (IMAGES // 2)
    # the head needs a prediction of each image; the rest is one view of it in the frozen part,
    # or what is done once, whatever the number of images
    seen = IMAGES // 2 if how.method == "transfer" else IMAGES
    view = min(max(0.0, before / seen - predict), 2 * predict) if how.recipe.frozen else 0.0
    once = max(0.0, before - seen * (predict + view))
    return StudentRate(start + once, predict + how.recipe.views * view, update, predict)


def _uniform_targets(teachers: Sequence[int] | None, classes: int) -> Targets | None:
    """Teacher outputs in which all classes are equally likely."""
    if teachers is None:
        return None
    if not teachers:
        return SoftLabels(torch.full((IMAGES, classes), 1 / classes), accuracy=0.0)
    logits = [np.zeros((IMAGES, width), np.float32) for width in teachers]
    even = (1 / len(teachers),) * len(teachers)
    return SourceTargets(tuple(map(SourceProbabilities.from_logits, logits)), even)
