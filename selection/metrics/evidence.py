"""Metrics that fit a linear model of the labels in closed form: LogME and H-score."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, Scorer, check_input, one_hot
from zoo.features.store import Features

UPDATES = 11
"""How often LogME's two precisions are updated at most, as in the authors' code."""

ROUNDING = 1e-12
"""Of the squares of a covariance: less noise than this is none."""

MARGIN = 1e-5
"""Keeps LogME's precisions finite where a fit is perfect, as in the authors' code."""


def logme(features: Features, labels: Labels) -> float:
    """Log maximum evidence, per image, mean over the classes; any number, no fixed chance level.

    The evidence of a Bayesian linear regression without intercept onto each one-hot class, at the
    precisions found by MacKay's fixed point from 1 and 1 (You et al., ICML 2021, algorithm 1;
    stopped as in the authors' code: ratio settled within 1 %, at most 11 updates, 1e-5 added to
    both squared errors). Rotation and order do not matter, scale and shift do. Noise scores above 0
    where C is large, since one-hot columns are mostly zeros: compare it only within one target.

    Unlabeled rows play no part. One eigendecomposition of the smaller Gram matrix serves all
    classes: O(L D min(L, D) + L D C) for L labeled images. Fails with L < D, where nearly every
    teacher fits the labels.
    """
    return prepare_logme(features, labels)(labels[labels >= 0])


def prepare_logme(features: Features, labels: Labels) -> Scorer:
    """Features are decomposed once, and again where images are left out."""
    rows = features.embeddings[check_input(features, labels)].astype(np.float64)
    components = _decompose(rows)

    def score(known: Labels) -> float:
        kept = known >= 0
        values, coordinates = components if kept.all() else _decompose(rows[kept])
        targets = np.ascontiguousarray(one_hot(known[kept]).T)
        energies = np.square(targets @ coordinates)
        evidence = _maximize_evidence(values, energies, targets.sum(axis=1), len(coordinates))
        return float(evidence.mean() / len(coordinates))

    return score


def hscore(features: Features, labels: Labels) -> float:
    """Shrunk H-score, from 0 to about C - 1; chance is below (C - 1) D / (L - 1).

    tr(cov_a(f)^-1 (1 - a) cov(E[f | y])): the share of the features' variance that lies between
    classes, summed over whitened directions (Bao et al., ICIP 2019), with the covariance of Ledoit
    and Wolf, a their shrinkage (Ibrahim, Ponomareva and Mazumder, "Newer is not always better",
    2021). As in the code in use, the between-class covariance is over L - 1 and the other over N.
    Rotation, shift, scale and order do not matter.

    Covariance and shrinkage are fitted on all rows, labeled or not; class means on the labeled.
    One linear system of the smaller side, O(N D min(N, D)). Fails with few labels: the mean of few
    images is mostly noise, and noise in narrow directions counts full.
    """
    labeled = check_input(features, labels)
    rows = features.embeddings.astype(np.float64)
    rows -= rows.mean(axis=0)
    mixing = _mix_means(labels, labeled)
    wide = len(rows) <= rows.shape[1]
    gram = (rows @ rows.T if wide else rows.T @ rows) / len(rows)
    shrinkage, variance = _shrink(rows, gram)
    # With X = rows / sqrt(N) and G = A X: G (s X'X + r)^-1 G' = A (s XX' + r)^-1 XX' A'.
    right = gram @ mixing.T * len(rows) if wide else rows.T @ mixing.T
    left = mixing if wide else right.T
    gram *= 1 - shrinkage
    gram[np.diag_indices_from(gram)] += shrinkage * variance
    if shrinkage > 0:
        solved = cast(Floats, np.linalg.solve(gram, right))
    else:  # features of one direction that need no shrinkage
        solved = cast(Floats, np.linalg.pinv(gram, hermitian=True)) @ right
    return float((1 - shrinkage) * np.sum(left.T * solved))


def _decompose(rows: Floats) -> tuple[Floats, Floats]:
    """Squared singular values [R] of the rows [L, D], and the rows in their directions [L, R]."""
    wide = len(rows) <= rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    values = values.clip(min=0)
    return values, vectors * np.sqrt(values) if wide else rows @ vectors


def _maximize_evidence(values: Floats, energies: Floats, sizes: Floats, count: int) -> Floats:
    """Log evidence of each class, [C], at the precisions where the fixed point stops.

    From the squared singular values [R] of the features, squared projections [C, R] of F'y onto the
    right singular vectors, images of each class [C], which is also |y|^2, and their number.
    """
    weight = np.ones(len(sizes))  # alpha: precision of the weights
    noise = np.ones(len(sizes))  # beta: precision of the noise
    length, error = np.zeros(len(sizes)), np.zeros(len(sizes))
    moving = np.ones(len(sizes), dtype=np.bool_)
    for _ in range(UPDATES):
        ratio = (weight / noise)[moving]
        spread = values + ratio[:, None]
        used = (values / spread).sum(axis=1)
        unused = count - len(values) + (ratio[:, None] / spread).sum(axis=1)
        energy = energies[moving] / np.square(spread)
        length[moving] = energy.sum(axis=1)
        explained = (energy * (spread + ratio[:, None])).sum(axis=1)
        error[moving] = (sizes[moving] - explained).clip(min=0)
        weight[moving] = used / (length[moving] + MARGIN)
        noise[moving] = unused / (error[moving] + MARGIN)
        settled = np.abs((weight / noise)[moving] - ratio) < 0.01 * ratio
        moving[moving] = ~settled
        if not moving.any():
            break
    return 0.5 * (
        len(values) * np.log(weight)
        + count * np.log(noise)
        - np.log(weight[:, None] + noise[:, None] * values).sum(axis=1)
        - noise * (error + MARGIN)
        - weight * (length + MARGIN)
        - count * np.log(2 * np.pi)
    )


def _mix_means(labels: Labels, labeled: NDArray[np.int64]) -> Floats:
    """[C, N]: times the rows, the class means less their mean; its square is cov(E[f | y])."""
    members = np.ascontiguousarray(one_hot(labels[labeled]).T)
    sizes = members.sum(axis=1, keepdims=True)
    mixing = np.zeros((len(sizes), len(labels)))
    mixing[:, labeled] = members / sizes - 1 / len(labeled)
    return mixing * np.sqrt(sizes / (len(labeled) - 1))


def _shrink(rows: Floats, gram: Floats) -> tuple[float, float]:
    """Ledoit and Wolf's shrinkage and mean variance, J. Multivariate Analysis 2004, lemma 3.2 ff.

    Args:
        rows: [N, D], centered.
        gram: X'X/N or XX'/N, whose squares sum to the same.
    """
    count, width = rows.shape
    square = float(np.square(gram).sum())
    lengths = np.square(rows).sum(axis=1)
    variance = float(lengths.mean()) / width
    distance = square - width * variance**2
    noise = (float(np.square(lengths).mean()) - square) / count
    if width == 1 or min(noise, distance) <= ROUNDING * square:
        return 0.0, variance
    return min(noise / distance, 1.0), variance
