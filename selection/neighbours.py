"""Nearest neighbours among images, exact, with FAISS; the only file that imports it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_nearest(embeddings: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """For each of N images the k others of highest cosine similarity, the nearest first.

    A row of zeros has similarity 0 with all others. O(N^2 D) time, O(N (D + k)) memory.

    Args:
        embeddings: [N, D], finite.
        k: from 1 to N - 1.

    Returns:
        Row numbers, [N, k]; a row never holds its own number.
    """
    import faiss  # 0.2 s, and on macOS it has to come after torch

    count, width = embeddings.shape
    if not 1 <= k < count:
        raise ValueError(f"{count} images have no {k} neighbours each")
    rows = embeddings.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    index = faiss.IndexFlatIP(width)
    index.add(unit)
    found: NDArray[np.int64] = index.search(unit, k + 1)[1]
    itself = found == np.arange(count, dtype=np.int64).reshape(count, 1)
    # Among duplicates FAISS may find k + 1 others: then the farthest goes.
    itself[~itself.any(axis=1), -1] = True
    return found[~itself].reshape(count, k)
