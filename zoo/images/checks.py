"""Checks of a data set: unreadable files, doubtful labels and folders; none stops a command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from zoo.images.folder import Images

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
"""Usual folder names of splits, which hold folders of classes."""


def check_dataset(images: Images) -> list[str]:
    """Warnings on unreadable files, single and contradicting labels, and splits used as classes."""
    found = (
        images.skipped_warning,
        _find_single(images),
        _find_contradicting(images),
        _find_splits(images),
    )
    return [text for text in found if text]


def _find_single(images: Images) -> str:
    """Classes with a single labeled image."""
    counts = np.bincount(images.labels[images.labels >= 0], minlength=len(images.classes))
    single = [images.classes[label] for label in np.flatnonzero(counts == 1)]
    if not single:
        return ""
    return (
        f"{len(single)} of {len(images.classes)} classes have a single labeled image "
        f"({_few(single)}): add more if you can."
    )


def _find_contradicting(images: Images) -> str:
    """Copies of an image with different labels."""
    labels: dict[str, set[int]] = defaultdict(set)
    for digest, label in zip(images.digests, images.labels.tolist(), strict=True):
        if label >= 0:
            labels[digest].add(label)
    pairs = zip(images.paths, images.digests, strict=True)
    files = [str(path) for path, digest in pairs if len(labels[digest]) > 1]
    if not files:
        return ""
    return (
        f"{len(files)} files are copies of an image that has another label too ({_few(files)}): "
        "keep one of each."
    )


def _find_splits(images: Images) -> str:
    """Folders of splits used as folders of classes."""
    if not images.classes or not {name.lower() for name in images.classes} <= SPLITS:
        return ""
    return (
        f"The classes are called {_few(images.classes)}: if these are splits, name one of them "
        f"with --target {images.root / images.classes[-1]}."
    )


def _few(names: Sequence[str]) -> str:
    """The first names, and an ellipsis if there are more."""
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)
