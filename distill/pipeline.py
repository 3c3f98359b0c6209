"""distill_images: from a folder of images to a saved student, exactly what `zoo distill` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.recipe import Distillation
from distill.teachers import (
    Ranker,
    TeacherRanking,
    Teachers,
    check_ranker,
    plan_teachers,
    prepare_teachers,
)
from distill.training.tracking import Tracking
from zoo.errors import ImagesError
from zoo.images.folder import Images
from zoo.images.source import ImageSource, check_output, load_images, source_of
from zoo.images.warnings import check_dataset, describe_overlap
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, SavedChoice, Step
from zoo.teachers.starts import find_start

if TYPE_CHECKING:
    from distill.budget import TrainingPlan
    from distill.evaluation.rejection import Rejection
    from distill.report.report import Report
    from distill.training.loop import Trained
    from distill.training.tracking import Record

SAVING = Step("save student", 1, "students", 1.5)
"""The student, its report and its page."""


def distill_images(
    images: str | Path | ImageSource | Images,
    how: Distillation | None = None,
    *,
    ranking: TeacherRanking | None = None,
    ranker: Ranker | None = None,
    test: str | Path | Images | None = None,
    save: str | Path = "student",
    overwrite: bool = False,
    calibrate: bool = False,
    tracking: Tracking | None = None,
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
        calibrate: divide the student's logits by a temperature that three more students, of
            a cross-validation, choose.
        tracking: where losses are reported: TensorBoard, W&B, MLflow or a function.
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
    runtime, messages = runtime or Runtime(), list[str]()
    collecting = runtime.collect(messages)
    read = load_images(images, collecting)
    return DistillationJob(
        read,
        how or Distillation(),
        ranking=ranking,
        ranker=ranker,
        test=load_test(test, read, collecting),
        save=Path(save),
        overwrite=overwrite,
        calibrate=calibrate,
        tracking=tracking or Tracking(),
        command=command,
        messages=messages,
        runtime=runtime,
    ).run()


@dataclass(frozen=True)
class DistillationJob:
    """A student before it is trained: it can be planned, and run. See `distill_images`.

    Example:
        >>> job = DistillationJob(images, ranking=rank_images(images))
        >>> plan = job.plan()
        >>> report = job.run()
    """

    images: Images
    how: Distillation = field(default_factory=Distillation)
    ranking: TeacherRanking | None = None
    ranker: Ranker | None = None
    test: Images | None = None
    save: Path = Path("student")
    overwrite: bool = False
    calibrate: bool = False
    tracking: Tracking = field(default_factory=Tracking)
    command: str = ""
    messages: Sequence[str] = ()
    runtime: Runtime = field(default_factory=Runtime)

    def check(self) -> None:
        """Refuse outputs that may not be written, before any work.

        Raises:
            ZooError: the student or its curves may not be saved where they shall be, a class has
                too few labels to calibrate, or a ranking is missing.
        """
        from distill.calibration import calibration_folds
        from distill.report.student_folder import check_folder

        check_ranker([self.how.method], self.ranking or self.ranker)
        places = [*source_of(self.images).folders, *([self.test.root] if self.test else [])]
        check_output(self.save, places)
        check_folder(self.save, overwrite=self.overwrite)
        if self.calibrate:
            calibration_folds(self.images)
        self.tracking.check()
        if self.tracking.tensorboard:
            check_output(self.tracking.tensorboard, places, "--tensorboard")

    def run(self, plan: TrainingPlan | None = None) -> Report:
        """Train, test and save the student; see `distill_images`.

        Args:
            plan: what a budget chose; the number of updates is settled when the teachers were run.
        """
        from distill.calibration import cross_validate_temperature, divide_logits
        from distill.report.student_folder import check_folder, save_student
        from distill.training.tracking import open_trackers

        self.check()
        messages = [*self.messages]
        runtime, how = self.runtime.collect(messages), self.how.resolve(self.images, self.runtime)
        warn_of_overlap(self.images, self.test, runtime)
        find_start(how.start, how.arch).fetch(runtime.progress)
        with (
            runtime.join() as joined,
            open_trackers(
                self.tracking if joined.processes.is_first else Tracking(), describe_run(how)
            ) as record,
        ):
            teachers = prepare_teachers(
                how, self.images, joined, ranking=self.ranking, ranker=self.ranker
            )
            how = plan.settle(how, self.runtime) if plan else how
            trained = train_student(how, teachers, self.images, joined, record)
            if trained.warning:
                runtime.warn(trained.warning)
            temperature = None
            if self.calibrate:
                again = partial(self._train_again, how, teachers, joined)
                temperature = cross_validate_temperature(self.images, again, runtime.device)
                divide_logits(trained.network, temperature)
            first = joined.processes.is_first
        report = self._report(how, teachers, trained, messages, tested=first)
        report = replace(report, temperature=temperature)
        if not first:
            return report
        check_folder(self.save, overwrite=self.overwrite)  # another run may have come first
        ranking = teachers.ranking.to_json() if teachers.ranking else None
        warning = save_student(
            trained,
            report,
            self.save,
            cards=teachers.cards,
            ranking=ranking,
            rejection=self._measure_rejection(trained),
            images=self.images,
        )
        if plan:
            plan.saved.delete()
        if warning:
            self.runtime.warn(warning)
            return replace(report, notes=(*report.notes, warning))
        return report

    def _train_again(
        self, how: Distillation, teachers: Teachers, runtime: Runtime, images: Images
    ) -> Trained:
        """A student of a part of the images, by the same ranking."""
        own = prepare_teachers(how, images, runtime, ranking=teachers.ranking)
        return train_student(how, own, images, runtime)

    def _measure_rejection(self, trained: Trained) -> Rejection | None:
        """What tells images that are unlike the student's; of the network as it will be saved."""
        from distill.evaluation.prediction import measure_rejection

        device, progress = self.runtime.device, self.runtime.progress("measuring features")
        return measure_rejection(
            trained.network, self.images, trained.preprocessing, device, progress
        )

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

        images, result = self.images, None
        round_as_saved(trained.network)
        if self.test is not None and tested:
            result = evaluate(
                trained.network, self.test, images.classes, trained.preprocessing,
                device=self.runtime.device, progress=self.runtime.progress("testing"),
            )  # fmt: skip
        return Report(
            method=how.method,
            arch=how.arch,
            start=trained.start or find_start(how.start, how.arch),
            target=str(source_of(images).target.absolute()),
            classes=images.classes,
            labeled=images.labeled,
            unlabeled=len(images) - images.labeled,
            skipped=len(images.skipped),
            teachers=dict(teachers.shares),
            objective=how.objective if teachers.shares else None,
            recipe=how.method_recipe,
            image_size=how.size,
            seconds=trained.seconds,
            student=str(self.save),
            evaluation=result,
            overlap=count_overlap(images, self.test),
            notes=tuple(dict.fromkeys(messages)),
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
        from distill.calibration import calibration_folds

        self.check()
        held_out = calibration_folds(self.images) if self.calibrate else []
        deadline = deadline or Deadline()
        how = self.how.resolve(self.images, self.runtime)
        digests = (self.images.digest, self.test and self.test.digest)
        ranking = self.ranking and self.ranking.to_json()
        depends = (*digests, how, deadline.budget, self.calibrate, ranking, self.runtime.device)
        return plan_training(
            [(self.images, self.test), *held_out],
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


def describe_run(how: Distillation) -> dict[str, str | float]:
    """Settings of a run by name, for trackers."""
    recipe = {name: value for name, value in asdict(how.method_recipe).items() if value is not None}
    return {"method": how.method, "arch": how.arch, "image_size": how.size, **recipe}


def train_student(
    how: Distillation,
    teachers: Teachers,
    images: Images,
    runtime: Runtime,
    record: Record | None = None,
) -> Trained:
    """Train a student by the outputs of its teachers; `record` and errors as of `train`."""
    from distill.training.loop import train

    return train(
        images,
        how.method_recipe,
        arch=how.arch,
        features=teachers.features,
        shares=teachers.shares,
        objective=how.objective,
        start=how.start,
        image_size=how.size,
        device=runtime.device,
        checkpoints=runtime.cache / "runs",
        processes=runtime.processes,
        decoding=runtime.progress("decoding images"),
        preparing=runtime.progress("running frozen blocks"),
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
        # one class, or an image of each, is no task to learn but can be tested on
        test = ImageSource(Path(test)).read_unchecked(runtime, "test images")
        for message in check_dataset(test):
            runtime.warn(f"Test images: {message}")
    if not test.labeled:
        raise ImagesError(f"{test.root} has no labeled image to test on: add class sub-folders.")
    if unknown := sorted(set(test.classes) - set(images.classes)):
        raise ImagesError(
            f"{test.root} has the class {unknown[0]!r}, which {images.root} lacks: "
            f"it has {', '.join(images.classes)}."
        )
    return test.subset(np.flatnonzero(test.labels >= 0))


def warn_of_overlap(images: Images, test: Images | None, runtime: Runtime) -> None:
    """Say how many of the test images are labeled training images too, if any is."""
    if test and (overlap := count_overlap(images, test)):
        runtime.warn(describe_overlap(overlap, len(test)))


def count_overlap(images: Images, test: Images | None) -> int:
    """How many of the test images are labeled training images too."""
    if test is None:
        return 0
    known = {d for d, label in zip(images.digests, images.labels, strict=True) if label >= 0}
    return sum(digest in known for digest in test.digests)
