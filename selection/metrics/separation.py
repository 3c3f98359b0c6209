"""Metrics of how far apart a teacher puts the classes: GBC, TransRate and NCTI."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, check_input
from zoo.errors import RankingError
from zoo.features.linear_probe import decompose, softmax
from zoo.features.store import Features

WIDTH = 64
"""Principal components that GBC and NCTI look at."""

FLOOR = 1e-4
"""Least variance of a feature in GBC, as in the authors' code."""

DISTORTION = 1e-4
"""Distortion of TransRate's coding rate, as published."""

DISTINCT = 1e-4
"""Standard deviations, relative, below which NCTI's discriminant takes a direction for rounding."""


def gbc(features: Features, labels: Labels) -> float:
    """Gaussian Bhattacharyya coefficient, from -C (C - 1) to 0; chance is near the former.

    Minus the sum of exp(-Bhattacharyya distance) over all ordered pairs of classes, each class a
    spherical Gaussian after PCA to 64 dimensions (Pandy et al., CVPR 2022), with the authors' floor
    of 1e-4 under each variance. Their code takes the logarithm of the variance once, not once per
    dimension: here the distance is the paper's. Rotation, shift and order do not matter; scale does
    only where the floor is reached. PCA is fitted on all rows, labeled or not, classes on the
    labeled. O(N D min(N, D)). Fails with many dimensions per image, where every score nears 0.
    """
    labeled = check_input(features, labels)
    rows = _reduce(features)[labeled]
    means, known = _average(rows, labels[labeled])
    spread = np.stack([rows[known == label].var(axis=0) for label in range(len(means))])
    variance = spread.clip(min=FLOOR).mean(axis=1)
    shared = (variance[:, None] + variance) / 2
    lengths = np.square(means).sum(axis=1)
    apart = (lengths[:, None] + lengths - 2 * means @ means.T).clip(min=0)
    stretch = np.log(shared) - 0.5 * (np.log(variance)[:, None] + np.log(variance))
    overlap = np.exp(-apart / shared / 8 - 0.5 * rows.shape[1] * stretch)
    return float(np.trace(overlap) - overlap.sum())


def transrate(features: Features, labels: Labels) -> float:
    """Mutual information of features and labels as coding rates, in nats; chance is above 0.

    R(Z) - mean over classes of R(Z_c), R(Z) = log det(I + Z'Z / (n e)) / 2, Z centered over all
    classes, n its own number of rows, e = 1e-4 (Huang et al., ICML 2022). Classes count equally, as
    in the authors' listing; the equation weighs them by size, and only where all are of one size is
    the score never below 0. Rotation, shift and order do not matter, scale does. Unlabeled rows
    play no part. O(L D min(L, D)). Fails with L near D or below, where chance is high, and prefers
    features of large scale.
    """
    labeled = check_input(features, labels)
    rows = features.embeddings[labeled].astype(np.float64)
    rows -= rows.mean(axis=0)
    known = labels[labeled]
    within = [_rate(rows[known == label]) for label in np.unique(known)]
    return _rate(rows) - float(np.mean(within))


def ncti(features: Features, labels: Labels) -> float:
    """Nearness to neural collapse, any number; chance depends on N and C.

    Wang et al., ICCV 2023: the spread of the class centers towards a simplex, plus the nearness of
    each image to its own center, less the spread within classes. The paper scales each term to
    [0, 1] over the teachers at hand; a score of one teacher cannot. Here the three are joined as
    logarithms, log(spread) + log(nearness) - log(spread within), which weighs equal ratios
    equally and does not grow with the number of images.

    O(N D min(N, D) + L C min(L, C)). Fails with less than a few times 64 images, where a
    discriminant of 64 dimensions separates any classes.
    """
    simplex, nearest, variability = ncti_terms(features, labels)
    return float(np.log(simplex) + np.log(nearest) - variability)


