"""What labels and features must be like before a metric scores them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.errors import RankingError
from zoo.features.store import Features


def check_labels(labels: NDArray[np.int64]) -> None:
    """Refuse labels from which no metric can tell teachers apart.

    Raises:
        RankingError: nothing is labeled, all is one class, or no class has two images.
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


def check_input(features: Features, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers of the labeled images, once labels and features can be scored.

    Raises:
        RankingError: see `check_labels`; or features that are not finite, or all the same.
    """
    if labels.shape != (len(features),):
        raise ValueError(f"{len(features)} images, labels of shape {labels.shape}")
    check_labels(labels)
    labeled = np.flatnonzero(labels >= 0)
    if not np.isfinite(features.embeddings).all():
        raise RankingError("its features hold numbers that are not finite")
    if not np.ptp(features.embeddings[labeled], axis=0).any():
        raise RankingError("its features are the same for every labeled image")
    return labeled
