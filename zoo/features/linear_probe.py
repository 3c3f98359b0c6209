"""A linear probe in closed form, ridge regression onto one-hot labels; principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ROWS = 4096
"""Rows that are standardized at once."""

SPARE = 32
"""Directions beyond those requested: with more, fewer but slower rounds."""

ROUNDS = 12
"""Rounds after which a search has failed; spectra from flat to steep took 4 to 7."""


OFFSET_SHRINKAGE, OFFSET_ROUNDS, OFFSET_STEPS = 0.02, 2, 200
"""Of `fit_offsets`; shrinkage was chosen on pairs of classes of tuning tasks, 57 labels and 3."""

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Ridge strengths to try, as multiples of the mean squared length of a centered row."""


def decompose(embeddings: ArrayLike, most: int | None = None) -> tuple[Floats, Floats]:
    """Principal coordinates of N images [N, D], largest variance first, in O(N D min(N, D)).

    The left singular vectors of the centered rows, [N, R], and their squared singular values, [R],
    at most so many. Singular values below a millionth of the largest are float32 noise and left
    out. The largest entry of each vector is positive: neither the order of the images nor a
    rotation of the features changes the result.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    wide = rows.shape[0] <= rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    found = find_widest(gram, most) if most and len(gram) >= 16 * most else None
    values, vectors = found or np.linalg.eigh(gram)
    kept = np.flatnonzero(values > 1e-12 * values.max(initial=0.0))[::-1][:most]
    values, vectors = values[kept], vectors[:, kept]
    basis = vectors if wide else rows @ vectors / np.sqrt(values)
    largest = np.abs(basis).argmax(axis=0)
    return basis * np.sign(basis[largest, np.arange(len(values))]), values


def find_widest(gram: Floats, most: int) -> tuple[Floats, Floats] | None:
    """The largest eigenvalues of a positive semidefinite matrix, by filtered subspace iteration.

    A block of vectors is multiplied by a Chebyshev polynomial of the matrix, small on all
    eigenvalues below those of the block and large above, then rotated onto its principal axes (Zhou
    et al., J. Computational Physics 2006). For 32 of 2048 eigenvalues that takes less than half the
    time of `numpy.linalg.eigh`.

    From [D, D] to eigenvalues [most], ascending, and eigenvectors [D, most], exact in float64 or
    with residuals below 1e-8 of the least eigenvalue; None where it did not converge in `ROUNDS`.
    """
    block = gram @ np.random.default_rng(0).standard_normal((len(gram), most + SPARE))
    for _ in range(ROUNDS):
        block = np.linalg.qr(block)[0]
        image = gram @ block
        values, turn = np.linalg.eigh(block.T @ image)
        block, image = block @ turn, image @ turn
        residuals = np.linalg.norm((image - block * values)[:, -most:], axis=0)
        if residuals.max() <= max(1e-8 * values[-most], 1e-14 * values[-1]):
            return values[-most:], block[:, -most:]
        # few steps: the polynomial grows fast, and the largest must not drown the others
        half = values[0] / 2
        steps = int(np.clip(24 / np.arccosh(values[-1] / half - 1), 1, 10))
        older, block = block, image / half - block
        for _ in range(steps - 1):
            older, block = block, 2 * (gram @ block / half - block) - older
    return None


def standardize(embeddings: ArrayLike) -> NDArray[np.float64]:
    """Columns of mean 0 and deviation 1, [N, D]; a constant column becomes 0."""
    return Standardization.of(np.asarray(embeddings)).rows(slice(None))


@dataclass(frozen=True, eq=False)
class Standardization:
    """`standardize` for features [N, D] that lie in a file: only some rows are in memory.

    The deviation [D] of a constant column is infinite.
    """

    embeddings: NDArray[np.floating]
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, embeddings: NDArray[np.floating]) -> Standardization:
        """Of features [N, D]."""
        mean = embeddings.mean(axis=0, dtype=np.float64)
        squares = np.zeros_like(mean)
        for start in range(0, len(embeddings), ROWS):
            squares += np.square(embeddings[start : start + ROWS] - mean).sum(axis=0)
        varies = embeddings.max(axis=0) > embeddings.min(axis=0)
        deviation = np.where(varies, np.sqrt(squares / len(embeddings)), np.inf)
        return cls(embeddings, mean, deviation)

    def rows(self, index: NDArray[np.int64] | slice) -> Floats:
        """Some rows, standardized."""
        return (self.embeddings[index] - self.mean) / self.deviation

    def mean_squares(self) -> Floats:
        """Mean of the squares of each standardized row, [N]."""
        starts = range(0, len(self.embeddings), ROWS)
        parts = [np.square(self.rows(slice(at, at + ROWS))).mean(axis=1) for at in starts]
        return np.concatenate(parts)


def fit_ridge(
    embeddings: ArrayLike, labels: NDArray[np.int64], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the probe: the scores of new rows are `rows @ weights + intercept`, [D, C] and [C].

    Embeddings are [N, D], labels [N] classes 0..C-1; the strength is above 0, in the unit of
    `STRENGTHS`. The intercept is not shrunk.
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    targets = np.eye(labels.max() + 1)[labels]
    basis, values = decompose(rows)
    ridge = strength * values.sum() / len(rows)
    dual = (basis / (values + ridge)) @ (basis.T @ targets)
    weights = (rows - rows.mean(axis=0)).T @ dual
    return weights, targets.mean(axis=0) - rows.mean(axis=0) @ weights


def assign_folds(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Row numbers of each fold; fold i holds the i-th image of every class that has so many."""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = np.arange(len(members))
    return [np.flatnonzero(turn == fold) for fold in range(turn.max() + 1)]


