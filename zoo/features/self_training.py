"""Self-training: ridge regression that also learns from its own predictions of unlabeled images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import assign_folds, softmax

Floats = NDArray[np.float64]

ROUNDS = 5
STRENGTH = 1.0
"""Of the ridge on all images, see `fit_weighted_ridge`."""

TEMPERATURE = 0.06
"""Of the predictions that become targets: ridge scores lie close together."""

LABEL_WEIGHT = 10.0
"""Of a labeled image; an unlabeled one has the square of its largest probability, at most 1."""

FOLDS = 5
"""Of the cross-validation, at most."""

MOST_UNLABELED = 5000
"""Unlabeled images to learn from."""


def choose_rows(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows to learn from: the labeled ones first, then at most `MOST_UNLABELED` random others."""
    others = np.random.default_rng(0).permutation(np.flatnonzero(labels < 0))
    return np.concatenate([np.flatnonzero(labels >= 0), others[:MOST_UNLABELED]])


def self_train(
    rows: Floats,
    labels: NDArray[np.int64],
    classes: int,
    strength: float,
    offsets: Floats | float = 0.0,
) -> tuple[Floats, Floats]:
    """Ridge regression that is refitted to its own predictions: weights [R, C] and intercept [C].

    Semi-supervised least squares with soft pseudo-labels (self-training: Scudder, 1965; Lee, 2013):
    the first fit knows the labeled images; each of `ROUNDS` further ones all images, the unlabeled
    ones with softmax(scores / `TEMPERATURE`) of the fit before as targets. Nothing is assumed of
    how frequent the classes are.

    Rows are [N, R], features of all images; labels [N], -1 for unlabeled. The strength is that of
    the first fit, as `fit_weighted_ridge` takes it, and the offsets [C] are added to its scores,
    see `fit_offsets`. Scores of images are `rows @ weights + intercept`.
    """
    used = choose_rows(labels)
    known = used[: int((labels >= 0).sum())]
    truth = np.eye(classes)[labels[known]]
    weights, intercept = fit_weighted_ridge(rows[known], truth, np.ones(len(known)), strength)
    intercept = intercept + offsets
    for _ in range(ROUNDS):
        targets = softmax((rows[used] @ weights + intercept) / TEMPERATURE)
        importance = targets.max(axis=1) ** 2
        targets[: len(known)], importance[: len(known)] = truth, LABEL_WEIGHT
        weights, intercept = fit_weighted_ridge(rows[used], targets, importance, STRENGTH)
    return weights, intercept


def self_train_left_out(
    rows: Floats,
    labels: NDArray[np.int64],
    classes: int,
    strength: float,
    offsets: Floats | float = 0.0,
) -> Floats:
    """Scores [L, C] of each labeled image by `self_train` that did not know its label.

    `FOLDS` folds at most; each hides as many images of every class.
    """
    known = np.flatnonzero(labels >= 0)
    folds = assign_folds(labels[known])
    groups = [np.concatenate(folds[start::FOLDS]) for start in range(min(FOLDS, len(folds)))]
    scores = np.zeros((len(known), classes))
    for group in groups:
        hidden = labels.copy()
        hidden[known[group]] = -1
        weights, intercept = self_train(rows, hidden, classes, strength, offsets)
        scores[group] = (rows @ weights + intercept)[known[group]]
    return scores


def fit_weighted_ridge(
    rows: Floats, targets: Floats, importance: Floats, strength: float
) -> tuple[Floats, Floats]:
    """Ridge regression with a weight for each row; the intercept is not shrunk.

    From rows [N, R], targets [N, C] and importance [N], above 0, to weights [R, C] and intercept
    [C]. The strength is a multiple of the mean squared length of a centered and weighted row. Rows
    that are all the same get weights of 0.
    """
    share = importance / importance.sum()
    row_mean, target_mean = share @ rows, share @ targets
    root = np.sqrt(importance)[:, None]
    scaled, wanted = root * (rows - row_mean), root * (targets - target_mean)
    gram = scaled.T @ scaled
    ridge = strength * np.trace(gram) / len(rows) or 1.0  # equal rows, or a single one
    weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), scaled.T @ wanted)
    return weights, target_mean - row_mean @ weights
