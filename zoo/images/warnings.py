"""Warnings about images: what could not be read, looks odd, or was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np

from zoo.images.labels import near_equal
from zoo.system.words import join_few

if TYPE_CHECKING:
    from zoo.images.folder import Images, Skipped

DARK = 8191
"""Largest value of the 16-bit images of a folder up to which they look nearly black: 13 bits."""
SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation",
                    "holdout", "hold_out", "held_out"})  # fmt: skip
"""Usual folder names of splits, which hold folders of classes."""
UNSORTED = frozenset({"unlabeled", "unlabelled", "unsorted", "unannotated", "untagged", "no_label"})
"""Usual folder names of images without labels."""
SKEW = 5
"""Largest class against the smallest, in labeled images, from which on there is a note."""


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
    if is_skewed(counts.tolist()):
        most, least = (images.classes[int(index)] for index in (counts.argmax(), counts.argmin()))
        found.append(
            f"The labels are skewed: {most} has {counts.max()} images, {least} {counts.min()}. "
            "Accuracy says little then: look at the balanced accuracy, and label more of the "
            "small classes."
        )
    return found


def is_skewed(counts: Collection[int]) -> bool:
    """Whether the largest class has `SKEW` times the labeled images of the smallest."""
    return bool(counts) and max(counts) >= SKEW * max(1, min(counts))


def describe_overlap(seen: int, tested: int) -> str:
    """A warning that so many of the tested images were trained on; empty for none."""
    if not seen:
        return ""
    return (
        f"{seen} of {tested} test images are labeled training images too, so the accuracy is "
        "too high: test on other images."
    )


def describe_skipped(skipped: Sequence[Skipped]) -> str:
    """One line on the images that could not be read; empty if there is none."""
    if not skipped:
        return ""
    count = len(skipped)
    named = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:5])
    more = f"; and {count - 5} more" if count > 5 else ""
    return f"Skipped {count} unreadable image{'s' * (count > 1)} ({named}{more})."


def describe_dark(largest: Sequence[int]) -> str:
    """A note if images of 16 bits, by their largest values, look nearly black; else empty."""
    top = max(largest, default=DARK + 1)
    if top > DARK:
        return ""
    return (
        f"{len(largest)} images have 16 bits per value, of which the largest is {top}: white is "
        "65535, so they look nearly black. Scale their values to 8 or 16 bits."
    )
