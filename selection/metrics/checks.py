"""What a metric takes: types of its input, and checks before it scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoo.errors import RankingError
from zoo.features.store import Features

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Scorer = Callable[[Labels], float]
"""The score for labels [L] of the L labeled images, which may be permuted; -1 leaves one out."""


def check_labels(labels: Labels) -> None:
    """Refuse labels from which no metric can tell teachers apart.

    Args:
        labels: [N] of integers, -1 for an unlabeled image.

    Raises:
        RankingError: nothing is labeled, all is one class, or no class has two images.

    Example:
        >>> check_labels(np.array([0, 0, 1, -1]))
    """
    if not np.issubdtype(labels.dtype, np.integer) or (labels < -1).any():
        raise ValueError("labels are classes 0, 1, 2, ... or -1 for an unlabeled image")
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    if not len(sizes):
        raise RankingError(
            "No image is labeled. Put images into one folder per class, or give a label file."
        )
    if len(sizes) == 1:
        raise RankingError("All labeled images are of one class. Label images of a second class.")
    if sizes.max() == 1:
        raise RankingError("No class has two labeled images. Label more images of each class.")


def one_hot(known: Labels) -> Floats:
    """Columns are the classes that occur, in ascending order: [L, C]."""
    return (known[:, None] == np.unique(known)).astype(np.float64)


def check_input(features: Features, labels: Labels) -> NDArray[np.int64]:
    """Row numbers of the labeled images, once labels and features can be scored.

    Raises:
        RankingError: see `check_labels`; or features that are not finite, or all the same.
    """
    if labels.shape != (len(features),):
        raise ValueError(f"{len(features)} images, labels of shape {labels.shape}")
    check_labels(labels)
    labeled = np.flatnonzero(labels >= 0)
    check_features(features)
    if not np.ptp(features.embeddings[labeled], axis=0).any():
        raise RankingError("its features are the same for every labeled image")
    return labeled


def check_features(features: Features) -> None:
    """Refuse features that tell no images apart, whether labeled or not.

    Raises:
        RankingError: they are not finite, or all the same.
    """
    if not np.isfinite(features.embeddings).all():
        raise RankingError("its features hold numbers that are not finite")
    if not np.ptp(features.embeddings, axis=0).any():
        raise RankingError("its features are the same for every image")
