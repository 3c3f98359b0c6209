"""Metrics that compare the similarities of images in two descriptions: CKA, linear and RBF."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, check_input, one_hot
from zoo.errors import RankingError
from zoo.features.store import Features

BLOCK = 1024
"""Rows of a kernel matrix that are held at a time."""

SAMPLE = 2048
"""Images, evenly spaced, whose distances give the width of the RBF kernel."""


def cka(features: Features, labels: Labels) -> float:
    """Linear centered kernel alignment of features and one-hot labels, from 0 to 1.

    |Y'X|^2 / (|X'X| |Y'Y|), all centered (Kornblith et al., ICML 2019, section 3; the biased
    estimate). 1 for classes that are equally distant points; chance is sqrt((C - 1) / (L - 1)) for
    L < D and falls with the features' effective width. Rotation, shift, scale and order do not
    matter. Unlabeled rows play no part. O(L D min(L, D)). Fails where a few wide directions
    unrelated to the classes hold most of the variance.
    """
    labeled = check_input(features, labels)
    return _align(_center(features.embeddings[labeled]), _center(one_hot(labels[labeled])))


def cka_rbf(features: Features, labels: Labels) -> float:
    """CKA of an RBF kernel of the features and one-hot labels, from 0 to 1; chance as for `cka`.

    exp(-d^2 / (2 m)), m the median squared distance of two images (Kornblith et al., ICML 2019,
    section 3, who try several fractions of the median: this is fraction 1). Of more than 2048
    labeled images so many, evenly spaced, give the median. Unlabeled rows play no part. O(L^2 D)
    time, O(L D) memory. Fails in very wide spaces, where all distances are alike; and where half of
    all pairs are duplicates there is no median distance.
    """
    labeled = check_input(features, labels)
    rows = _center(features.embeddings[labeled])
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)]
    distances = _square_distances(chosen, chosen)[np.triu_indices(len(chosen), k=1)]
    width = float(np.median(distances))
    if width <= 1e-12 * float(distances.max()):
        raise RankingError("half of its features are duplicates")
    members = one_hot(labels[labeled])
    shares = members @ members.mean(axis=0)  # of each image's class
    squares = together = 0.0
    sums = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        kernel = np.exp(_square_distances(rows[part], rows) / (-2 * width))
        squares += float(np.square(kernel).sum())
        sums[part] = kernel.sum(axis=1)
        together += float(np.sum((kernel @ members) * members[part]))
    expected = 2 * float(sums @ shares) - float(sums.sum()) * float(shares.mean())
    spread = squares - 2 * float(sums @ sums) / len(rows) + (float(sums.sum()) / len(rows)) ** 2
    return (together - expected) / (math.sqrt(spread) * _gram_norm(_center(members)))


def cka_between(one: Features, other: Features) -> float:
    """Linear CKA of two teachers' features of the same N images, from 0 to 1: 1 is redundant.

    Kornblith et al., ICML 2019, section 3. Chance is near 1 for N far below both widths and near 0
    for N far above them. Rotation, shift and scale of either do not matter. O(N D min(N, D)).
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} images and {len(other)} images")
    for features in (one, other):
        if not np.isfinite(features.embeddings).all():
            raise RankingError("its features hold numbers that are not finite")
        if not np.ptp(features.embeddings, axis=0).any():
            raise RankingError("its features are the same for every image")
    return _align(_center(one.embeddings), _center(other.embeddings))


def _center(rows: NDArray[Any]) -> Floats:
    rows = rows.astype(np.float64)
    return rows - rows.mean(axis=0)


def _align(one: Floats, other: Floats) -> float:
    """Linear CKA of two sets of centered rows, over the smaller matrices."""
    count, width, breadth = len(one), one.shape[1], other.shape[1]
    if count * (width + breadth) < width * width + breadth * breadth + width * breadth:
        first, second = one @ one.T, other @ other.T
        together = float(np.sum(first * second))
        return together / (float(np.linalg.norm(first)) * float(np.linalg.norm(second)))
    together = float(np.square(one.T @ other).sum())
    return together / (_gram_norm(one) * _gram_norm(other))


def _gram_norm(rows: Floats) -> float:
    wide = len(rows) < rows.shape[1]
    return float(np.linalg.norm(rows @ rows.T if wide else rows.T @ rows))


def _square_distances(one: Floats, other: Floats) -> Floats:
    lengths = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    return (lengths - 2 * one @ other.T).clip(min=0)
