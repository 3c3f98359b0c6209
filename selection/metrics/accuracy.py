"""Metrics that are the accuracy of a simple classifier, leaving out: k-NN and a linear probe."""

from __future__ import annotations

import numpy as np

from selection.index import find_nearest
from selection.metrics.checks import Labels, Scorer, check_input
from zoo.features.linear_probe import (
    decompose,
    score_left_out,
    score_left_out_once,
    standardize,
)
from zoo.features.store import Features

NEIGHBORS = 32
"""Neighbors that are known of each image: of a half, one in 2^32 images loses all of them."""


def knn(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of the nearest neighbor by cosine, from 0 to 1; chance is near 1/C.

    The k-NN proxy of Renggli et al., CVPR 2022, with k = 1: with four images per class an image has
    three others of its class, so that a larger k would add votes of other classes even for perfect
    features. Unlabeled rows play no part. The only image of its class is always a miss. Fails where
    classes differ along directions of little variance. O(L^2 D) for L labeled images.

    Example:
        >>> rows = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
        >>> knn(Features(rows, rows), np.array([0, 0, 1, 1]))
        1.0
    """
    return prepare_knn(features, labels, neighbors=1)(labels[labels >= 0])


def linear_probe(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of a linear probe, from 0 to 1; chance is near 1/C.

    Ridge regression onto one-hot labels, leaving out one image of every class at a time
    (`zoo.features.linear_probe.ridge_leave_one_out` explains it; the identity behind it is PRESS of
    Allen, Technometrics 1974). Features are standardized over all rows, labeled or not. The only
    image of its class is always a miss. The i-th images of all classes go together, so the order of
    images matters a little. Fails to separate good teachers: with L < D many reach 1.
    O(N D + L D min(L, D)) for L labeled of N images.

    Example:
        >>> rows = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
        >>> linear_probe(Features(rows, rows), np.array([0, 0, 1, 1]))
        1.0
    """
    return prepare_linear_probe(features, labels)(labels[labels >= 0])


def prepare_knn(features: Features, labels: Labels, *, neighbors: int = NEIGHBORS) -> Scorer:
    """Neighbors are searched once: an image has the nearest of them that is not left out."""
    embeddings = features.embeddings[check_input(features, labels)]
    nearest = find_nearest(embeddings, k=min(neighbors, len(embeddings) - 1))

    def score(known: Labels) -> float:
        kept = known >= 0
        first = kept[nearest].argmax(axis=1)[:, None]  # one that is left out has label -1: a miss
        hits = known[np.take_along_axis(nearest, first, axis=1)[:, 0]] == known
        return float(hits[kept].mean())

    return score


def prepare_linear_probe(features: Features, labels: Labels) -> Scorer:
    """Features are standardized and decomposed once; a half has the strength of the whole."""
    labeled = check_input(features, labels)
    rows = standardize(features.embeddings)[labeled]
    components = decompose(rows)
    strength = score_left_out(components, _number(labels[labeled]))[1]
    if len(rows) < rows.shape[1]:  # the same rows, rotated into fewer columns
        rows = components[0] * np.sqrt(components[1])

    def score(known: Labels) -> float:
        kept = known >= 0
        classes = _number(known[kept])
        if kept.all():
            scores = score_left_out(components, classes)[0]
        else:
            scores = score_left_out_once(rows[kept], classes, strength)
        return float(np.equal(scores.argmax(axis=1), classes).mean())

    return score


def _number(labels: Labels) -> Labels:
    """The same classes as 0, 1, 2, ..."""
    return np.unique(labels, return_inverse=True)[1]
