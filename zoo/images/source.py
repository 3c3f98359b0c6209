"""ImageSource: where the images of a task and their labels come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import ImagesError
from zoo.images.dataset import fetch_dataset, is_dataset
from zoo.images.folder import Images, read_images
from zoo.images.warnings import check_dataset
from zoo.system.runtime import Runtime


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
        named: whether the images were named one by one, so that `target` is no folder of theirs.

    Example:
        >>> source = ImageSource(Path("imgs"), unlabeled=Path("more"))
        >>> images = source.read(Runtime())
    """

    target: Path
    unlabeled: Path | None = None
    labels: Path | None = None
    labels_per_class: int | None = None
    seed: int = 0
    named: bool = False

    @property
    def folders(self) -> list[Path]:
        """The folders of images; nothing is ever written there."""
        target = None if self.named else self.target
        return [folder for folder in (target, self.unlabeled) if folder is not None]

    def read(self, runtime: Runtime, *, need_labels: bool = True) -> Images:
        """The images; what is unusual about them goes to `runtime.warn`.

        Raises:
            ImagesError: the folders or labels cannot be used, or labels are needed and missing.
        """
        images = self.read_unchecked(runtime)
        if need_labels or images.labeled or self.labels_per_class is not None:
            images.check_labels()
        if self.labels_per_class is not None:
            images = images.keep_labels(self.labels_per_class, self.seed)
        for message in check_dataset(images):
            runtime.warn(message)
        return images

    def read_unchecked(self, runtime: Runtime, what: str = "images") -> Images:
        """All images with all their labels, which may be those of no task; nothing is warned of.

        Raises:
            ImagesError: the folders cannot be used.
        """
        if folder := _find_around(runtime.cache, self.folders):
            raise ImagesError(
                f"The cache {runtime.cache} lies inside the image folder {folder}, where nothing "
                "is ever written: set SOURCE_ZOO_CACHE to another folder."
            )
        source, progress = self.fetch(runtime), runtime.progress(f"reading {what}")
        images = read_images(
            source.target, unlabeled=source.unlabeled, labels=source.labels, progress=progress
        )
        return replace(images, source=source)

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
    if folder := _find_around(path, folders):
        raise ImagesError(
            f"{path} lies inside the image folder {folder}, where nothing is ever written: "
            f"choose another {option}."
        )


def _find_around(path: Path, folders: Iterable[Path]) -> Path | None:
    """The first of the folders that a path lies in, through links too."""
    place = path.absolute().resolve()
    around = (each for each in folders if place.is_relative_to(each.absolute().resolve()))
    return next(around, None)
