"""distill_images: from a folder of images to a saved student, exactly what `zoo distill` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from distill.recipe import Recipe
from zoo.errors import ImagesError, TeacherBroken
from zoo.features.extraction import extract_together
from zoo.features.store import Features
from zoo.hub.pull import pull_required
from zoo.images.folder import Images
from zoo.images.source import ImageSource, check_output, load_images
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, SavedChoice, Step
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import find_card, list_cards

if TYPE_CHECKING:
    from distill.budget import TrainingPlan
    from distill.report.report import Report
    from distill.training.loop import Trained
    from distill.training.targets import Objective
    from distill.training.tensorboard import Record
    from zoo.features.throughput import ForwardPasses

Method = Literal["weighted", "nearest", "teachers", "transfer", "fixmatch"]
RANKED: frozenset[Method] = frozenset({"weighted", "nearest"})
"""Methods whose teachers come from a ranking."""

SAVING = Step("save student", 1, "students", 1.5)
"""The student, its report and its page."""


class TeacherRanking(Protocol):
    """What a ranking gives to distillation; `selection.Ranking` is one."""

    @property
    def zoo(self) -> str:
        """Where the teachers are."""
        ...

    @property
    def warnings(self) -> list[str]:
        """Why it may mislead."""
        ...

    def weights(self, power: float | None = None) -> dict[str, float]:
        """Share of each teacher, summing to 1."""
        ...

    def nearest(self) -> str:
        """The closest teacher."""
        ...

    def to_json(self) -> dict[str, Any]:
        """The ranking as JSON."""
        ...


class RankingWork(Protocol):
    """What a ranking is going to do; `selection.RankingWork` is one."""

    @property
    def cards(self) -> Sequence[TeacherCard]:
        """The teachers."""
        ...

    @property
    def passes(self) -> ForwardPasses:
        """Forward passes on all images."""
        ...

    @property
    def sample(self) -> Images:
        """The images that the teachers are run on."""
        ...

    @property
    def steps(self) -> Sequence[Step]:
        """Downloads, forward passes and scoring."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What is unavailable or unknown."""
        ...


class RankingTask(Protocol):
    """A ranking that can be planned and made; `selection.RankingJob` is one."""

    def run(self) -> TeacherRanking:
        """Make the ranking."""
        ...

    def measure(self, deadline: Deadline) -> RankingWork:
        """Find out what `run` is going to do."""
        ...


Ranker = Callable[[Images, str, Runtime], RankingTask]
"""Called as `ranker(images, zoo, runtime)`: a ranking to be made; `selection.ranker` is one."""


@dataclass(frozen=True)
class Distillation:
    """How a student is to be trained.

    Attributes:
        method: `weighted` or `nearest` teachers of a ranking, `teachers` named in `shares`, or no
            teachers: `transfer`, `fixmatch`.
        shares: share of each teacher by name, for the method `teachers`.
        objective: whether teachers are imitated in the target's classes or in their own.
        zoo: where the teachers are; None for the ranking's zoo, or `builtin`.
        power: share is score to this power; None for the shares in the ranking.
        arch: the student, an alias or timm's name.
        start: initial weights: `builtin`, `hub`, `random` or a folder.
        image_size: of the student, in pixels.
        recipe: numbers of the training run.

    Example:
        >>> from distill import Distillation
        >>> Distillation(method="transfer", arch="mobilenetv3_small")
    """

    method: Method = "weighted"
    shares: Mapping[str, float] = field(default_factory=lambda: {})
    objective: Objective = "target"
    zoo: str | None = None
    power: float | None = None
    arch: str = "mobilenetv3"
    start: str = "builtin"
    image_size: int = 64
    recipe: Recipe = field(default_factory=Recipe)

    def by(self, method: Method) -> Distillation:
        """The same for another method, with FixMatch's term where it belongs."""
        recipe = replace(self.recipe, fixmatch_weight=1.0) if method == "fixmatch" else self.recipe
        return replace(self, method=method, recipe=recipe)

    def resolve(self, runtime: Runtime) -> Distillation:
        """The same with timm's name of the student.

        Raises:
            ZooError: the network or device does not exist, or does not take images of this size.
        """
        # torch and timm load here, after everything that can be wrong without them
        from distill.student import check_size, find_arch
        from zoo.system.devices import choose_device

        choose_device(runtime.device)
        arch = find_arch(self.arch)
        check_size(arch, self.image_size)
        return replace(self, arch=arch).by(self.method)


