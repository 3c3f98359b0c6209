"""Probable label errors: a probe that did not see a label says how likely it is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import ridge_leave_one_out, softmax

Floats = NDArray[np.float64]

TEMPERATURES = np.geomspace(0.02, 2, 40)
RATES = np.linspace(0, 0.5, 101)
"""What the likelihood of the labels is maximized over: see `fit_error_model`."""

PROBABLE = 0.5
"""A label is a probable error if it is more likely wrong than right."""


@dataclass(frozen=True, eq=False)
class LabelDoubts:
    """How much the label of each of L images is to be doubted.

    Attributes:
        probabilities: [L, C] of the classes, by a probe that did not see the image's label.
        wrong: [L], probability that the label is wrong.
        rate: estimated fraction of wrong labels, 0..0.5.
        strength: of the probe's ridge.
        temperature: that makes its scores calibrated logits.

    Example:
        >>> doubts = doubt_labels(rows, labels)
        >>> np.flatnonzero(doubts.wrong > 0.5)
    """

    probabilities: Floats
    wrong: Floats
    rate: float
    strength: float
    temperature: float

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Which labels are more likely right than wrong, [L]."""
        return self.wrong <= PROBABLE


def doubt_labels(rows: Floats, labels: NDArray[np.int64]) -> LabelDoubts:
    """The probability of each label to be wrong.

    The probe is ridge regression, and each image is scored by one that was fitted without its label
    (`ridge_leave_one_out`). Hiding probable errors and fitting again finds no more of them.

    Args:
        rows: [L, R], features of the labeled images.
        labels: [L], classes 0..C-1, at least one of them with two images.
    """
    scores, strength = ridge_leave_one_out(rows, labels)
    temperature, rate = fit_error_model(scores, labels)
    probabilities = softmax(scores / temperature)
    own = probabilities[np.arange(len(labels)), labels]
    # Bayes' rule
    mistaken = rate * (1 - own) / max(1, scores.shape[1] - 1)
    wrong = mistaken / np.maximum(mistaken + (1 - rate) * own, 1e-12)
    return LabelDoubts(probabilities, wrong, rate, strength, temperature)


def fit_error_model(scores: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The temperature and the rate of label errors that make the labels most likely.

    The true class of an image has the probabilities p = softmax(scores / T); its label is the true
    class with probability 1 - rate, else one of the C - 1 others, each as likely: a label y has
    the probability (1 - rate) p_y + rate (1 - p_y) / (C - 1).

    Args:
        scores: [L, C], by probes that did not see the label.
        labels: [L].

    Returns:
        T, and the rate from 0 to 0.5.
    """
    others = max(1, scores.shape[1] - 1)
    own = np.array([softmax(scores / t)[np.arange(len(labels)), labels] for t in TEMPERATURES])
    likelihood = np.array(
        [
            np.log((1 - rate) * own + rate * (1 - own) / others + 1e-12).mean(axis=1)
            for rate in RATES
        ]
    )
    rate, temperature = np.unravel_index(likelihood.argmax(), likelihood.shape)
    return float(TEMPERATURES[temperature]), float(RATES[rate])
