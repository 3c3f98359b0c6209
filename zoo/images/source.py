"""ImageSource: where the images of a task and their labels come from; checks of a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import numpy as np

from zoo.errors import ImagesError
from zoo.images.dataset import fetch_dataset, is_dataset
from zoo.images.folder import Images, read_images
from zoo.images.labels import near_equal
from zoo.system.runtime import Runtime

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation",
                    "holdout", "hold_out", "held_out"})  # fmt: skip
"""Usual folder names of splits, which hold folders of classes."""
UNSORTED = frozenset({"unlabeled", "unlabelled", "unsorted", "unannotated", "untagged", "no_label"})
"""Usual folder names of images without labels."""
SKEW = 5
"""Largest class against the smallest, in labeled images, from which on there is a note."""


@dataclass(frozen=True)
class ImageSource:
    """Folders of images and the labels to use.

    Attributes:
        target: folder of the images; sub-folders are classes, loose images are unlabeled. Or
            `hf://datasets/OWNER/NAME:SPLIT`, which is fetched into the cache once.
        unlabeled: folder, or data set of the Hub, of more images without labels.
        labels: CSV file that labels the images.
        labels_per_class: keep so many labels of each class and hide the others; None keeps all.
        seed: of the choice of the kept labels.

    Example:
        >>> source = ImageSource(Path("imgs"), unlabeled=Path("more"))
        >>> images = source.read(Runtime())
    """

    target: Path
    unlabeled: Path | None = None
    labels: Path | None = None
    labels_per_class: int | None = None
    seed: int = 0

    @property
    def folders(self) -> list[Path]:
        """The folders of images; nothing is ever written there."""
        return [folder for folder in (self.target, self.unlabeled) if folder is not None]

    def read(self, runtime: Runtime, *, need_labels: bool = True) -> Images:
        """The images; what is unusual about them goes to `runtime.warn`.

        Raises:
            ImagesError: the folders or labels cannot be used, or labels are needed and missing.
        """
        if any(map(is_dataset, self.folders)):
            return self.fetch(runtime).read(runtime, need_labels=need_labels)
        images = read_images(
            self.target,
            unlabeled=self.unlabeled,
            labels=self.labels,
            progress=runtime.progress("reading images"),
        )
        if need_labels or images.labeled or self.labels_per_class is not None:
            images.check_labels()
        if self.labels_per_class is not None:
            images = images.keep_labels(self.labels_per_class, self.seed)
        for message in check_dataset(images):
            runtime.warn(message)
        return replace(images, source=self)

    def fetch(self, runtime: Runtime) -> ImageSource:
        """The same with data sets of the Hub as folders of the cache.

        Raises:
            ImagesError: one of them cannot be had.
        """
        target, labels, unlabeled = self.target, self.labels, self.unlabeled
        if is_dataset(target):
            target, own = fetch_dataset(target, runtime)
            labels = labels or own
        if unlabeled and is_dataset(unlabeled):
            unlabeled, _ = fetch_dataset(unlabeled, runtime)
        return replace(self, target=target, labels=labels, unlabeled=unlabeled)


def load_images(
    images: str | Path | ImageSource | Images, runtime: Runtime, *, need_labels: bool = True
) -> Images:
    """Images from a folder or a source; images that are read already are only checked.

    Raises:
        ImagesError: they cannot be read, or labels are needed and missing.
    """
    if isinstance(images, str | Path):
        images = ImageSource(Path(images))
    if isinstance(images, ImageSource):
        return images.read(runtime, need_labels=need_labels)
    if need_labels:
        images.check_labels()
    return replace(images, source=source_of(images))


def source_of(images: Images) -> ImageSource:
    """Where images come from."""
    return images.source or ImageSource(images.root)


def check_output(path: Path, folders: Iterable[Path], option: str = "--save") -> None:
    """Refuse (ImagesError) to write to a path, named by this option, among images."""
    for folder in folders:
        if path.absolute().resolve().is_relative_to(folder.absolute().resolve()):
            raise ImagesError(
                f"{path} lies inside the image folder {folder}, where nothing is ever written: "
                f"choose another {option}."
            )


def check_dataset(images: Images) -> list[str]:
    """Warnings on unreadable files, single and contradicting labels, and splits used as classes."""
    found = images.warnings
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(images.classes))
    if single := [images.classes[label] for label in np.flatnonzero(counts == 1)]:
        found.append(
            f"{len(single)} of {len(images.classes)} classes have a single labeled image "
            f"({join_few(single)}): add more if you can."
        )
    labels: dict[str, set[int]] = defaultdict(set)
    for digest, label in zip(images.digests, images.labels.tolist(), strict=True):
        if label >= 0:
            labels[digest].add(label)
    pairs = zip(images.paths, images.digests, strict=True)
    if files := [str(path) for path, digest in pairs if len(labels[digest]) > 1]:
        found.append(
            f"{len(files)} files are copies of an image that has another label too "
            f"({join_few(files)}): keep one of each."
        )
    if equal := near_equal(images.classes):
        found.append(
            f"Classes differ only in case, spaces or hyphens ({join_few(equal)}): give them one "
            "name if they are one class."
        )
    splits = [name for name in images.classes if name.lower() in SPLITS]
    if len(splits) > 1 or len(splits) == len(images.classes) > 0:
        train = next((name for name in splits if name.lower().startswith("train")), splits[-1])
        found.append(
            f"The classes are called {join_few(images.classes)}: if these are splits, name one of "
            f"them with --target {quote(str(images.root / train))}."
        )
    for name in images.classes:
        if name.lower() in UNSORTED:
            found.append(
                f"The folder {name!r} counts as a class: if its images have no labels, add "
                f"--unlabeled {quote(str(images.root / name))}."
            )
    if len(counts) and counts.max() >= SKEW * max(1, counts.min()):
        most, least = (images.classes[int(index)] for index in (counts.argmax(), counts.argmin()))
        found.append(
            f"The labels are skewed: {most} has {counts.max()} images, {least} {counts.min()}. "
            "Accuracy says little then: look at the balanced accuracy, and label more of the "
            "small classes."
        )
    return found


def describe_overlap(seen: int, tested: int) -> str:
    """A warning that so many of the tested images were trained on; empty for none."""
    if not seen:
        return ""
    return (
        f"{seen} of {tested} test images are labeled training images too, so the accuracy is "
        "too high: test on other images."
    )


def join_few(names: Sequence[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