@dataclass(frozen=True)
class Teachers:
    """The teachers of a student.

    Attributes:
        cards: of the teachers.
        shares: of each by name, summing to 1.
        features: outputs of each for the images; empty before they are run.
        ranking: that the shares come from, if any.
    """

    cards: Sequence[TeacherCard] = ()
    shares: Mapping[str, float] = field(default_factory=lambda: {})
    features: Mapping[str, Features] = field(default_factory=lambda: {})
    ranking: TeacherRanking | None = None


def distill_images(
    images: str | Path | ImageSource | Images,
    how: Distillation | None = None,
    *,
    ranking: TeacherRanking | None = None,
    ranker: Ranker | None = None,
    test: str | Path | Images | None = None,
    save: str | Path = "student",
    overwrite: bool = False,
    tensorboard: Path | None = None,
    command: str = "",
    runtime: Runtime | None = None,
) -> Report:
    """Train a student from images and teachers, test and save it, as `zoo distill` does.

    Args:
        images: a folder, an `ImageSource`, or images that are read already; some labeled.
        how: method, student and recipe; the defaults of `Distillation` if not given.
        ranking: of the teachers on these images.
        ranker: makes the ranking where a method needs one and none is given: `selection.ranker`.
        test: held-out labeled images, or their folder.
        save: folder for the student, its model card and report.
        overwrite: whether a student in that folder may be replaced.
        tensorboard: folder for the losses as TensorBoard shows them.
        command: command line to state in the report.
        runtime: device, cache, progress and processes.

    Raises:
        ZooError: the images, a teacher with a share, the student or the folder cannot be used.

    Example:
        >>> from distill import Distillation, distill_images
        >>> from selection import rank_images
        >>> report = distill_images("imgs", Distillation(), ranking=rank_images("imgs"))
        >>> report.teachers
    """
    runtime = runtime or Runtime()
    read = load_images(images, runtime)
    return DistillationJob(
        read,
        how or Distillation(),
        ranking=ranking,
        ranker=ranker,
        test=load_test(test, read, runtime),
        save=Path(save),
        overwrite=overwrite,
        tensorboard=tensorboard,
        command=command,
        runtime=runtime,
    ).run()


@dataclass(frozen=True)
class DistillationJob:
    """A student before it is trained: it can be planned, and run. See `distill_images`."""

    images: Images
    how: Distillation = field(default_factory=Distillation)
    ranking: TeacherRanking | None = None
    ranker: Ranker | None = None
    test: Images | None = None
    save: Path = Path("student")
    overwrite: bool = False
    tensorboard: Path | None = None
    command: str = ""
    runtime: Runtime = field(default_factory=Runtime)

    def check(self) -> None:
        """Refuse outputs that may not be written, before any work.

        Raises:
            ZooError: the student or its curves may not be saved where they shall be.
        """
        from distill.report.student_folder import check_folder
        from distill.training.tensorboard import check_extra

        places = [*source_of(self.images).folders, *([self.test.root] if self.test else [])]
        check_folder(self.save, overwrite=self.overwrite, images=places)
        if self.tensorboard:
            check_extra()
            for place in places:
                check_output(self.tensorboard, ImageSource(place), "--tensorboard")

    def run(self, plan: TrainingPlan | None = None) -> Report:
        """Train, test and save the student; see `distill_images`.

        Args:
            plan: what a budget chose; the number of updates is settled when the teachers were run.
        """
        from distill.report.student_folder import check_folder, save_student
        from distill.training.tensorboard import event_file

        self.check()
        messages: list[str] = []
        runtime, how = self.runtime.collect(messages), self.how.resolve(self.runtime)
        with (
            runtime.join() as joined,
            event_file(self.tensorboard if joined.processes.is_first else None) as record,
        ):
            teachers = prepare_teachers(
                how, self.images, joined, ranking=self.ranking, ranker=self.ranker
            )
            how = plan.settle(how, self.runtime) if plan else how
            trained = train_student(how, teachers, self.images, joined, record)
            first = joined.processes.is_first
        report = self._report(how, teachers, trained, messages, tested=first)
        if not first:
            return report
        check_folder(self.save, overwrite=self.overwrite)  # another run may have come first
        ranking = teachers.ranking.to_json() if teachers.ranking else None
        warning = save_student(trained, report, self.save, cards=teachers.cards, ranking=ranking)
        if warning:
            self.runtime.warn(warning)
            return replace(report, notes=(*report.notes, warning))
        return report

    def _report(
        self,
        how: Distillation,
        teachers: Teachers,
        trained: Trained,
        messages: Sequence[str],
        *,
        tested: bool,
    ) -> Report:
        """The report of a trained student, which is evaluated as it will be saved."""
        from distill.evaluation.evaluate import evaluate
        from distill.report.report import Report
        from distill.student import round_as_saved
        from zoo.system.devices import choose_device

        images, result = self.images, None
        round_as_saved(trained.network)
        if self.test is not None and tested:
            form, device = trained.preprocessing, choose_device(self.runtime.device)
            result = evaluate(trained.network, self.test, images.classes, form, device=device)
        further = [describe_overlap(images, self.test), trained.warning]
        for message in filter(None, further):
            self.runtime.warn(message)
        return Report(
            method=how.method,
            arch=how.arch,
            start=how.start,
            target=str(source_of(images).target.absolute()),
            classes=images.classes,
            labeled=images.labeled,
            unlabeled=len(images) - images.labeled,
            skipped=len(images.skipped),
            teachers=dict(teachers.shares),
            objective=how.objective if teachers.shares else None,
            recipe=how.recipe,
            image_size=how.image_size,
            seconds=trained.seconds,
            student=str(self.save),
            evaluation=result,
            notes=tuple(dict.fromkeys(filter(None, (*messages, *further)))),
            digest=images.digest,
            command=self.command,
            soft_label_accuracy=trained.soft_label_accuracy,
        )

    def plan(self, deadline: Deadline | None = None) -> TrainingPlan:
        """What `run` is going to do, with times measured on this machine; nothing is fetched.

        Raises:
            ZooError: something that can be known before is wrong, or the budget is too small.
        """
        from distill.budget import plan_training

        self.check()
        deadline = deadline or Deadline()
        how = self.how.resolve(self.runtime)
        depends = (self.images.digest, self.test and self.test.digest, how, deadline.budget)
        return plan_training(
            [(self.images, self.test)],
            [how.method],
            how,
            plan_teachers(
                how,
                self.images,
                deadline,
                self.runtime,
                ranking=self.ranking,
                ranker=self.ranker,
            ),
            deadline=deadline,
            runtime=self.runtime,
            saved=SavedChoice.of(self.runtime.cache, *depends),
            ending=[SAVING],
        )


