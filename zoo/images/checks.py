"""What is odd about a task's images, in words: nothing of it stops a command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zoo.images.folder import Images

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
"""What folders are called that hold folders of classes."""


def check_dataset(images: Images) -> list[str]:
    """Unreadable files, lonely and contradicting labels, splits taken for classes."""
    found = (images.skipped_note, _lonely(images), _contradicting(images), _splits(images))
    return [text for text in found if text]


def _lonely(images: Images) -> str:
    """Classes with a single labeled image say little to any score."""
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(images.classes))
    lonely = [images.classes[label] for label in np.flatnonzero(counts == 1)]
    if not lonely:
        return ""
    return (
        f"{len(lonely)} of {len(images.classes)} classes have a single labeled image "
        f"({_few(lonely)}): add more if you can."
    )


def _contradicting(images: Images) -> str:
    """Copies of an image with different labels."""
    labels: dict[str, set[int]] = defaultdict(set)
    for digest, label in zip(images.digests, images.labels.tolist(), strict=True):
        if label >= 0:
            labels[digest].add(label)
    files = [
        str(path)
        for path, digest in zip(images.paths, images.digests, strict=True)
        if len(labels[digest]) > 1
    ]
    if not files:
        return ""
    return (
        f"{len(files)} files are copies of an image that has another label too ({_few(files)}): "
        "keep one of each."
    )


def _splits(images: Images) -> str:
    """A folder of splits taken for a folder of classes."""
    if not images.classes or not {name.lower() for name in images.classes} <= SPLITS:
        return ""
    return (
        f"The classes are called {_few(images.classes)}: if these are splits, name one of them "
        f"with --target {images.root / images.classes[-1]}."
    )


def _few(names: Sequence[str]) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
