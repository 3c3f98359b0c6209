"""Features of images, and their store on disk: each image goes through a teacher once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.system.files import cache_folder
from zoo.system.tensors import read_metadata, read_tensors, scratch_array, write_tensors
from zoo.teachers.card import TeacherCard

STORE_FORMAT = "2"
"""Version of the store: a new number makes all stored features void."""


@dataclass(frozen=True, eq=False)
class Features:
    """Outputs of one teacher for N images.

    Attributes:
        embeddings: [N, D] float32, the inputs of its classifier.
        logits: [N, K] float32, the outputs of its classifier; K = 0 for a teacher without one.

    Example:
        >>> Features(np.zeros((10, 64), np.float32), np.zeros((10, 5), np.float32))
    """

    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or self.logits.ndim != 2:
            raise ValueError("embeddings are [N, D] and logits [N, K]")
        if len(self.embeddings) != len(self.logits):
            raise ValueError(f"{len(self.embeddings)} embeddings, {len(self.logits)} logits")

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def blank(cls, images: int, like: Features, folder: Path) -> Features:
        """Zeros of the same D and K; many of them in a scratch file in `folder`."""
        return cls(
            scratch_array((images, like.embeddings.shape[1]), folder),
            scratch_array((images, like.logits.shape[1]), folder),
        )

    def put(self, index: NDArray[np.int64], rows: Features) -> None:
        """Replace the outputs for some of the images."""
        self.embeddings[index] = rows.embeddings
        self.logits[index] = rows.logits

    def rows(self, index: NDArray[np.int64]) -> Features:
        """The outputs for some of the images, in the order of `index`."""
        return Features(embeddings=self.embeddings[index], logits=self.logits[index])


class FeatureStore:
    """Features on disk, by teacher and image content.

    A folder per teacher holds shards: safetensors files of some images each, written atomically,
    so that killed and concurrent processes leave complete ones. Damaged shards and those of
    another key are not read.

    Example:
        >>> store = FeatureStore(Path("features"))
        >>> known, features = store.read(feature_key(card), images.digests)
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "features"

    def read(self, key: str, digests: Sequence[str]) -> tuple[NDArray[np.bool_], Features | None]:
        """Read the stored features of N different images.

        Args:
            key: of the teacher, see `feature_key`.
            digests: [N] SHA-256 of the images.

        Returns:
            Which images are stored, [N], and rows for all of them, zeros for those that are not;
            None if none is.
        """
        place = {digest: row for row, digest in enumerate(digests)}
        known = np.zeros(len(digests), dtype=np.bool_)
        found: Features | None = None
        for path in sorted((self.folder / key).glob("*.safetensors")):
            if known.all():
                break
            try:
                tensors, metadata = read_tensors(path, {"format": STORE_FORMAT, "key": key})
                shard = Features(**tensors)
                names = metadata["digests"].split(" ")
            except (OSError, ValueError, KeyError, TypeError):
                continue
            pairs = [(row, place[name]) for row, name in enumerate(names) if name in place]
            if not pairs:
                continue
            if found is None:
                found = Features.blank(len(digests), shard, self.folder)
            elif _widths(found) != _widths(shard):
                continue
            rows, there = np.array(pairs).T
            found.put(there, shard.rows(rows))
            known[there] = True
        return known, found

    def names_all(self, key: str, digests: Sequence[str]) -> bool:
        """Whether the shards name all of these images; their rows are not read."""
        missing = set(digests)
        for path in (self.folder / key).glob("*.safetensors"):
            missing.difference_update(read_metadata(path).get("digests", "").split(" "))
        return not missing

    def write(self, key: str, digests: Sequence[str], features: Features) -> None:
        """Store the rows of some images.

        Raises:
            OSError: the folder cannot be written; what it holds is still good.
        """
        folder = self.folder / key
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(" ".join(digests).encode()).hexdigest()
        metadata = {"format": STORE_FORMAT, "key": key, "digests": " ".join(digests)}
        tensors = {"embeddings": features.embeddings, "logits": features.logits}
        write_tensors(folder / f"{name}.safetensors", tensors, metadata)


def _widths(features: Features) -> tuple[int, int]:
    return features.embeddings.shape[1], features.logits.shape[1]


def unseen(
    cards: Sequence[TeacherCard], digests: Sequence[str], store: FeatureStore | None = None
) -> dict[str, list[str]]:
    """Digests of the different images that are not in the store, by teacher."""
    store = store or FeatureStore()
    distinct = list(dict.fromkeys(digests))
    found: dict[str, list[str]] = {}
    for card in cards:
        found[card.name] = distinct
        if card.sha256 and card.preprocessing:  # else it has no key
            known, _ = store.read(feature_key(card), distinct)
            found[card.name] = [distinct[row] for row in np.flatnonzero(~known)]
    return found


def feature_key(card: TeacherCard) -> str:
    """Everything that a teacher's outputs depend on except the image, as a hash."""
    parts = {
        "network": card.network,
        "weights": card.sha256,
        "arguments": [card.loader, card.classes, dict(card.model_args), dict(card.overlay)],
        "preprocessing": asdict(card.input),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{card.file_name}-{digest[:32]}"