def source_of(images: Images) -> ImageSource:
    """Where images come from."""
    return images.source or ImageSource(images.root)


def choose_shares(
    how: Distillation,
    images: Images,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None,
    ranker: Ranker | None,
) -> tuple[Mapping[str, float], TeacherRanking | None]:
    """Shares of the teachers and the ranking they come from.

    Raises:
        ValueError: the method needs a ranking, and neither it nor a ranker is given.
        RankingError: the teachers cannot be ranked, or none is close.
    """
    if how.method not in RANKED:
        return how.shares, None
    if ranking is None:
        if ranker is None:
            raise ValueError(f"the method {how.method!r} needs a ranking or a ranker")
        ranking = ranker(images, how.zoo or "builtin", runtime).run()
        runtime.warn("No ranking of these images was found: the teachers were ranked first.")
    for message in ranking.warnings:
        runtime.warn(message)
    if how.method == "nearest":
        return {ranking.nearest(): 1.0}, ranking
    return ranking.weights(how.power), ranking


def prepare_teachers(
    how: Distillation,
    images: Images,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None = None,
    ranker: Ranker | None = None,
) -> Teachers:
    """Choose the teachers of a student, bring them to this machine and run them on its images.

    A teacher without a classifier cannot be imitated in its own classes: with the objective
    `source` its share goes to the others.

    Raises:
        ZooError: a teacher with a share is unknown, unavailable or fails, or none is left.
    """
    shares, ranking = choose_shares(how, images, runtime, ranking=ranking, ranker=ranker)
    if not shares:
        return Teachers(ranking=ranking)
    listed = list_cards(how.zoo or (ranking.zoo if ranking else "all"))
    cards = pull_required([find_card(name, listed) for name in shares], runtime, "for training")
    headless = [card.name for card in cards if how.objective == "source" and not card.classes]
    used = [card for card in cards if card.name not in headless]
    if headless and not used:
        raise TeacherBroken(
            f"{', '.join(headless)} has no classifier to imitate: name a teacher that has one, "
            "with --teacher."
        )
    if headless:
        runtime.warn(f"No classifier to imitate, so share 0: {', '.join(headless)}.")
    outputs = extract_together(used, images, runtime)
    for name, reason in outputs.failures.items():
        raise TeacherBroken(f"The teacher {name!r} cannot be used: {reason}")
    for message in outputs.warnings:
        runtime.warn(message)
    total = sum(shares[card.name] for card in used)
    used_shares = {card.name: shares[card.name] / total for card in used}
    return Teachers(used, used_shares, outputs.features, ranking)


