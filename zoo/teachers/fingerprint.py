"""Fingerprints: the domain of a teacher as a few prototypes in the space of one small network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zoo.errors import TeacherBroken
from zoo.system.tensors import read_tensors, write_tensors
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import BUILTIN, find_card, list_cards, pulled_folder

FINGERPRINT_FILE = "fingerprint.safetensors"
FINGERPRINT_FORMAT = "1"
REFERENCE = "objects"
"""The embedded teacher that embeds the images of all fingerprints; another one voids them all."""

PROTOTYPES = 16
"""Per fingerprint, unless its domain has fewer images."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """A few prototypes [k, D] of a domain, float16 of unit length, made from some images.

    They lie in the space of the reference network, of whose weights this is the SHA-256.
    """

    prototypes: NDArray[np.float16]
    reference: str
    images: int

    def __post_init__(self) -> None:
        shape, kind = self.prototypes.shape, self.prototypes.dtype
        if len(shape) != 2 or not min(shape) or kind != np.float16:
            raise ValueError(f"prototypes are [k, D] float16, not {shape} {kind}")
        lengths = np.linalg.norm(self.prototypes.astype(np.float32), axis=1)
        if not np.allclose(lengths, 1, atol=0.01):
            raise ValueError("prototypes are of unit length")

    def save(self, folder: Path) -> None:
        """Write it into a teacher's folder, atomically, or raise TeacherBroken."""
        metadata = {"format": FINGERPRINT_FORMAT, "reference": self.reference}
        metadata["images"] = str(self.images)
        try:
            write_tensors(folder / FINGERPRINT_FILE, {"prototypes": self.prototypes}, metadata)
        except OSError as error:
            raise TeacherBroken(f"{folder} cannot be written: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path, reference: str, width: int | None = None) -> Self:
        """Read the fingerprint of a teacher, of D features if a width is given.

        Raises:
            TeacherBroken: it is damaged, or not of the reference network with this SHA-256.
        """
        try:
            expected = {"format": FINGERPRINT_FORMAT, "reference": reference}
            arrays, metadata = read_tensors(path, expected)
            if width and arrays["prototypes"].shape[1:] != (width,):
                raise ValueError(f"its prototypes do not have {width} features")
            return cls(arrays["prototypes"], reference, int(metadata["images"]))
        except (OSError, ValueError, KeyError) as error:
            raise TeacherBroken(f"The fingerprint {path} cannot be used: {error}.") from error


def reference_card() -> TeacherCard:
    """The card of the reference network."""
    return find_card(REFERENCE, list_cards("builtin"))


def fingerprint_path(card: TeacherCard) -> Path | None:
    """The file of a teacher's fingerprint; None where it has none."""
    # beside the card, which packages and absent teachers have elsewhere than their weights
    pulled = pulled_folder(card) if card.repo else None
    embedded = BUILTIN / card.file_name if card.package else None
    folders = [folder for folder in (card.folder or pulled, embedded) if folder]
    paths = (folder / FINGERPRINT_FILE for folder in folders)
    return next((path for path in paths if path.is_file()), None)
