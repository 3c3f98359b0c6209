"""Metrics that compare the similarities of images in two descriptions: CKA, RSA and KITE."""

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
    every = np.arange(len(one))
    return _align(_read(one, every), _read(other, every))


def rsa(features: Features, labels: Labels, reference: Features) -> float:
    """Representation similarity with a reference network, from -1 to 1; chance is 0.

    Spearman correlation, over all pairs of images, of 1 - Pearson between rows of the teacher's
    features with the same of the reference's, there a small network trained on the target (Dwivedi
    and Roig, CVPR 2019). Labels are not used. Scale and order do not matter; a rotation or a shift
    does, since each row is centered over the features. O(N^2 (D + log N)) time and about 60 N^2
    bytes: for a few thousand images. Fails where the reference is poor.
    """
    check_input(features, labels)
    if len(features) != len(reference):
        raise ValueError(f"{len(features)} images and {len(reference)} images")
    one, other = _rank_distances(features, "its"), _rank_distances(reference, "the reference's")
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def kite(features: Features, labels: Labels, reference: Features) -> float:
    """CKA with the labels over CKA with a random network, above 0; chance is CKA's over the other.

    KITE (Guo, arXiv 2405.01603, 2024): CKA(K, K_labels) / CKA(K, K_random), K_random of the same
    images in a network with random weights, which is the reference here. That ratio is what the
    paper's public summaries state, without kernel and centering; both CKAs are linear here (`cka`,
    `cka_between`) over the labeled images. O(L D min(L, D)). Fails where `cka` does, and with few
    images, where the CKA with a random network is biased upwards.
    """
    labeled = check_input(features, labels)
    if len(features) != len(reference):
        raise ValueError(f"{len(features)} images and {len(reference)} images")
    rows = _center(features.embeddings[labeled])
    near = _align(rows, _center(one_hot(labels[labeled])))
    return near / _align(rows, _read(reference, labeled, "the reference's"))


def _read(features: Features, chosen: NDArray[np.int64], whose: str = "its") -> Floats:
    """Centered rows of some images, once they are known to be finite and to vary."""
    if not np.isfinite(features.embeddings[chosen]).all():
        raise RankingError(f"{whose} features hold numbers that are not finite")
    if not np.ptp(features.embeddings[chosen], axis=0).any():
        raise RankingError(f"{whose} features are the same for every image")
    return _center(features.embeddings[chosen])


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


def _rank_distances(features: Features, whose: str) -> Floats:
    """Centered ranks, ties sharing the middle, of 1 - Pearson over all pairs: [N (N - 1) / 2]."""
    rows = features.embeddings.astype(np.float64)
    if not np.isfinite(rows).all():
        raise RankingError(f"{whose} features hold numbers that are not finite")
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() <= 1e-6 * np.abs(features.embeddings).max():
        raise RankingError(f"{whose} features are constant for an image")
    rows /= lengths
    near = (rows @ rows.T)[np.triu_indices(len(rows), k=1)].round(10)
    _, place, counts = np.unique(near, return_inverse=True, return_counts=True)
    if len(counts) == 1:
        raise RankingError(f"{whose} features put every pair of images equally far apart")
    ranks = counts.cumsum() - counts / 2
    return (ranks - ranks @ counts / counts.sum())[place]
