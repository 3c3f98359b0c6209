"""Metrics that are the accuracy of a simple classifier, leaving out: k-NN and a linear probe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selection.index import find_nearest
from selection.metrics.checks import Floats, Labels, Scorer, check_input
from zoo.features.linear_probe import decompose, score_left_out, standardize
from zoo.features.store import Features


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
    return _score(prepare_knn(features, labels), labels)


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
    return _score(prepare_linear_probe(features, labels), labels)


def prepare_knn(features: Features, labels: Labels) -> Scorer:
    """Each image keeps its neighbor in every resample."""
    nearest = find_nearest(features.embeddings[check_input(features, labels)], k=1)[:, 0]
    return _hit_rate(lambda known: known[nearest] == known)


def prepare_linear_probe(features: Features, labels: Labels) -> Scorer:
    """The probes are not refitted in a resample; for other labels they are."""
    labeled = check_input(features, labels)
    components = decompose(standardize(features.embeddings)[labeled])

    def hit(known: Labels) -> NDArray[np.bool_]:
        classes = np.unique(known, return_inverse=True)[1]
        return score_left_out(components, classes)[0].argmax(axis=1) == classes

    return _hit_rate(hit)


def _hit_rate(hit: Callable[[Labels], NDArray[np.bool_]]) -> Scorer:
    def label(known: Labels) -> Callable[[Floats], float]:
        hits = hit(known)
        return lambda counts: float(counts @ hits / counts.sum())

    return label


def _score(scorer: Scorer, labels: Labels) -> float:
    known = labels[labels >= 0]
    return scorer(known)(np.ones(len(known)))
