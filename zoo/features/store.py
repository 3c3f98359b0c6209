"""What a teacher says of images, and its store on disk: each image is shown to a teacher once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from zoo.system.files import cache_folder, write_atomic
from zoo.system.tensors import scratch_array
from zoo.teachers.card import TeacherCard

SHARD_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Features:
    """Outputs of one teacher for N images.

    Attributes:
        embeddings: [N, D] float32, what goes into the classifier.
        logits: [N, K] float32, what comes out of it; K = 0 for a teacher without a classifier.
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
        """Zeros as wide as other features; many of them in a file that would lie in `folder`."""
        return cls(
            scratch_array((images, like.embeddings.shape[1]), folder),
            scratch_array((images, like.logits.shape[1]), folder),
        )

    def is_like(self, other: Features) -> bool:
        """Whether both are as wide."""
        mine, theirs = ((each.embeddings.shape[1], each.logits.shape[1]) for each in (self, other))
        return mine == theirs

    def put(self, index: NDArray[np.int64], rows: Features) -> None:
        """Replace the outputs for some of the images."""
        self.embeddings[index] = rows.embeddings
        self.logits[index] = rows.logits

    def rows(self, index: NDArray[np.int64]) -> Features:
        """The outputs for some of the images, in the order of `index`."""
        return Features(embeddings=self.embeddings[index], logits=self.logits[index])


class FeatureStore:
    """Features on disk, by teacher and image content.

    A folder per teacher holds shards: safetensors files, each written whole under a name that
    is the hash of its content. Whoever is killed leaves finished shards; whoever works beside
    leaves others; a shard that is damaged or of another teacher is left unread.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "features"

    def read(self, key: str, digests: Sequence[str]) -> tuple[NDArray[np.bool_], Features | None]:
        """What is known of N different images: which of them [N], and rows for all.

        The rows of the others are zeros, to be filled; None if there is nothing to go by.
        """
        place = {digest: row for row, digest in enumerate(digests)}
        known = np.zeros(len(digests), dtype=np.bool_)
        found: Features | None = None
        for path in sorted((self.folder / key).glob("*.safetensors")):
            if known.all():
                break
            if (shard := _read_shard(path, key)) is None:
                continue
            names, features = shard
            here = [(row, place[name]) for row, name in enumerate(names) if name in place]
            if not here or (found and not found.is_like(features)):
                continue
            found = found or Features.blank(len(digests), features, self.folder)
            rows, there = np.array(here).T
            found.put(there, features.rows(rows))
            known[there] = True
        return known, found

    def write(self, key: str, digests: Sequence[str], features: Features) -> None:
        """Keep the rows of some images.

        Raises:
            OSError: the folder cannot be written; what was there before is still good.
        """
        # safetensors writes the buffer of a view, not what the view shows
        tensors = {
            "embeddings": np.ascontiguousarray(features.embeddings),
            "logits": np.ascontiguousarray(features.logits),
        }
        metadata = _shard_metadata(key, digests, tensors)
        content = save(tensors, metadata=metadata)
        folder = self.folder / key
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{metadata['sha256']}.safetensors", content)


def unseen(
    cards: Sequence[TeacherCard], digests: Sequence[str], store: FeatureStore | None = None
) -> dict[str, list[str]]:
    """By teacher, those of the images that it has not seen yet, each once; nothing is asked."""
    store = store or FeatureStore()
    distinct = list(dict.fromkeys(digests))
    found: dict[str, list[str]] = {}
    for card in cards:
        found[card.name] = distinct
        if card.sha256 and card.preprocessing:  # else nobody can have asked it
            known, _ = store.read(feature_key(card), distinct)
            found[card.name] = [distinct[row] for row in np.flatnonzero(~known)]
    return found


def feature_key(card: TeacherCard) -> str:
    """All that a teacher's outputs depend on but the image: weights, preprocessing and view."""
    parts = {
        "format": SHARD_FORMAT,
        "network": card.network,
        "weights": card.sha256,
        "arguments": [card.loader, card.classes, dict(card.model_args), dict(card.overlay)],
        "preprocessing": asdict(card.input),
        "view": "clean",
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{card.file_name}-{digest[:32]}"


def _shard_metadata(
    key: str, digests: Sequence[str], tensors: Mapping[str, NDArray[np.float32]]
) -> dict[str, str]:
    payload = hashlib.sha256("".join([key, *digests]).encode())
    for name in sorted(tensors):
        payload.update(tensors[name].tobytes())
    return {"key": key, "digests": " ".join(digests), "sha256": payload.hexdigest()}


def _read_shard(path: Path, key: str) -> tuple[list[str], Features] | None:
    """A shard's digests and rows; None if it is not what it says it is."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in ("embeddings", "logits")}
        digests = metadata["digests"].split(" ")
        if metadata != _shard_metadata(key, digests, tensors):
            return None
        return digests, Features(**tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
