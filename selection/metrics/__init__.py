"""How close a teacher is to the target task: scores of (features, labels), higher is closer.

To add one, write a function with the signature of `Metric` and name it in METRICS. A label of -1
marks an unlabeled image: it may help to fit a projection or a scale, and is never scored. What
does not depend on the labels can be computed once for all resamples: SCORERS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selection.index import find_nearest
from selection.metrics.checks import check_input
from selection.metrics.evidence import hscore, logme
from selection.metrics.pairs import Scorer, compare_pairs, correlate
from selection.metrics.separation import gbc, ncti, transrate
from selection.metrics.similarity import cka, cka_rbf
from selection.metrics.transfer import leep, nce, nleep
from zoo.errors import RankingError
from zoo.features.components import decompose
from zoo.features.linear_probe import score_left_out, standardize
from zoo.features.store import Features

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Metric = Callable[[Features, Labels], float]


def parc(features: Features, labels: Labels) -> float:
    """Pairwise annotation representation comparison, from -1 to 1; chance is 0.

    Spearman correlation of two distances over all pairs of labeled images: 1 - Pearson between
    their rows of 32 standardized principal components, and whether their labels differ (PARC of
    Bolya et al., NeurIPS 2021, who multiply by 100); `selection.metrics.pairs.correlate` has the formula.
    The ceiling sqrt(3 q (1 - q)), q the share of same-class pairs, is 0.87 for two classes, 0.52
    for 10 and 0.10 for 200: compare teachers within a target, not targets.

    The projection is fitted on all rows, labeled or not; without unlabeled rows this is the
    published form. That form fails with few labels: N images standardized in N - 1 directions are
    all equally far. O(N D min(N, D) + M) for M pairs (`selection.metrics.pairs.MOST`).
    """
    return _score(_prepare_parc, features, labels)


def knn(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of the nearest neighbor by cosine, from 0 to 1; chance is near 1/C.

    The k-NN proxy of Renggli et al., CVPR 2022, with k = 1: of four images per class an image has
    three fellows, so with more neighbors other classes would vote even in perfect features.
    Unlabeled rows play no part. The only image of its class is always a miss. Fails where classes
    part along directions of little variance. O(L^2 D) for L labeled images.
    """
    return _score(_prepare_knn, features, labels)


def probe(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of a linear probe, from 0 to 1; chance is near 1/C.

    Ridge regression onto one-hot labels, leaving out one image of every class at a time
    (`zoo.features.linear_probe.ridge_leave_one_out` says why; the identity behind it is PRESS of Allen,
    Technometrics 1974). Features are standardized over all rows, labeled or not. The only image of
    its class is always a miss. The i-th images of all classes go together, so the order of images
    matters a little. Fails to separate good teachers: with L < D many reach 1.
    O(N D + L D min(L, D)) for L labeled of N images.
    """
    return _score(_prepare_probe, features, labels)


def _score(
    prepare: Callable[[Features, Labels], Scorer], features: Features, labels: Labels
) -> float:
    known = labels[check_input(features, labels)]
    return prepare(features, labels)(known)(np.ones(len(known)))


def _prepare_parc(features: Features, labels: Labels) -> Scorer:
    """The projection and the distances stay as they are in every resample."""
    labeled = check_input(features, labels)
    rows = decompose(features.embeddings, 32)[0] * np.sqrt(len(labels))
    if rows.shape[1] < 2:
        raise RankingError("its features vary in one direction only")
    rows = rows[labeled] - rows[labeled].mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() < 1e-6:
        raise RankingError("its principal components are constant for an image")
    pairs = compare_pairs(rows / lengths)
    if not np.ptp(pairs.steps):
        raise RankingError("its features put every pair of images equally far apart")
    return correlate(pairs)


def _prepare_knn(features: Features, labels: Labels) -> Scorer:
    """Each image keeps its neighbor in every resample."""
    nearest = find_nearest(features.embeddings[check_input(features, labels)], k=1)[:, 0]
    return _hit_rate(lambda known: known[nearest] == known)


def _prepare_probe(features: Features, labels: Labels) -> Scorer:
    """The probes are not refitted in a resample; for other labels they are."""
    components = decompose(standardize(features.embeddings)[check_input(features, labels)])

    def hit(known: Labels) -> NDArray[np.bool_]:
        classes = np.unique(known, return_inverse=True)[1]
        return score_left_out(components, classes)[0].argmax(axis=1) == classes

    return _hit_rate(hit)


def _hit_rate(hit: Callable[[Labels], NDArray[np.bool_]]) -> Scorer:
    def label(known: Labels) -> Callable[[Floats], float]:
        hits = hit(known)
        return lambda counts: float(counts @ hits / counts.sum())

    return label


METRICS: dict[str, Metric] = {
    "parc": parc,
    "knn": knn,
    "probe": probe,
    "logme": logme,
    "hscore": hscore,
    "leep": leep,
    "nce": nce,
    "nleep": nleep,
    "gbc": gbc,
    "transrate": transrate,
    "ncti": ncti,
    "cka": cka,
    "cka_rbf": cka_rbf,
}
SCORERS: dict[str, Callable[[Features, Labels], Scorer]] = {
    "parc": _prepare_parc,
    "knn": _prepare_knn,
    "probe": _prepare_probe,
}