def ridge_leave_one_out(
    embeddings: ArrayLike, labels: NDArray[np.int64], strengths: Sequence[float] = STRENGTHS
) -> tuple[NDArray[np.float64], float]:
    """Score each image with a probe fitted without it and without one image of every other class.

    Leaving out a single image makes its class the rarest of a balanced few-shot set: on noise the
    probe then predicts the other classes and its accuracy is near 0. Leaving out one image of every
    class (`assign_folds`) keeps the balance. No probe is refitted: with hat matrix H and residuals
    r of the full fit, the residuals of a left-out fold B are (I - H_BB)^-1 r_B.

    From embeddings [N, D] and labels [N], classes 0..C-1, at least one of them with two images, to
    scores [N, C] and the strength that has the least squared error of them.
    """
    return score_left_out(decompose(embeddings), labels, strengths)


def score_left_out(
    components: tuple[NDArray[np.float64], NDArray[np.float64]],
    labels: NDArray[np.int64],
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[NDArray[np.float64], float]:
    """`ridge_leave_one_out` of decomposed rows, O(N C (R + C)) per strength if classes are even."""
    folds = assign_folds(labels)
    if len(folds) < 2 or min(strengths) <= 0:
        raise ValueError("needs a class with two images, and strengths above 0")
    targets = np.eye(labels.max() + 1)[labels]
    basis, values = components
    unit = values.sum() / len(labels)
    scores = [
        _leave_out(basis * (values / (values + strength * unit)), basis, targets, folds)
        for strength in strengths
    ]
    best = int(np.argmin([np.square(each - targets).mean() for each in scores]))
    return scores[best], strengths[best]


def score_left_out_once(rows: Floats, labels: NDArray[np.int64], strength: float) -> Floats:
    """`score_left_out` for one strength, [N, C], by a linear system in place of eigenvectors.

    Rows are [N, D], labels [N] classes 0..C-1, at least one of them with two images.
    """
    centered = rows - rows.mean(axis=0)
    ridge = strength * np.square(centered).sum() / len(rows)
    wide = len(rows) <= rows.shape[1]
    gram = centered @ centered.T if wide else centered.T @ centered
    system = gram + ridge * np.eye(len(gram))
    if wide:  # the hat matrix is that of the rows themselves
        left, right = np.linalg.solve(system, gram).T, np.eye(len(rows))
    else:
        left, right = np.linalg.solve(system, centered.T).T, centered
    return _leave_out(left, right, np.eye(labels.max() + 1)[labels], assign_folds(labels))


def fit_soft_ridge(
    embeddings: ArrayLike, targets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fit the probe to probabilities [N, C], by the strength of `STRENGTHS` with the least error.

    Weights [D, C], intercept [C], and the scores [N, C] of each image by the probe that was fitted
    without it. No probe is refitted: with hat matrix H and residual r of the full fit, the residual
    of image i left out is r_i / (1 - H_ii).
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    basis, values = decompose(rows)
    center, unit = targets.mean(axis=0), values.sum() / len(rows)
    residuals: list[NDArray[np.float64]] = []
    for strength in STRENGTHS:
        shrunk = basis * (values / (values + strength * unit))
        hat = (shrunk * basis).sum(axis=1) + 1 / len(rows)
        fitted = center + shrunk @ (basis.T @ targets)
        residuals.append((targets - fitted) / (1 - hat)[:, None])
    best = int(np.argmin([np.square(each).mean() for each in residuals]))
    dual = (basis / (values + STRENGTHS[best] * unit)) @ (basis.T @ targets)
    weights = (rows - rows.mean(axis=0)).T @ dual
    return weights, center - rows.mean(axis=0) @ weights, targets - residuals[best]


def fit_temperature(scores: Floats, labels: NDArray[np.int64] | Floats) -> float:
    """The T for which softmax(scores / T) gives the labels the highest likelihood.

    Guo et al., ICML 2017, section 4.2; on a grid from 0.01 to 10, an eighth apart. With scores [N,
    C] from `ridge_leave_one_out` the probabilities are calibrated on new images. Labels are [N],
    classes 0..C-1, of which each class counts alike, or [N, C], probabilities.

    A class with a single label, whose left-out score knows nothing of it, does not count: it would
    make all probabilities flat. In its place is one image of which every class is equally likely.
    """
    grid = np.geomspace(0.01, 10, 60)
    if labels.ndim == 2:
        targets, importance = labels, np.full(len(labels), 1 / len(labels))
    else:
        names = labels.astype(np.int64)
        known = np.bincount(names)[names] > 1
        scores = scores[known]
        targets, importance = _balance(names[known], scores.shape[1])
        if not known.all():
            targets = (targets + 1 / targets.size) / (1 + 1 / len(targets))
    picked = (scores * targets).sum(axis=1)
    losses = [importance @ (np.logaddexp.reduce(scores / t, axis=1) - picked / t) for t in grid]
    return float(grid[np.argmin(losses)])


def fit_offsets(scores: Floats, labels: NDArray[np.int64]) -> Floats:
    """What to add to left-out scores [N, C] where some classes have fewer labels than others, [C].

    The fewer labels a class has, the lower a probe scores its new images. The offsets b minimize
    the cross-entropy of softmax((scores + b) / T), each class counting alike, plus
    `OFFSET_SHRINKAGE` |b|^2: bias-corrected temperature scaling (Alexandari et al., ICML 2020)
    towards even classes. All are 0 where the classes have equally many labels. A class with a
    single label, whose left-out score knows nothing of it, has the offset of the rarest other one.
    """
    counts = np.bincount(labels, minlength=scores.shape[1])
    offsets = np.zeros(scores.shape[1])
    known = counts > 1
    if len(np.unique(counts[known])) < 2:
        return offsets
    rows = known[labels]
    scores, labels = scores[rows], labels[rows]
    targets, importance = _balance(labels, len(counts))
    for _ in range(OFFSET_ROUNDS):
        temperature = fit_temperature(scores + offsets, labels)
        # the curvature of softmax is at most a half (Boehning, 1992): every step goes down
        step = 1 / (0.5 / temperature**2 + 2 * OFFSET_SHRINKAGE)
        for _ in range(OFFSET_STEPS):
            error = softmax((scores + offsets) / temperature) - targets
            offsets -= step * (importance @ error / temperature + 2 * OFFSET_SHRINKAGE * offsets)
    offsets[~known] = offsets[np.where(known, counts, counts.max() + 1).argmin()]
    return offsets


def softmax(logits: Floats) -> Floats:
    """Probabilities [N, C] of logits [N, C]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def _balance(labels: NDArray[np.int64], classes: int) -> tuple[Floats, Floats]:
    """One-hot labels [N, C], and the weight of each image, [N], of sum 1: classes count alike."""
    weights = 1 / np.bincount(labels)[labels]
    return np.eye(classes)[labels], weights / weights.sum()


def _leave_out(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    targets: NDArray[np.float64],
    folds: list[NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Scores without the own fold; the hat matrix is left right' and the mean."""
    residuals = targets - targets.mean(axis=0) - left @ (right.T @ targets)
    scores = np.empty_like(targets)
    for size, equal in groupby(folds, key=len):  # the larger folds come first
        places = np.array(list(equal))
        hat = left[places] @ right[places].transpose(0, 2, 1) + 1 / len(targets)
        scores[places] = targets[places] - np.linalg.solve(np.eye(size) - hat, residuals[places])
    return scores
