"""Rejection: which images are unlike all that a student was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.student import WEIGHTS_FILE
from zoo.errors import StudentError
from zoo.features.kernel import scale_rows
from zoo.system.tensors import read_tensors, write_tensors
from zoo.teachers.card import sha256_of

REJECTION_FILE = "unknown.safetensors"
"""Beside the weights of a student."""
FORMAT = "1"

NEIGHBORS = 5
"""Training images whose mean cosine says how familiar an image is."""
MOST = 500
"""Training images that are kept, labeled ones first: 1.3 MB for 1280 features."""
KEPT = 0.95
"""Images of the known classes that are to be accepted."""

LEAST = 1e-6
"""Threshold of training images that are all the same."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rejection:
    """A threshold of the distance to the nearest training images, in a student's features.

    The distance of an image is 1 minus the mean cosine of its `NEIGHBORS` nearest training images.
    The threshold is the conformal quantile of the distances of the labeled images, each to the
    others (Sun et al., ICML 2022; Papadopoulos et al., 2002): of new images like these about `KEPT`
    are accepted.

    Attributes:
        bank: [M, D], features of training images, at length 1.
        threshold: largest distance that is accepted.
    """

    bank: Floats
    threshold: float

    def distances(self, embeddings: NDArray[np.floating]) -> Floats:
        """Distances [N] of images [N, D], in thresholds: above 1 an image is unknown.

        Raises:
            StudentError: features of another width.
        """
        if self.bank.shape[1:] != embeddings.shape[1:]:
            raise StudentError(f"{REJECTION_FILE} belongs to another student: train it again.")
        return _far(scale_rows(embeddings) @ self.bank.T) / max(self.threshold, LEAST)

    def save(self, folder: Path, weights: str) -> None:
        """Write the file beside weights of this SHA-256; an OSError if that fails."""
        metadata = {"format": FORMAT, "weights": weights, "threshold": repr(self.threshold)}
        write_tensors(folder / REJECTION_FILE, {"bank": self.bank.astype(np.float16)}, metadata)

    @classmethod
    def load(cls, folder: Path) -> Rejection:
        """The rejection of a saved student.

        Raises:
            StudentError: there is none, it is damaged, or it belongs to other weights.
        """
        path = folder / REJECTION_FILE
        try:
            arrays, metadata = read_tensors(path, {"format": FORMAT})
            bank, threshold = arrays["bank"].astype(np.float32), float(metadata["threshold"])
            if not (bank.ndim == 2 and len(bank) > 2 and np.isfinite(bank).all()):
                raise ValueError("its features are not those of images")
            if not 0 <= threshold < np.inf:
                raise ValueError("its threshold is no distance")
            rejection = cls(bank, threshold)
        except FileNotFoundError as error:
            raise StudentError(
                f"{folder} has no {REJECTION_FILE}, so unknown images cannot be recognized: train "
                "the student again with `zoo distill`."
            ) from error
        except (OSError, ValueError, KeyError) as error:
            raise StudentError(f"{path} cannot be read: train the student again.") from error
        if metadata.get("weights") != sha256_of(folder / WEIGHTS_FILE):
            raise StudentError(f"{path} belongs to other weights: train the student again.")
        return rejection


def choose_images(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the training images to keep: `MOST` at random, labeled ones first."""
    order = np.random.default_rng(0).permutation(len(labels))
    return order[np.argsort(labels[order] < 0, kind="stable")][:MOST]


def fit_rejection(embeddings: NDArray[np.floating], labels: NDArray[np.int64]) -> Rejection | None:
    """The rejection of a student from its features [M, D] of training images with labels [M].

    None for fewer than 3 images, or where none is labeled.
    """
    known = np.flatnonzero(labels >= 0)
    if len(labels) < 3 or not len(known):
        return None
    bank = scale_rows(embeddings).astype(np.float32)
    cosines = bank[known] @ bank.T
    cosines[np.arange(len(known)), known] = -np.inf
    distances = np.sort(_far(cosines))
    place = min(len(known), int(np.ceil((len(known) + 1) * KEPT))) - 1
    return Rejection(bank, float(distances[place]))


def _far(cosines: NDArray[np.floating]) -> Floats:
    """1 minus the mean of the largest cosines [N, M] of each row; -inf is left out."""
    count = min(NEIGHBORS, cosines.shape[1] - 1)
    nearest = -np.partition(-cosines, count - 1, axis=1)[:, :count]
    return (1 - nearest.mean(axis=1)).astype(np.float32)