def ncti_terms(features: Features, labels: Labels) -> tuple[float, float, float]:
    """NCTI's three terms as the authors' code has them, before they are scaled over teachers.

    PCA to 64 dimensions (on all rows, labeled or not), then linear discriminant analysis on the
    labeled ones, its within-class covariance shrunk by exp(-variance of 32 components), so that all
    three depend on the scale of the features.

    Returns:
        The nuclear norm of the centered discriminant coordinates; the mean probability of an
        image's own class; the log of the nuclear norms of each class's probabilities, summed.
    """
    labeled = check_input(features, labels)
    every = _reduce(features)
    rows = every[labeled]
    means, known = _average(rows, labels[labeled])
    energy = np.square(every[:, :32]).sum() / (len(every) - 1)
    low, chances = _discriminate(rows, means, known, max(np.exp(-energy), 1e-10))
    low = low - low.mean(axis=0)
    within = sum(_nuclear_norm(chances[known == label]) for label in range(len(means)))
    nearest = chances[np.arange(len(known)), known].mean()
    if not (low.any() and nearest > 0):
        raise RankingError("its class centers coincide")
    return _nuclear_norm(low), float(nearest), float(np.log(within))


def _reduce(features: Features) -> Floats:
    """At most 64 principal components of all rows, [N, R], unscaled."""
    basis, values = decompose(features.embeddings, WIDTH)
    return basis * np.sqrt(values)


def _average(rows: Floats, labels: Labels) -> tuple[Floats, NDArray[np.intp]]:
    """Mean of each class [C, R], and the classes numbered 0..C-1 [L]."""
    known = np.unique(labels, return_inverse=True)[1]
    members = np.eye(known.max() + 1)[known]
    return members.T @ rows / members.sum(axis=0)[:, None], known


def _rate(rows: Floats) -> float:
    """Coding rate of n rows, over the smaller of the two Gram matrices, which share it."""
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    gram /= len(rows) * DISTORTION
    gram[np.diag_indices_from(gram)] += 1
    return 0.5 * float(np.linalg.slogdet(gram)[1])


def _nuclear_norm(matrix: Floats) -> float:
    return float(np.linalg.norm(matrix, ord="nuc"))


def _discriminate(
    rows: Floats, means: Floats, known: NDArray[np.intp], shrinkage: float
) -> tuple[Floats, Floats]:
    """Linear discriminant analysis: coordinates [L, at most C - 1] and class probabilities [L, C].

    As scikit-learn's "eigen" solver with a shrunk covariance over L; for a shrinkage of 1e-10 and
    below as its "svd" solver when NCTI was published, with the plain covariance over L - C (by now
    it is over L there).
    """
    priors = np.bincount(known) / len(known)
    offsets = rows - means[known]
    center = priors @ means
    between = (means - center).T * priors @ (means - center)
    within = offsets.T @ offsets / len(rows)
    if not within.any():
        raise RankingError("its features do not vary within any class")
    if shrinkage > 1e-10:
        within, between = _shrink(within, shrinkage), _shrink(between, shrinkage)
        values, vectors = np.linalg.eigh(within)
        whiten = vectors / np.sqrt(values.clip(min=1e-15 * values[-1]))
    else:
        deviation = np.sqrt(np.diag(within))
        deviation[deviation == 0] = 1
        unit = len(rows) / max(len(rows) - len(means), 1)
        values, vectors = np.linalg.eigh(within / np.outer(deviation, deviation) * unit)
        kept = values > DISTINCT**2
        whiten = vectors[:, kept] / np.sqrt(values[kept]) / deviation[:, None]
    strengths, turn = np.linalg.eigh(whiten.T @ between @ whiten)
    width = min(len(means) - 1, len(strengths))
    if shrinkage <= 1e-10:
        width = min(width, int(np.sum(strengths > DISTINCT**2 * strengths[-1])))
    axes = (whiten @ turn)[:, ::-1]
    seen, centers = (rows - center) @ axes, (means - center) @ axes
    logs = seen @ centers.T - 0.5 * np.square(centers).sum(axis=1) + np.log(priors)
    return seen[:, :width], softmax(logs)


def _shrink(covariance: Floats, shrinkage: float) -> Floats:
    variance = np.trace(covariance) / len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * variance * np.eye(len(covariance))
