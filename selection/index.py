"""Neighbors, centers and an index of vectors, by FAISS; the only file that imports it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.features.kernel import scale_rows

PLAIN = 50_000
"""Fewer images are searched exactly, by a matrix product; more by a graph of near ones."""
BLOCK = 1024
LINKS, BREADTH = 16, 64
"""Of the graph: links of an image, and candidates of a search; recall and time:
docs/performance.md."""


def find_nearest(embeddings: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """For each of N images the k others of highest cosine similarity, the nearest first.

    Of equally near ones the first row comes first, but which of them are among the k is arbitrary.
    A row of zeros has similarity 0 with all others. O(N (D + k)) memory; O(N^2 D) time below
    `PLAIN` images. From there on a graph is searched, in O(N log N D), and a few neighbors are
    missed (HNSW: Malkov and Yashunin, IEEE TPAMI 2020).

    Args:
        embeddings: [N, D], finite.
        k: from 1 to N - 1.

    Returns:
        Row numbers, [N, k]; a row never holds its own number.

    Example:
        >>> find_nearest(np.array([[1, 0], [0, 1], [2, 0.1]], dtype=np.float32), k=1).tolist()
        [[2], [2], [0]]
    """
    count = len(embeddings)
    if not 1 <= k < count:
        raise ValueError(f"{count} images have no {k} neighbors each")
    unit = unit_rows(embeddings)
    return _multiply(unit, k) if count < PLAIN else _search(unit, k)


def _multiply(unit: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    found = np.empty((len(unit), k), dtype=np.int64)
    for start in range(0, len(unit), BLOCK):
        far = unit[start : start + BLOCK] @ -unit.T
        own = np.arange(len(far))
        far[own, start + own] = np.inf
        near = far.argpartition(k - 1, axis=1)[:, :k] if k > 1 else far.argmin(axis=1)[:, None]
        near.sort(axis=1)  # of equally near ones the first
        order = np.take_along_axis(far, near, axis=1).argsort(axis=1, kind="stable")
        found[start : start + BLOCK] = np.take_along_axis(near, order, axis=1)
    return found


def _search(unit: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = _graph_index(unit).search(unit, k + 1)[1]
    few = np.flatnonzero((found < 0).any(axis=1))  # the search came to fewer
    if len(few):
        found[few] = build_index(unit).search(unit[few], k + 1)[1]
    itself = found == np.arange(len(unit), dtype=np.int64)[:, None]
    # among duplicates FAISS may find k + 1 others: then the farthest is dropped
    itself[~itself.any(axis=1), -1] = True
    return found[~itself].reshape(len(unit), k)


def _graph_index(unit: NDArray[np.float32]) -> Any:
    """A FAISS index that follows a graph of near rows."""
    import faiss

    index = faiss.IndexHNSWFlat(unit.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = BREADTH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # several would build another graph each time
    try:
        index.add(unit)
    finally:
        faiss.omp_set_num_threads(threads)
    return index


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """`scale_rows` of [N, D] in float32, a block at a time."""
    unit = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        unit[start : start + BLOCK] = scale_rows(rows[start : start + BLOCK].astype(np.float64))
    return unit


def find_centers(embeddings: NDArray[np.floating], k: int, seed: int = 0) -> NDArray[np.float32]:
    """Centers of the directions of N images by spherical k-means, unit length, [k, D].

    Fewer distinct images than k are their own centers.
    """
    import faiss

    unit = unit_rows(embeddings)
    distinct: dict[bytes, NDArray[np.float32]] = {}
    for row in unit:
        distinct.setdefault((row + 0.0).tobytes(), row)  # -0.0 becomes 0.0
        if len(distinct) > k:
            break
    else:
        return np.unique([*distinct.values()], axis=0)
    # min_points keeps FAISS from writing a warning to stderr
    means: Any = faiss.Kmeans(
        unit.shape[1], k, niter=20, seed=seed, spherical=True, min_points_per_centroid=1
    )
    means.train(unit)
    return unit_rows(means.centroids)


def build_index(rows: NDArray[np.float32]) -> Any:
    """An exact FAISS index of rows [T, A], by inner product."""
    import faiss  # 0.2 s, and on macOS it has to come after torch

    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index


def pack_index(index: Any) -> NDArray[np.uint8]:
    """The bytes of an index, as FAISS writes it into a file."""
    import faiss

    return faiss.serialize_index(index)


def unpack_index(content: NDArray[np.uint8]) -> Any:
    """The index that `pack_index` made bytes of."""
    import faiss

    return faiss.deserialize_index(content)
