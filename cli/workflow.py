"""What the commands do, step by step: images to a ranking, a ranking to a student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from selection import Ranking, rank
from zoo.catalogue import find_card, list_cards
from zoo.decoding import Progress
from zoo.errors import ImagesError, TeacherBroken
from zoo.features import cache_folder
from zoo.images import Images, read_images

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from distill.report import Report

Bars = Callable[[str], Progress]
"""Called as `bars(what)`: the progress of one piece of work."""


@dataclass(frozen=True)
class Task:
    """Where the target images and their labels are.

    Attributes:
        target: folder of the images.
        unlabeled: folder of more images without labels.
        labels: CSV file that labels the images.
        labels_per_class: keep so many labels of each class and hide the others; None keeps all.
        seed: of the choice of the kept labels.
    """

    target: Path
    unlabeled: Path | None = None
    labels: Path | None = None
    labels_per_class: int | None = None
    seed: int = 0

    @classmethod
    def of_ranking(cls, ranking: Ranking) -> Task:
        """The task that a ranking was made for."""
        return cls(
            Path(ranking.target),
            Path(ranking.unlabeled) if ranking.unlabeled else None,
            Path(ranking.labels) if ranking.labels else None,
            ranking.labels_per_class,
            ranking.seed,
        )

    @property
    def folders(self) -> list[Path]:
        """The folders of images, where nothing is ever written."""
        return [folder for folder in (self.target, self.unlabeled) if folder is not None]

    def read(self, bars: Bars) -> Images:
        """The images with the labels that the task leaves known.

        Raises:
            ImagesError: the folders or labels cannot be used.
        """
        images = read_images(
            self.target,
            unlabeled=self.unlabeled,
            labels=self.labels,
            progress=bars("reading images"),
        )
        images.check_labels()
        if self.labels_per_class is None:
            return images
        return images.hide_labels(self.labels_per_class, self.seed)


def rank_target(
    task: Task,
    images: Images,
    bars: Bars,
    *,
    metric: str = "parc",
    power: float = 12.0,
    device: str = "cpu",
) -> tuple[Ranking, Sequence[str]]:
    """Rank the embedded teachers for a task; also the mishaps on the way.

    Raises:
        RankingError: the labels can rank nobody, or every teacher failed.
    """
    from zoo.machine import choose_device
    from zoo.teacher import observe

    cards = list_cards()
    probe = images.probe(seed=task.seed)
    seen = observe(cards, probe, device=choose_device(device), progress=_by_teacher(bars))
    ranking = rank(
        seen.features,
        probe.labels,
        metric=metric,
        power=power,
        seed=task.seed,
        domains={card.name: card.domain for card in cards},
        failures=seen.failures,
        progress=bars("scoring teachers"),
    )
    described = replace(
        ranking,
        target=str(task.target.absolute()),
        unlabeled=str(task.unlabeled.absolute()) if task.unlabeled else None,
        labels=str(task.labels.absolute()) if task.labels else None,
        labels_per_class=task.labels_per_class,
        images=len(images),
        labeled=images.labeled,
        digest=images.digest,
        forward_passes=seen.forward_passes,
    )
    return described, seen.notes


def check_output(path: Path, task: Task) -> None:
    """Make sure that a file to be written does not land among the images.

    Raises:
        ImagesError: it would.
    """
    for folder in task.folders:
        if path.absolute().resolve().is_relative_to(folder.absolute().resolve()):
            raise ImagesError(
                f"{path} lies inside the image folder {folder}, where nothing is ever written: "
                "choose another --save."
            )


def find_ranking(path: Path, task: Task, images: Images, metric: str | None) -> Ranking | None:
    """The saved ranking if it is of this task and these images; None otherwise."""
    if not path.exists():
        return None
    ranking = Ranking.load(path)
    same = ranking.digest == images.digest and metric in (None, ranking.metric)
    return ranking if same and Path(ranking.target) == task.target.absolute() else None


def parse_shares(entries: Sequence[str]) -> dict[str, float]:
    """Shares by hand, `NAME=SHARE` each, normalised to sum 1.

    Raises:
        ValueError: an entry is malformed, double or negative; the message says which.
        TeacherNotFound: no teacher has this name.
    """
    shares: dict[str, float] = {}
    for entry in entries:
        name, _, share = entry.partition("=")
        try:
            value = float(share) if share else 1.0
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise ValueError(f"{entry!r} is not NAME=SHARE with a share above 0")
        if find_card(name).name in shares:
            raise ValueError(f"{name!r} is named twice")
        shares[name] = value
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _by_teacher(bars: Bars) -> Callable[[str, int, int], None]:
    """One bar per teacher, made when its first images are through."""
    made: dict[str, Progress] = {}

    def progress(teacher: str, done: int, total: int) -> None:
        if teacher not in made:
            made[teacher] = bars(f"asking {teacher}")
        made[teacher](done, total)

    return progress


def distill_target(
    task: Task,
    images: Images,
    shares: Mapping[str, float],
    bars: Bars,
    *,
    method: str,
    arch: str,
    start: str,
    recipe: Recipe,
    image_size: int,
    device: str,
    test: Images | None,
    save: Path,
) -> Report:
    """Train a student, test it on held-out images and save it with its report.

    Raises:
        ZooError: a teacher with a share failed, or the student cannot be made or saved.
    """
    # torch and timm load here, after everything that can be wrong without them
    from distill.evaluation import evaluate
    from distill.report import Report, save_student
    from distill.training import train
    from zoo.machine import choose_device
    from zoo.teacher import observe

    place = choose_device(device)
    cards = [find_card(name) for name in shares]
    seen = observe(cards, images, device=place, progress=_by_teacher(bars))
    for name, reason in seen.failures.items():
        raise TeacherBroken(f"The teacher {name!r} cannot teach: {reason}")
    trained = train(
        images,
        recipe,
        arch=arch,
        features=seen.features,
        shares=shares,
        start=start,
        image_size=image_size,
        device=place,
        checkpoints=cache_folder() / "runs",
        progress=bars(f"training ({method})"),
    )
    result = test and evaluate(
        trained.network, test, images.classes, trained.preprocessing, device=place
    )
    report = Report(
        method=method,
        arch=arch,
        start=start,
        target=str(task.target.absolute()),
        classes=images.classes,
        labeled=images.labeled,
        unlabeled=len(images) - images.labeled,
        skipped=len(images.skipped),
        teachers=dict(shares),
        recipe=recipe,
        image_size=image_size,
        seconds=trained.seconds,
        student=str(save),
        evaluation=result,
        notes=tuple(note for note in (*seen.notes, trained.mishap) if note),
    )
    save_student(trained, report, save, cards=cards)
    return report


def check_test(images: Images, test: Images) -> None:
    """Make sure, before training, that held-out images can test the student.

    Raises:
        ImagesError: they have no labels, or a class that the task lacks.
    """
    if not test.labeled:
        raise ImagesError(f"{test.root} has no labelled image to test on: add class sub-folders.")
    if unknown := sorted(set(test.classes) - set(images.classes)):
        raise ImagesError(
            f"{test.root} has the class {unknown[0]!r}, which {images.root} lacks: "
            f"it has {', '.join(images.classes)}."
        )
