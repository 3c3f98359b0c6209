"""Scores on disk: the same features and labels are scored once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.features.store import Features
from zoo.system.files import cache_folder
from zoo.system.tensors import read_tensors, write_tensors

Floats = NDArray[np.float64]
SCORES_FORMAT = "1"
"""Version of the stored scores: raise it when the file changes, or a metric gives other scores."""


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Scores of one teacher.

    Attributes:
        scores: by metric.
        bootstrap: resamples of the first metric's score; empty without.
        permutations: the first metric's scores for permuted labels; empty without.
    """

    scores: dict[str, float]
    bootstrap: Floats
    permutations: Floats


class ScoreStore:
    """A folder of scores, one file per teacher and task, each written atomically.

    A file that is damaged, of another format or key, or cannot be written only costs time: the
    scores are computed again.

    Example:
        >>> ranking = rank(outputs.features, images.labels, store=ScoreStore())
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "scores"

    def load_or_compute(self, key: str, compute: Callable[[], ScoreSamples]) -> ScoreSamples:
        """The stored scores of a key, else those that `compute` returns, which are stored."""
        path = self.folder / f"{key}.safetensors"
        identity = {"format": SCORES_FORMAT, "key": key}
        with suppress(OSError, ValueError, KeyError):
            arrays, metadata = read_tensors(path, identity)
            return ScoreSamples(
                json.loads(metadata["scores"]), arrays["bootstrap"], arrays["permutations"]
            )
        scored = compute()
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {"bootstrap": scored.bootstrap, "permutations": scored.permutations}
            write_tensors(path, arrays, {**identity, "scores": json.dumps(scored.scores)})
        return scored


def score_key(
    features: Features,
    labels: NDArray[np.int64],
    metrics: Sequence[str],
    known: Mapping[str, float],
    seed: int,
    resamples: int,
) -> str:
    """Everything that scores depend on except the code, as a hash."""
    how = [list(metrics), sorted(known.items()), seed, resamples]
    shapes = [features.embeddings.shape, features.logits.shape]
    digest = hashlib.sha256(repr([how, shapes]).encode())
    for array in (features.embeddings, features.logits, labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
