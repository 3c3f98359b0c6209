"""From a task and shares to a saved student: what `zoo distill` does, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cli.asking import Asked, ask
from cli.workflow import Bars, Task, check_output
from distill.recipe import Recipe
from zoo.errors import ImagesError
from zoo.images.folder import Images, read_images
from zoo.system.distributed import SINGLE, Processes, join
from zoo.system.files import cache_folder

if TYPE_CHECKING:
    from distill.report.report import Report
    from distill.training.loop import Trained
    from distill.training.targets import Objective
    from distill.training.tensorboard import Record

Method = Literal["weighted", "nearest", "teachers", "transfer", "fixmatch"]
RANKING_FILE = Path("ranking.json")


@dataclass(frozen=True)
class Plan:
    """A run as the user asked for it.

    Attributes:
        method: how the student is taught.
        shares: of teachers named by hand, for the method `teachers`.
        objective: whether the student learns from the teachers in its own classes or in theirs.
        zoo: where to look for the teachers; None takes the ranking's, or the embedded ones.
        power: that turns scores into shares; None takes the ranking's shares.
        arch: name of the student.
        start: where its initial weights come from.
        recipe: the numbers of the run.
        image_size: of the student, in pixels.
        device: where to compute.
        save: folder for the student.
        ranking: file of the ranking to use, if it is of the same images.
        command: the command line that asked for it, for the report.
        tensorboard: folder for the curves that TensorBoard shows; None for none.
    """

    method: Method
    shares: Mapping[str, float]
    objective: Objective
    zoo: str | None
    power: float | None
    arch: str
    start: str
    recipe: Recipe
    image_size: int
    device: str
    save: Path
    ranking: Path = RANKING_FILE
    command: str = ""
    tensorboard: Path | None = None


def check_names(plan: Plan) -> Plan:
    """The plan with timm's name of the student.

    Raises:
        ZooError: there is no such network or device, or it takes no images of this size.
    """
    # torch and timm load here, after everything that can be wrong without them
    from distill.student import check_size, find_arch
    from zoo.system.devices import choose_device

    choose_device(plan.device)
    arch = find_arch(plan.arch)
    check_size(arch, plan.image_size)
    return replace(plan, arch=arch)


def teach(
    plan: Plan,
    asked: Asked,
    images: Images,
    bars: Bars,
    *,
    processes: Processes = SINGLE,
    record: Record | None = None,
) -> Trained:
    """Train a student as planned, by the teachers that were asked; see `train` for `record`.

    Raises:
        ZooError: the student cannot be made.
    """
    from distill.training.loop import train
    from zoo.system.devices import choose_device

    return train(
        images,
        plan.recipe,
        arch=plan.arch,
        features=asked.features,
        shares=asked.shares,
        objective=plan.objective,
        start=plan.start,
        image_size=plan.image_size,
        device=choose_device(plan.device),
        checkpoints=cache_folder() / "runs",
        processes=processes,
        progress=bars(f"training ({plan.method})"),
        record=record,
    )


def check_save(plan: Plan, task: Task, test: Images | None, *, overwrite: bool) -> None:
    """Make sure that the student, and its curves, may be saved where they shall be.

    Raises:
        ZooError: they may not.
    """
    from distill.report.student_folder import check_folder
    from distill.training.tensorboard import check_extra

    shown = [*task.folders, *([test.root] if test else [])]
    check_folder(plan.save, overwrite=overwrite, images=shown)
    if plan.tensorboard:
        check_extra()
        for place in shown:
            check_output(plan.tensorboard, Task(place), "--tensorboard")


def distill_target(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    *,
    test: Images | None,
    overwrite: bool,
    settle: Callable[[Plan], Plan] | None = None,
) -> Report:
    """Train a student, test it on held-out images and save it with its report.

    Args:
        plan: of the run.
        task: where the images came from.
        images: some labeled.
        bars: of each piece of work.
        test: held-out images.
        overwrite: whether a student in the folder may be replaced.
        settle: called when all is ready to teach, for the plan that is followed.

    Raises:
        ZooError: a teacher with a share failed, or the student cannot be made or saved.
    """
    from distill.evaluation.evaluate import evaluate
    from distill.report.report import Report
    from distill.report.student_folder import check_folder, save_student
    from distill.student import round_as_saved
    from distill.training.tensorboard import event_file
    from zoo.system.devices import choose_device

    check_save(plan, task, test, overwrite=overwrite)
    plan = check_names(plan)
    with (
        join() as processes,
        event_file(plan.tensorboard if processes.is_first else None) as record,
    ):
        asked = ask(plan, task, images, bars, processes=processes)
        plan = settle(plan) if settle else plan
        trained = teach(plan, asked, images, bars, processes=processes, record=record)
    result = None
    round_as_saved(trained.network)
    if test is not None and processes.is_first:
        form, device = trained.preprocessing, choose_device(plan.device)
        result = evaluate(trained.network, test, images.classes, form, device=device)
    report = Report(
        method=plan.method,
        arch=plan.arch,
        start=plan.start,
        target=str(task.target.absolute()),
        classes=images.classes,
        labeled=images.labeled,
        unlabeled=len(images) - images.labeled,
        skipped=len(images.skipped),
        teachers=dict(asked.shares),
        objective=plan.objective if asked.shares else None,
        recipe=plan.recipe,
        image_size=plan.image_size,
        seconds=trained.seconds,
        student=str(plan.save),
        evaluation=result,
        notes=tuple(
            dict.fromkeys(filter(None, (*asked.notes, overlap_note(images, test), trained.warning)))
        ),
        digest=images.digest,
        command=plan.command,
        soft_label_accuracy=trained.soft_label_accuracy,
    )
    if not processes.is_first:
        return report
    ranking = asked.ranking and asked.ranking.to_json()
    check_folder(plan.save, overwrite=overwrite)  # another run may have come first
    warning = save_student(trained, report, plan.save, cards=asked.cards, ranking=ranking)
    return replace(report, notes=(*report.notes, warning)) if warning else report


def recipe_for(method: Method, recipe: Recipe) -> Recipe:
    """The recipe with FixMatch's term, for that method."""
    return replace(recipe, fixmatch_weight=1.0) if method == "fixmatch" else recipe


def read_test(folder: Path, images: Images, bars: Bars) -> Images:
    """Held-out labeled images that can test a student of these images.

    Raises:
        ImagesError: they have no labels, or a class that the task lacks.
    """
    test = read_images(folder, progress=bars("reading test images"))
    if not test.labeled:
        raise ImagesError(f"{folder} has no labeled image to test on: add class sub-folders.")
    if unknown := sorted(set(test.classes) - set(images.classes)):
        raise ImagesError(
            f"{folder} has the class {unknown[0]!r}, which {images.root} lacks: "
            f"it has {', '.join(images.classes)}."
        )
    return test.subset(np.flatnonzero(test.labels >= 0))


def overlap_note(images: Images, test: Images | None) -> str:
    """A line if a student is tested on images whose labels it learns from; else empty."""
    if test is None:
        return ""
    known = {d for d, label in zip(images.digests, images.labels, strict=True) if label >= 0}
    twice = sum(digest in known for digest in test.digests)
    if not twice:
        return ""
    return (
        f"{twice} of {len(test)} test images are labeled training images too: on them the "
        "student looks better than it is. Test on others."
    )
