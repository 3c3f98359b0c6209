"""Read a folder of images: paths, labels, classes and digests, each file checked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ImagesError, ZooError
from zoo.images.decoding import (
    SUFFIXES,
    UNREADABLE,
    image_size,
    in_threads,
    open_image,
    read_image_file,
    reason,
)
from zoo.images.labels import match_paths, read_label_file, same_text
from zoo.images.walk import find_files
from zoo.images.warnings import describe_dark, describe_skipped
from zoo.system.json_files import choice, listing, pattern, read_json, record, write_json
from zoo.system.runtime import Progress

if TYPE_CHECKING:
    from zoo.images.source import ImageSource

MAX_LABELED, MAX_UNLABELED = 1000, 500
"""Images of a sample with a label (about) and without (at most)."""
TRAINED_ON = "trained_on.json"
"""Beside a student's weights: digests of the images that it was trained on."""
LARGEST_LIST = 5_000_000
"""Images in that file, at most."""
DIGITS = 16
"""Hex digits of each SHA-256 that are kept there: enough to tell a million images apart."""
_SCHEMA = record(
    {
        "format": choice(1),
        "images": listing(pattern(r"[0-9a-f]{16}", "16 hex digits"), most=LARGEST_LIST),
    }
)


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Images:
    """N readable images with their labels and digests.

    Attributes:
        root: the folder that they were read from.
        paths: [N], sorted within the folder.
        labels: [N] int64, an index into `classes`; -1 where the label is unknown.
        classes: C names, sorted.
        digests: [N] SHA-256 of each file's content, 64 hex digits.
        skipped: images that could not be read.
        notes: what else was left out or looks odd, a sentence each.
        source: the folders and label file; None if unknown.

    Example:
        >>> images = read_images(Path("imgs"))
        >>> len(images), images.labeled, images.classes
    """

    root: Path
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digests: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    source: ImageSource | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def warnings(self) -> list[str]:
        """What could not be read, was left out, or looks odd: a sentence each."""
        return [*filter(None, [describe_skipped(self.skipped)]), *self.notes]

    def median_side(self) -> int:
        """Median length of the shorter side of the images, in pixels, from a hundred of them."""
        step = -(-len(self) // 100)
        return int(np.median([min(image_size(path)) for path in self.paths[::step]]))

    @property
    def labeled(self) -> int:
        """Number of images with a label."""
        return int((self.labels >= 0).sum())

    @property
    def digest(self) -> str:
        """SHA-256 of contents and class names: the same for a copy of the folder."""
        rows = sorted(
            f"{digest} {self.classes[label] if label >= 0 else ''}"
            for digest, label in zip(self.digests, self.labels, strict=True)
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def subset(self, index: NDArray[np.int64]) -> Images:
        """The images of some rows, in the order of `index`."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in index),
            labels=self.labels[index],
            digests=tuple(self.digests[i] for i in index),
        )

    def distinct(self) -> tuple[Images, NDArray[np.int64]]:
        """The images of different content, and the row of each image among them, [N]."""
        place = {digest: row for row, digest in enumerate(dict.fromkeys(self.digests))}
        again = np.array([place[digest] for digest in self.digests], dtype=np.int64)
        return self.subset(np.unique(again, return_index=True)[1]), again

    def keep_labels(self, per_class: int, seed: int) -> Images:
        """Keep the labels of `per_class` random images of each class, remove the others.

        Raises:
            ImagesError: a class has fewer labeled images.
        """
        if per_class < 1:
            raise ValueError("labels per class is at least 1")
        draw = np.random.default_rng([seed, per_class])
        kept = np.full(len(self), -1, dtype=np.int64)
        for index, name in enumerate(self.classes):
            rows = np.flatnonzero(self.labels == index)
            if len(rows) < per_class:
                raise ImagesError(
                    f"Class {name!r} in {self.root} has {len(rows)} labeled "
                    f"image{'s' * (len(rows) != 1)}, fewer than the {per_class} "
                    "asked for: lower --labels-per-class or add images."
                )
            kept[draw.choice(rows, per_class, replace=False)] = index
        return replace(self, labels=kept)

    def check_labels(self) -> None:
        """Make sure that the labels define a task.

        Raises:
            ImagesError: there are fewer than two classes, or no class has two images.
        """
        if not self.labeled:
            raise ImagesError(
                f"{self.root} has no labels: put images into one sub-folder per class, "
                "or pass --labels labels.csv."
            )
        if len(self.classes) < 2:
            name = next(iter(self.classes))
            folder = self.root / name
            inner = {path.relative_to(folder).parts[:-1] for path in self.paths
                     if path.is_relative_to(folder)}  # fmt: skip
            advice = "add a sub-folder for each other class"
            if not inner:  # the class is that of a label file
                advice = "label images of the others too"
            elif len({parts[0] for parts in inner if parts}) > 1:
                advice = f"if its sub-folders are the classes, use --target {quote(str(folder))}"
            raise ImagesError(
                f"{self.root} has one class, {name!r}, and a classifier needs two or more: "
                f"{advice}."
            )
        if np.bincount(self.labels[self.labels >= 0]).max() < 2:
            raise ImagesError(
                f"Every class in {self.root} has a single labeled image: "
                "add images until a class has two or more."
            )

    def sample(
        self,
        *,
        max_labeled: int = MAX_LABELED,
        max_unlabeled: int = MAX_UNLABELED,
        seed: int = 0,
    ) -> Images:
        """A random sample for ranking teachers, stratified by class.

        Args:
            max_labeled: labeled images, about; a class keeps its share of them, at least two.
            max_unlabeled: unlabeled images at most.
            seed: of the draw.
        """
        draw = np.random.default_rng([seed, max_labeled, max_unlabeled])
        share = min(1.0, max_labeled / max(1, self.labeled))
        rows: list[int] = []
        for label in range(-1, len(self.classes)):
            among = np.flatnonzero(self.labels == label)
            wanted = max_unlabeled if label < 0 else max(2, round(share * len(among)))
            rows += draw.choice(among, min(wanted, len(among)), replace=False).tolist()
        return self.subset(np.sort(np.array(rows, dtype=np.int64)))


def read_images(
    target: Path,
    *,
    unlabeled: Path | None = None,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """Read a folder: sub-folders are classes, loose images are unlabeled.

    Every file is read once, to decode and hash it. Hidden files and folders are ignored,
    sub-folders of a class belong to it, links are followed once.

    Args:
        target: the folder.
        unlabeled: another folder, all of it unlabeled but for what `labels` names; it may lie
            inside `target`.
        labels: a CSV file with the columns path,label, paths relative to `target`, instead of
            sub-folders as labels.
        progress: called for each image.

    Raises:
        ImagesError: no such folder, no readable image in it, or a bad label file.

    Example:
        >>> images = read_images(Path("imgs"), unlabeled=Path("more"))
    """
    target = target.absolute()
    named = read_label_file(labels, target) if labels else None
    apart = unlabeled.absolute() if unlabeled else None
    if apart and os.path.realpath(apart) == os.path.realpath(target):
        raise ImagesError(f"{apart} is the target itself: name another folder with --unlabeled.")
    below = find_files(target, without=apart)
    if labels:
        real = os.path.realpath(labels)
        below.others = [path for path in below.others if os.path.realpath(path) != real]
    notes, others = below.left_out(target), list[Path]()
    if apart:
        more = find_files(apart, without=target)
        others = more.images
        notes += more.left_out(apart)
    if labels is None or named is None:
        inner = [(path, path.relative_to(target).parts) for path in below.images]
        found = [(path, parts[0] if parts[1:] else None) for path, parts in inner]
        found += [(path, None) for path in others]
    else:
        every = [*below.images, *others]
        matched = match_paths(named, every, labels)
        found = [(path, matched.get(path, (None, 0))[0]) for path in every]
    if named:
        path, (_, line) = next(iter(named.items()))
        more = f" ({len(named)} lines name none)" if len(named) > 1 else ""
        raise ImagesError(
            f"Line {line} of {labels} names {path}, which is not an image in {target}{more}: "
            "correct the paths, which are relative to the target, or remove the lines; images of "
            "another folder need --unlabeled."
        )
    images = _read(found, target, progress)
    if not len(images):
        kinds = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        skipped = images.skipped
        why = f" ({len(skipped)} unreadable, one as {skipped[0].reason})" if skipped else ""
        raise ImagesError(f"No readable image in {target}{why}: expected {kinds} files.")
    # Python has bytes that are not UTF-8 as lone surrogates
    if broken := [name for name in images.classes if re.search("[\ud800-\udfff]", name)]:
        raise ImagesError(f"The class {broken[0]!a} in {str(target)!a} is not UTF-8: rename it.")
    meant = {name for _, name in found if name}
    if not labels:
        meant |= {
            name for name in below.folders if not (apart and apart.is_relative_to(target / name))
        }
    lost = sorted({*map(same_text, meant)}.difference(images.classes))
    notes += [f"The class {name!r} has no image: the student will not know it." for name in lost]
    return replace(images, notes=(*notes, *images.notes))


def images_of_files(
    paths: Sequence[Path],
    labels: Sequence[str | None],
    *,
    unlabeled: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """Read N images that are named with their classes, None for unlabeled, and an unlabeled folder.

    Raises:
        ImagesError: there is no readable image.
    """
    found: list[tuple[Path, str | None]] = [*zip(paths, labels, strict=True)]
    if unlabeled:
        found += [(path, None) for path in find_files(unlabeled.absolute()).images]
    images = _read(found, unlabeled or Path(), progress)
    if not len(images):
        raise ImagesError(f"None of {len(found)} images can be read: name image files.")
    return images


def list_files(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Image files, of files and folders as they are named, and what was left out; none is read.

    Raises:
        ImagesError: a path does not exist.
    """
    files: list[Path] = []
    notes: list[str] = []
    for path in paths:
        try:
            exists = path.exists()
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise ImagesError(f"{path} cannot be read: {error.strerror or error}.") from error
        if not exists:
            raise ImagesError(f"{path} does not exist: name images or folders of images.")
        if path.is_dir():
            found = find_files(path)
            files += found.images
            notes += found.left_out(path)
        else:
            files.append(path)
    return files, notes


def _read(found: list[tuple[Path, str | None]], root: Path, progress: Progress | None) -> Images:
    """Read and decode every file with its class once."""
    largest: list[int] = []

    def check(entry: tuple[Path, str | None]) -> str | Skipped:
        try:
            content = read_image_file(entry[0])
            image = open_image(content, draft=True)
        except UNREADABLE as error:
            return Skipped(entry[0], reason(error))
        if "largest" in image.info:
            largest.append(image.info["largest"])
        return hashlib.sha256(content).hexdigest()

    results = [*in_threads(check, found, len(found), progress)]
    good = [
        (path, name and same_text(name), result)
        for (path, name), result in zip(found, results, strict=True)
        if isinstance(result, str)
    ]
    classes = tuple(sorted({name for _, name, _ in good if name is not None}))
    number = {name: i for i, name in enumerate(classes)}
    return Images(
        root=root,
        paths=tuple(path for path, _, _ in good),
        labels=np.array([-1 if n is None else number[n] for _, n, _ in good], dtype=np.int64),
        classes=classes,
        digests=tuple(digest for _, _, digest in good),
        skipped=tuple(result for result in results if isinstance(result, Skipped)),
        notes=tuple(filter(None, [describe_dark(largest)])),
    )


def save_trained_on(images: Images, folder: Path) -> None:
    """Write the digests of the labeled images into a student's folder; an OSError if it fails."""
    write_json(folder / TRAINED_ON, {"format": 1, "images": sorted(_short_digests(images))})


def count_trained_on(images: Images, folder: Path | None) -> int:
    """How many of the labeled images the network of a folder was trained on; 0 if unknown.

    Raises:
        ZooError: the file of the digests is damaged.
    """
    if folder is None or not (folder / TRAINED_ON).exists():
        return 0
    advice = "It only tells on which images the network was trained: delete it."
    known = read_json(
        folder / TRAINED_ON, _SCHEMA, error=ZooError, advice=advice, limit=40 * LARGEST_LIST
    )["images"]
    return len(_short_digests(images).intersection(known))


def _short_digests(images: Images) -> set[str]:
    return {images.digests[row][:DIGITS] for row in np.flatnonzero(images.labels >= 0)}
