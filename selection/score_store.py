"""Scores on disk: the same features and labels are scored once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import zoo.features.components
import zoo.features.linear_probe
from zoo.features.store import Features
from zoo.system.files import cache_folder
from zoo.system.tensors import read_tensors, write_tensors

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Scores of one teacher.

    Attributes:
        scores: by metric.
        bootstrap: [resamples] of the first metric's score; may be empty.
        permutations: scores of the first metric for permuted labels; may be empty.
    """

    scores: dict[str, float]
    bootstrap: Floats
    permutations: Floats


class ScoreStore:
    """A folder of scores, a file each. Whoever is killed leaves finished ones.

    A file that is damaged or cannot be written costs nothing but time: its teacher is scored again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "scores"

    def recall(self, key: str, compute: Callable[[], ScoreSamples]) -> ScoreSamples:
        """The scores kept under a key; else computed, and kept."""
        path = self.folder / f"{key}.safetensors"
        with suppress(OSError, ValueError):
            arrays, metadata = read_tensors(path)
            return ScoreSamples(
                json.loads(metadata["scores"]), arrays["bootstrap"], arrays["permutations"]
            )
        scored = compute()
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {"bootstrap": scored.bootstrap, "permutations": scored.permutations}
            write_tensors(path, arrays, {"scores": json.dumps(scored.scores)})
        return scored


def score_key(
    features: Features,
    labels: NDArray[np.int64],
    metrics: Sequence[str],
    known: Mapping[str, float],
    seed: int,
    resamples: int,
) -> str:
    """All that scores depend on, with the code that makes them."""
    how = [code_digest(), list(metrics), sorted(known.items()), seed, resamples]
    shapes = [features.embeddings.shape, features.logits.shape]
    digest = hashlib.sha256(repr([how, shapes]).encode())
    for array in (features.embeddings, features.logits, labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of the source files that make scores, and numpy's version."""
    digest = hashlib.sha256(np.__version__.encode())
    modules = [zoo.features.components.__file__, zoo.features.linear_probe.__file__]
    for path in [*sorted(Path(__file__).parent.glob("*.py")), *map(Path, modules)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
