"""Plans of training: how fast a student trains here, and how many updates a budget holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
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
from distill.training.targets import SoftLabels, Targets, group_heads, source_targets
from zoo.errors import StudentError, ZooError
from zoo.features import throughput
from zoo.features.store import Features
from zoo.system import timing
from zoo.system.devices import choose_device
from zoo.system.timing import Deadline, Plan, SavedChoice, Step, format_duration, total_seconds
from zoo.teachers.starts import IMAGENET

if TYPE_CHECKING:
    from distill.teachers import TeacherWork
    from zoo.images.folder import Images
    from zoo.system.runtime import Runtime

LEAST_UPDATES = 100
"""Fewer train no student: the average over the weights has a memory of a hundred."""
SMALLEST, GRID = 32, 16
"""Image sizes to fall back to, in pixels: not below the first, multiples of the second."""
FEW, MANY = 8, 64
"""Images of measured runs: what more of them take tells an image from what is done once."""
LABELS_ALONE = frozenset({"transfer", "probe"})
"""Methods that learn nothing from images without a label."""


@dataclass(frozen=True)
class StudentRate:
    """Seconds: once; per image before the first update; per update; per prediction."""

    start: float
    image: float
    update: float
    predict: float


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(Plan):
    """`seeds` students by each method on each part: images to train on and to test on.

    `size` is the wanted image size, `decode` the seconds to decode an image; `rate` has those of a
    student by method and image size. Steps of `ending` come after training. The numbers are chosen
    `again` after the teachers ran, unless an interrupted run is resumed.
    """

    parts: Sequence[tuple[Images, Images | None]]
    methods: Sequence[Method]
    size: int
    deadline: Deadline
    saved: SavedChoice
    decode: float
    rate: Callable[[Method, int], StudentRate]
    ending: Sequence[Step] = ()
    seeds: int = 1
    again: bool = False

    def training(self, updates: int, size: int) -> list[Step]:
        """Preparing, training, testing and what comes after."""
        runs, count = self.seeds * len(self.parts), len(self.methods)
        images = self.seeds * sum(len(train) for train, _ in self.parts)
        labeled = self.seeds * sum(train.labeled for train, _ in self.parts)
        tested = self.seeds * sum(len(test) for _, test in self.parts if test)
        before, tests, training = 0.0, 0.0, list[Step]()
        for method in self.methods:
            rate = self.rate(method, size)
            seen = labeled if method in LABELS_ALONE else images
            before += runs * rate.start + images * self.decode + seen * rate.image
            tests += tested * (self.decode + rate.predict)
            if method != "probe":
                seconds = runs * updates * rate.update
                training.append(Step(f"train ({method})", runs * updates, "updates", seconds))
        testing = [Step("test", count * tested, "images", tests)] if tested else []
        preparing = Step("prepare images", count * images, "images", before)
        return [preparing, *training, *testing, *self.ending]

    def cost(self, size: int) -> tuple[float, float]:
        """Seconds of an update of all students, and of all that is not an update."""
        steps = self.training(1, size)
        update = total_seconds(step for step in steps if step.unit == "updates")
        return update, total_seconds(step for step in steps if step.unit != "updates")

    def choose(self, before: Sequence[Step] = ()) -> dict[str, int]:
        """As many `updates` as the budget holds, the same for all, and the `image_size`.

        Images become smaller only where less than `LEAST_UPDATES` fit. Some steps may come before.
        Probes have no updates: of them alone only the size is chosen. A ZooError if the budget is
        too small.
        """
        size, budget = self.size, self.deadline.budget or inf
        update, rest = self.cost(size)
        least, what = (LEAST_UPDATES, f"{LEAST_UPDATES} updates") if update else (0, "a probe")
        while True:
            fixed = self.deadline.spent + total_seconds(before) + rest  # measuring takes time
            left, needed = budget - fixed, least * update
            if left >= needed:
                return {**({"updates": floor(left / update)} if update else {}), "image_size": size}
            refusal = timing.too_small(budget, fixed + needed, f"{what} at {size} px")
            # time grows with the area at least, so no larger size can fit
            available, wanted = (left, needed) if update else (left + rest, rest)
            if size <= SMALLEST or not wanted:
                raise refusal
            guess = int(size * sqrt(max(0.0, available / wanted))) // GRID * GRID
            size = max(SMALLEST, min(guess, (size - 1) // GRID * GRID))
            try:
                update, rest = self.cost(size)
            except StudentError:
                raise refusal from None

    def explain(self, updates: int, image_size: int) -> str:
        """What was chosen and why, in a line."""
        seconds, _ = self.cost(image_size)
        if not seconds:
            return f"Chosen: {image_size} px."
        students = self.seeds * len(self.parts) * len(self.methods)
        each = "an update" if students == 1 else f"an update of {students} students"
        fewer = f" At {self.size} px fewer than {LEAST_UPDATES} updates fit."
        return (
            f"Chosen: {updates} updates at {image_size} px; {each} takes {seconds:.2f} s, and "
            f"{format_duration(updates * seconds)} are left for them."
            f"{fewer if image_size != self.size else ''}"
        )

    def settle(self, how: Distillation, runtime: Runtime) -> Distillation:
        """The distillation with the numbers that fit now; with the least if the teachers were slow.

        To give up would lose what they have cost.
        """
        if self.budget is None:
            return how
        chosen = {**self.chosen}
        if self.again:
            try:
                chosen |= self.choose()
                runtime.warn(self.explain(chosen.get("updates", 0), chosen["image_size"]))
            except ZooError:
                if "updates" in chosen:
                    chosen["updates"] = LEAST_UPDATES
                least = f"{chosen['updates']} updates" if "updates" in chosen else "training"
                runtime.warn(
                    f"What came before training took longer than was measured: {least} at "
                    f"{chosen['image_size']} px will end after the budget."
                )
        self.saved.save(chosen, runtime.warn)
        recipe = replace(how.recipe, updates=chosen.get("updates", how.recipe.updates))
        return replace(how, recipe=recipe, image_size=chosen["image_size"])


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
    """Plan students by each method on each part; a ZooError if the budget is too small.

    Of several numbers of `seeds`, in descending order, a budget gets the first that leaves the
    recipe's updates and image size to each student, or the last; without a budget it is the first.
    """
    images, device = parts[0][0], choose_device(runtime.device)
    # students with teachers are trained alike, whoever chose these
    kinds: dict[Method, Method] = {m: "weighted" if m in DISTILLED else m for m in methods}
    seconds = deadline.measuring_time(len({*kinds.values()}))

    @cache
    def measure(method: Method, size: int) -> StudentRate:
        widths = teachers.widths if method in DISTILLED else None
        student = replace(how, method=method, image_size=size)
        count = images.labeled if method in LABELS_ALONE else len(images)
        return measure_student(student, count, len(images.classes), widths, seconds, device)

    plan = TrainingPlan(
        (), parts=parts, methods=methods, size=how.size, deadline=deadline, saved=saved,
        decode=throughput.measure_decoding(images, how.size), ending=ending,
        rate=lambda method, size: measure(kinds[method], size), budget=deadline.budget,
    )  # fmt: skip
    chosen = saved.load() if deadline.budget else {}
    warnings = (*teachers.warnings, *([timing.RESUMES] if chosen else []))
    again = bool(deadline.budget and not chosen)
    if again and len(methods) * len(parts) > 1:
        # many students at their own size take a minute to measure: refuse before what never fits
        with suppress(StudentError):
            replace(plan, seeds=seeds[-1], size=SMALLEST).choose(teachers.steps)
    for count in seeds if again else ():
        with suppress(ZooError) if count != seeds[-1] else nullcontext():
            chosen = replace(plan, seeds=count).choose(teachers.steps)
            chosen |= {"seeds": count} if len(seeds) > 1 else {}
            enough = chosen.get("updates", how.recipe.updates) >= how.recipe.updates
            if enough and chosen["image_size"] == how.size:
                break
    numbers = {"updates": how.recipe.updates, "image_size": how.size, "seeds": seeds[0], **chosen}
    plan = replace(plan, chosen=chosen, warnings=warnings, again=again, seeds=numbers["seeds"])
    training = plan.training(numbers["updates"], numbers["image_size"])
    begun = Step("read and measure", len(images), "images", deadline.spent)
    return replace(plan, steps=(begun, *teachers.steps, *training))


class _Done(Exception):
    """The measurement is over."""


def measure_student(
    how: Distillation,
    images: int,
    classes: int,
    teachers: Sequence[int] | None,
    seconds: float,
    device: torch.device,
) -> StudentRate:
    """Time real runs of a student on noise, of few images and of many; a StudentError if it fails.

    They stand for a run of the recipe's updates on so many images, see `keeps_outputs`: where a
    budget leaves another number of updates, that run may choose otherwise and is faster than this.
    `teachers` are the classes K_s of imitated teachers; empty for soft labels, None without
    teachers. Updates are timed for so many seconds, one at least.
    """
    form, shape = replace(IMAGENET, size=how.size), (MANY, 3, how.size, how.size)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    other = 0 if how.method in LABELS_ALONE else -1
    labels = torch.tensor([classes - 1, other, 0, other]).repeat(MANY // 4)
    wanted = how.method_recipe
    recipe = replace(wanted, updates=10**6 if wanted.updates else 0)
    groups = group_heads(teachers or ())

    def run(count: int, seconds: float) -> tuple[float, float, float]:
        """Seconds to the end of the first update, of one more, and to predict all images."""
        began, ends = timing.clock(), list[float]()

        def progress(_done: int, _total: int) -> None:
            torch.zeros(1, device=device).tolist()  # waits for a GPU
            ends.append(timing.clock())
            if ends[-1] - ends[0] >= seconds:
                raise _Done

        student = create_student(how.arch, classes, groups=groups, start="random",
                                 image_size=how.size)  # fmt: skip
        with suppress(_Done):
            fit(student, pixels[:count], labels[:count], recipe, device=device,
                targets=_uniform_targets(teachers, classes, count), preprocessing=form,
                pretrained=how.start != "random", progress=progress,
                stands_for=(images, wanted.updates))  # fmt: skip
            ends.append(timing.clock())  # of a probe, which has no updates
        ended = timing.clock()
        predict_pixels(student.network, pixels[:count], form, device=device)
        predicted = timing.clock() - ended
        return ends[0] - began, (ends[-1] - ends[0]) / max(1, len(ends) - 1), predicted

    try:
        run(FEW, 0)  # initializes libraries
        few, many = run(FEW, 0), run(MANY, seconds)
    except (StudentError, RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise StudentError(
            f"An update of {how.arch} at {how.size} px could not be measured: leave out --budget "
            "and --dry-run, or choose another --arch or --image-size."
        ) from error
    predict = max(0.0, (many[2] - few[2]) / (MANY - FEW))
    # every image goes through the network once, if not for the head then for batch norms
    image = max(predict, (many[0] - few[0]) / (MANY - FEW))
    return StudentRate(max(0.0, few[0] - FEW * image - many[1]), image, many[1], predict)


def _uniform_targets(teachers: Sequence[int] | None, classes: int, images: int) -> Targets | None:
    """Teacher outputs in which all classes are equally likely."""
    if teachers is None:
        return None
    if not teachers:
        return SoftLabels(torch.full((images, classes), 1 / classes), accuracy=0.0)
    none = np.empty((images, 0), np.float32)
    logits = [np.zeros((images, width), np.float32) for width in teachers]
    features = {str(place): Features(none, each) for place, each in enumerate(logits)}
    return source_targets(features, dict.fromkeys(features, 1 / len(features)))
