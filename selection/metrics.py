"""How close a teacher is to the target task: scores of (features, labels), higher is closer.

To add one, write a function with the signature of `Metric` and its bootstrap, and name both in the
two tables at the end. A label of -1 marks an unlabelled image: it may help to fit a projection or a
scale, and is never scored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zoo.errors import RankingError
from zoo.features import Features
from zoo.probe import decompose, ridge_leave_one_out, standardise

from .neighbours import find_nearest
from .pairs import Pairs, correlate, sort_pairs

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Metric = Callable[[Features, Labels], float]
Bootstrap = Callable[[Features, Labels, np.random.Generator, int], Floats]


def parc(features: Features, labels: Labels) -> float:
    """Pairwise annotation representation comparison, from -1 to 1; chance is 0.

    Spearman correlation of two distances over all pairs of labelled images: 1 - Pearson between
    their rows of 32 standardised principal components, and whether their labels differ (PARC of
    Bolya et al., NeurIPS 2021, who multiply by 100); `selection.pairs.correlate` has the formula.
    The ceiling sqrt(3 q (1 - q)), q the share of same-class pairs, is 0.87 for two classes, 0.52
    for 10 and 0.10 for 200: compare teachers within a target, not targets.

    The projection is fitted on all rows, labelled or not; without unlabelled rows this is the
    published form. That form fails with few labels: N images standardised in N - 1 directions are
    all equally far. O(N D min(N, D) + L^2 log L) for L labelled of N images.
    """
    pairs = _sort_parc_pairs(features, labels)
    return correlate(pairs, np.ones(np.count_nonzero(labels >= 0)))


def knn(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of the nearest neighbour by cosine, from 0 to 1; chance is near 1/C.

    The k-NN proxy of Renggli et al., CVPR 2022, with k = 1: of four images per class an image has
    three fellows, so with more neighbours other classes would vote even in perfect features.
    Unlabelled rows play no part. The only image of its class is always a miss. Fails where classes
    part along directions of little variance. O(L^2 D) for L labelled images.
    """
    return float(_hit_by_knn(features, labels).mean())


def probe(features: Features, labels: Labels) -> float:
    """Leave-one-out accuracy of a linear probe, from 0 to 1; chance is near 1/C.

    Ridge regression onto one-hot labels, leaving out one image of every class at a time
    (`zoo.probe.ridge_leave_one_out` says why; the identity behind it is PRESS of Allen,
    Technometrics 1974). Features are standardised over all rows, labelled or not. The only image of
    its class is always a miss. The i-th images of all classes go together, so the order of images
    matters a little. Fails to separate good teachers: with L < D many reach 1.
    O(N D + L D min(L, D)) for L labelled of N images.
    """
    return float(_hit_by_probe(features, labels).mean())


def bootstrap_parc(
    features: Features, labels: Labels, rng: np.random.Generator, resamples: int
) -> Floats:
    """PARC of each resample, [resamples]; the projection and the distances stay as they are.

    An image drawn twice makes no pair with itself. O(L^2) per resample of L labelled images.
    """
    pairs = _sort_parc_pairs(features, labels)
    drawn = draw_counts(labels[labels >= 0], rng, resamples)
    return np.array([correlate(pairs, counts) for counts in drawn], dtype=np.float64)


def bootstrap_knn(
    features: Features, labels: Labels, rng: np.random.Generator, resamples: int
) -> Floats:
    """Accuracy of each resample, [resamples]; each image keeps its neighbour."""
    hits = _hit_by_knn(features, labels)
    return draw_counts(labels[labels >= 0], rng, resamples) @ hits / len(hits)


def bootstrap_probe(
    features: Features, labels: Labels, rng: np.random.Generator, resamples: int
) -> Floats:
    """Accuracy of each resample, [resamples]; the probes are not refitted."""
    hits = _hit_by_probe(features, labels)
    return draw_counts(labels[labels >= 0], rng, resamples) @ hits / len(hits)


def check_labels(labels: Labels) -> None:
    """Refuse labels from which no metric can tell teachers apart.

    Raises:
        RankingError: nothing is labelled, all is one class, or no class has two images.
    """
    if (labels < -1).any():
        raise ValueError("labels are classes 0, 1, 2, ... or -1 for an unlabelled image")
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    if not len(sizes):
        raise RankingError(
            "No image is labelled. Put images into one folder per class, or give a label file."
        )
    if len(sizes) == 1:
        raise RankingError("All labelled images are of one class. Label images of a second class.")
    if sizes.max() == 1:
        raise RankingError("No class has two labelled images. Label more images of each class.")


def draw_counts(labels: Labels, rng: np.random.Generator, resamples: int) -> Floats:
    """Draw images with replacement, within each class as many as it has: [resamples, N] counts.

    A resample in which every class is copies of one image has no pair to score: it is redrawn.
    """
    counts = np.empty((resamples, len(labels)))
    rows = np.arange(resamples)
    while len(rows):
        paired = np.zeros(len(rows), dtype=np.bool_)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            size = len(members)
            drawn = rng.multinomial(size, np.full(size, 1 / size), size=len(rows))
            counts[np.ix_(rows, members)] = drawn
            paired |= np.count_nonzero(drawn, axis=1) > 1
        rows = rows[~paired]
    return counts


def _sort_parc_pairs(features: Features, labels: Labels) -> Pairs:
    labeled = _check_input(features, labels)
    rows = decompose(features.embeddings)[0][:, :32] * np.sqrt(len(labels))
    if rows.shape[1] < 2:
        raise RankingError("its features vary in one direction only")
    rows = rows[labeled] - rows[labeled].mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() < 1e-6:
        raise RankingError("its principal components are constant for an image")
    rows /= lengths
    # Rounding lets duplicates of an image tie, whatever the order of the sums.
    distances = (1 - rows @ rows.T).round(10)
    pairs = sort_pairs(distances, labels[labeled])
    if len(pairs.runs) == 1:
        raise RankingError("its features put every pair of images equally far apart")
    return pairs


def _hit_by_knn(features: Features, labels: Labels) -> NDArray[np.bool_]:
    labeled = _check_input(features, labels)
    known = labels[labeled]
    return known[find_nearest(features.embeddings[labeled], k=1)[:, 0]] == known


def _hit_by_probe(features: Features, labels: Labels) -> NDArray[np.bool_]:
    labeled = _check_input(features, labels)
    known = np.unique(labels[labeled], return_inverse=True)[1]
    scores, _ = ridge_leave_one_out(standardise(features.embeddings)[labeled], known)
    return scores.argmax(axis=1) == known


def _check_input(features: Features, labels: Labels) -> NDArray[np.int64]:
    """Row numbers of the labelled images, once labels and features can be scored."""
    if labels.shape != (len(features),):
        raise ValueError(f"{len(features)} images, labels of shape {labels.shape}")
    check_labels(labels)
    labeled = np.flatnonzero(labels >= 0)
    if not np.isfinite(features.embeddings).all():
        raise RankingError("its features hold numbers that are not finite")
    if not np.ptp(features.embeddings[labeled], axis=0).any():
        raise RankingError("its features are the same for every labelled image")
    return labeled


METRICS: dict[str, Metric] = {"parc": parc, "knn": knn, "probe": probe}
BOOTSTRAPS: dict[str, Bootstrap] = {
    "parc": bootstrap_parc,
    "knn": bootstrap_knn,
    "probe": bootstrap_probe,
}