@dataclass(frozen=True)
class TeacherWork:
    """What comes before training.

    Attributes:
        sure: steps that will be done.
        perhaps: steps that may be needed, depending on the ranking.
        widths: classes of the teachers that are imitated in their own classes.
        warnings: what is unavailable or unknown.
    """

    sure: Sequence[Step] = ()
    perhaps: Sequence[Step] = ()
    widths: Sequence[int] = ()
    warnings: Sequence[str] = ()


def plan_teachers(
    how: Distillation,
    images: Images,
    deadline: Deadline,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None,
    ranker: Ranker | None,
    methods: Sequence[Method] | None = None,
    rankings: int = 1,
) -> TeacherWork:
    """The work of `prepare_teachers` for students of some methods.

    Args:
        how: of the students.
        images: of all of them.
        deadline: of the command.
        runtime: device and cache.
        ranking: of the teachers, if there is one.
        ranker: makes it otherwise.
        methods: of the students; that of `how` if not given.
        rankings: how many are made.
    """
    from zoo.features.throughput import plan_passes

    methods = methods or [how.method]
    if not {*RANKED, "teachers"}.intersection(methods):
        return TeacherWork()
    if RANKED.isdisjoint(methods) or ranking or ranker is None:
        shares, _ = choose_shares(how, images, runtime, ranking=ranking, ranker=None)
        listed = list_cards(how.zoo or (ranking.zoo if ranking else "all"))
        cards = [find_card(name, listed) for name, share in shares.items() if share > 0]
        passes, fetching, warnings = plan_passes(cards, images, deadline, runtime)
        sure, perhaps = [*fetching, passes.step("run teachers", images.digests)], []
    else:
        work = ranker(images, how.zoo or "builtin", runtime).measure(deadline)
        cards, warnings = work.cards, work.warnings
        sure = [_repeat(step, rankings) if step.unit == "scores" else step for step in work.steps]
        rest = {*images.digests} - {*work.sample.digests}
        alone = {"weighted", "teachers"}.isdisjoint(methods)
        more = "run teachers with a share, at most"
        perhaps = [work.passes.step(more, rest, slowest=alone)]
    widths = [card.classes for card in cards if card.classes] if how.objective == "source" else []
    sure, perhaps = ([step for step in steps if step.count] for steps in (sure, perhaps))
    return TeacherWork(sure, perhaps, widths, warnings)


def _repeat(step: Step, times: int) -> Step:
    return replace(step, count=times * step.count, seconds=times * (step.seconds or 0.0))


def train_student(
    how: Distillation,
    teachers: Teachers,
    images: Images,
    runtime: Runtime,
    record: Record | None = None,
) -> Trained:
    """Train a student by the outputs of its teachers; see `train` for `record`.

    Raises:
        ZooError: the student cannot be trained.
    """
    from distill.training.loop import train
    from zoo.system.devices import choose_device

    return train(
        images,
        how.recipe,
        arch=how.arch,
        features=teachers.features,
        shares=teachers.shares,
        objective=how.objective,
        start=how.start,
        image_size=how.image_size,
        device=choose_device(runtime.device),
        checkpoints=runtime.cache / "runs",
        processes=runtime.processes,
        progress=runtime.progress(f"training ({how.method})"),
        record=record,
    )


def load_test(test: str | Path | Images | None, images: Images, runtime: Runtime) -> Images | None:
    """The labeled ones of held-out images that can test a student of these images.

    Raises:
        ImagesError: none is labeled, or one is of a class that the images lack.
    """
    if test is None:
        return None
    if not isinstance(test, Images):
        quiet = replace(runtime, warn=lambda _: None)
        test = ImageSource(Path(test)).read(quiet, need_labels=False)
    if not test.labeled:
        raise ImagesError(f"{test.root} has no labeled image to test on: add class sub-folders.")
    if unknown := sorted(set(test.classes) - set(images.classes)):
        raise ImagesError(
            f"{test.root} has the class {unknown[0]!r}, which {images.root} lacks: "
            f"it has {', '.join(images.classes)}."
        )
    return test.subset(np.flatnonzero(test.labels >= 0))


def describe_overlap(images: Images, test: Images | None) -> str:
    """A warning if labeled training images are tested on; else empty."""
    if test is None:
        return ""
    known = {d for d, label in zip(images.digests, images.labels, strict=True) if label >= 0}
    twice = sum(digest in known for digest in test.digests)
    if not twice:
        return ""
    return (
        f"{twice} of {len(test)} test images are labeled training images too, so the accuracy is "
        "too high: test on other images."
    )
