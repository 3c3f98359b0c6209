"""Folds of a cross-validation over labeled images."""

from __future__ import annotations

import numpy as np

from zoo.errors import ImagesError
from zoo.features.linear_probe import assign_folds
from zoo.images.folder import Images


def split(
    images: Images, folds: int, *, advice: str = "pass --test"
) -> list[tuple[Images, Images]]:
    """Training and test images of each fold of a stratified cross-validation.

    Unlabeled images are in the training set of every fold, and copies of an image in one fold: a
    student that was trained on one would know the others. `advice` ends the message about too few
    labels.

    Raises:
        ImagesError: a class has too few labeled images.
    """
    known = np.flatnonzero(images.labels >= 0)
    distinct, again = images.subset(known).distinct()
    counts = np.bincount(distinct.labels, minlength=len(images.classes))
    if (least := int(counts.min())) < 3:
        name = images.classes[int(counts.argmin())]
        raise ImagesError(
            f"Class {name!r} in {images.root} has {least} different labeled "
            f"image{'s' * (least != 1)}, and cross-validation needs 3: label more, or {advice}."
        )
    if counts.max() < folds:
        raise ImagesError(
            f"{images.root} has at most {counts.max()} different labeled images per class, too few "
            f"for {folds} folds: lower --folds, or {advice}."
        )
    fold = np.empty(len(distinct), dtype=np.int64)
    for number, part in enumerate(assign_folds(distinct.labels)):
        fold[part] = number % folds
    everything = np.arange(len(images))
    tests = [known[fold[again] == number] for number in range(folds)]
    return [(images.subset(np.setdiff1d(everything, rows)), images.subset(rows)) for rows in tests]
