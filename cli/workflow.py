"""From folders of images to a ranking: what `zoo rank` does, step by step."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli.shortlisting import choose_nearest
from selection import BLIND_METRIC, METRIC, POWER, Ranking, ScoreStore, rank
from zoo.errors import ImagesError, ZooError
from zoo.images.folder import MAX_LABELED, MAX_UNLABELED, Images, read_images
from zoo.system.files import write_atomic
from zoo.system.runtime import Progress
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import absolute_zoo, list_cards

if TYPE_CHECKING:
    from zoo.features.extraction import TeacherOutputs
    from zoo.system.distributed import Processes

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

    def read(self, bars: Bars, *, blind: bool = False) -> Images:
        """The images with the labels that the task leaves known.

        Args:
            bars: of the reading.
            blind: whether images without any label will do.

        Raises:
            ImagesError: the folders or labels cannot be used.
        """
        images = read_images(
            self.target,
            unlabeled=self.unlabeled,
            labels=self.labels,
            progress=bars("reading images"),
        )
        if blind and not images.labeled and self.labels_per_class is None:
            return images
        images.check_labels()
        if self.labels_per_class is None:
            return images
        return images.keep_labels(self.labels_per_class, self.seed)


def rank_target(
    task: Task,
    images: Images,
    bars: Bars,
    *,
    zoo: str = "builtin",
    metric: str | None = None,
    power: float = POWER,
    top: int | None = None,
    labeled: int = MAX_LABELED,
    pool: int = MAX_UNLABELED,
    shortlist: int | None = None,
    device: str = "cpu",
) -> tuple[Ranking, Sequence[str]]:
    """Rank the teachers of a zoo for a task; also the mishaps on the way.

    Args:
        task: where the images came from.
        images: some labeled, or none.
        bars: of each piece of work.
        zoo: where the teachers are.
        metric: how closeness is measured; None for the default with or without labels.
        power: that turns scores into shares.
        top: how many teachers get a share; None for all.
        labeled: how many labeled images the teachers see, about, at most.
        pool: how many unlabeled images the teachers see, at most.
        shortlist: rank only so many, those whose fingerprints are nearest; None ranks all.
        device: where to compute.

    Raises:
        RankingError: the labels can rank nobody, or every teacher failed.
    """
    from zoo.features.controls import extract_controls
    from zoo.system.distributed import join

    probe = images.sample(max_labeled=labeled, max_unlabeled=pool, seed=task.seed)
    notes: tuple[str, ...] = ()
    if shortlist is None:
        cards, absent = fetch_missing(ranked_cards(zoo), bars)
    else:
        nearest, notes = choose_nearest(zoo, shortlist, probe, bars, device)
        cards, absent = fetch_missing(nearest, bars)
    with join() as processes:
        seen = extract_together(cards, probe, bars, processes, device=device)
    ranking = rank(
        seen.features,
        probe.labels,
        metric=metric or (METRIC if images.labeled else BLIND_METRIC),
        power=power,
        top=top,
        seed=task.seed,
        domains={card.name: card.domain for card in cards},
        failures=absent | seen.failures,
        controls=extract_controls(probe, device=device),
        store=ScoreStore(),
        progress=bars("scoring teachers"),
    )
    described = replace(
        ranking,
        zoo=absolute_zoo(zoo),
        target=str(task.target.absolute()),
        unlabeled=str(task.unlabeled.absolute()) if task.unlabeled else None,
        labels=str(task.labels.absolute()) if task.labels else None,
        labels_per_class=task.labels_per_class,
        images=len(images),
        labeled=images.labeled,
        digest=images.digest,
        forward_passes=seen.forward_passes,
    )
    return described, (*notes, *seen.warnings)


def extract_together(
    cards: Sequence[TeacherCard],
    images: Images,
    bars: Bars,
    processes: Processes,
    *,
    device: str,
) -> TeacherOutputs:
    """What the teachers say of the images; of several processes each asks a part of them."""
    from zoo.features.extraction import extract_features

    own = extract_features(processes.own(cards), images, device=device, progress=by_teacher(bars))
    if processes.count == 1:
        return own
    asked = processes.add_up(own.forward_passes)  # which waits for the slowest
    seen = extract_features(
        cards, images, device=device, progress=by_teacher(bars)
    )  # from the store
    return replace(seen, forward_passes=asked + seen.forward_passes)


def ranked_cards(zoo: str) -> list[TeacherCard]:
    """The teachers of a zoo that a ranking takes.

    Of the Hub's catalogue those are the default set and what was pulled before: all of it would
    be tens of gigabytes.
    """
    named = [part.strip() for part in zoo.split(",")]
    return [card for card in list_cards(zoo) if card.folder or card.default or card.repo in named]


def fetch_missing(cards: list[TeacherCard], bars: Bars) -> tuple[list[TeacherCard], dict[str, str]]:
    """The same teachers, on this machine; and why some are not."""
    if all(card.folder for card in cards):
        return cards, {}
    from zoo.hub.client import fetch_all

    return fetch_all(cards, check=False, progress=lambda name: bars(f"pulling {name}"))


def command_line() -> str:
    """The command that runs, as it can be typed again; bytes that are no UTF-8 as `?`."""
    words = shlex.join(["zoo", *sys.argv[1:]])
    return words.encode("utf-8", "replace").decode()


def check_output(path: Path, task: Task, option: str = "--save") -> None:
    """Make sure that a file to be written, named by this option, does not land among the images.

    Raises:
        ImagesError: it would.
    """
    for folder in task.folders:
        if path.absolute().resolve().is_relative_to(folder.absolute().resolve()):
            raise ImagesError(
                f"{path} lies inside the image folder {folder}, where nothing is ever written: "
                f"choose another {option}."
            )


def check_replaced(path: Path, mark: bytes, kind: str, option: str = "--save") -> None:
    """Make sure that a file which is to be replaced, named by this option, is one of ours.

    Args:
        path: of the file.
        mark: what is in each of ours.
        kind: what ours are called.
        option: that names the file.

    Raises:
        ZooError: it is something else.
    """
    if path.is_file() and mark not in path.read_bytes():
        raise ZooError(f"{path} is no {kind} of ours: move it away or choose another {option}.")


def save_ranking(ranking: Ranking, path: Path) -> None:
    """Write the ranking.

    Raises:
        ZooError: the file cannot be written.
    """
    with saving("ranking", path):
        ranking.save(path)


def save_page(page: str, path: Path) -> None:
    """Write a page.

    Raises:
        ZooError: the file cannot be written.
    """
    with saving("page", path, "--report"):
        write_atomic(path, page)


@contextmanager
def saving(what: str, path: Path, option: str = "--save") -> Iterator[None]:
    """A file that cannot be written, named by this option, is one clear line.

    Raises:
        ZooError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ZooError(
            f"The {what} could not be saved as {path}: {reason}. Choose another {option}."
        ) from error


def by_teacher(bars: Bars) -> Callable[[str, int, int], None]:
    """One bar per teacher, made when its first images are through."""
    made: dict[str, Progress] = {}

    def progress(teacher: str, done: int, total: int) -> None:
        if teacher not in made:
            made[teacher] = bars(f"asking {teacher}")
        made[teacher](done, total)

    return progress
