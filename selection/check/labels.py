"""What a probe says of labels: probable errors, classes that look alike, what to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from zoo.features.linear_probe import ridge_leave_one_out, softmax
from zoo.statistics import wilson

Floats = NDArray[np.float64]

TEMPERATURES = np.geomspace(0.02, 2, 40)
RATES = np.linspace(0, 0.5, 101)
"""What the likelihood of the labels is maximized over: see `fit_error_model`."""
PROBABLE = 0.5
"""A label is a probable error if it is more likely wrong than right."""
APART = 0.8
"""Accuracy between two classes below which, with 95 % confidence, they count as alike."""
STRENGTH = 0.3
"""Of the ridge that suggests labels, as `fit_ridge` takes it."""
MOST = 5000
"""Unlabeled images to choose suggestions from; of more a random part."""


@dataclass(frozen=True, eq=False)
class LabelDoubts:
    """How much the label of each of L images is to be doubted.

    The probabilities [L, C] of the classes are by a probe that did not see the image's label,
    `wrong` [L] those of wrong labels, `rate` their estimated fraction, 0..0.5. Strength and
    temperature are the ridge's and what makes its scores calibrated logits.
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
    """The probability of each label [L] to be wrong, from features [L, R] of the labeled images.

    The probe is ridge regression, and each image is scored by one that was fitted without its label
    (`ridge_leave_one_out`). Hiding probable errors and fitting again finds no more of them. Without
    the only image of a class a probe knows nothing of the class: its label is as likely wrong as
    any.
    """
    scores, strength = ridge_leave_one_out(rows, labels)
    judged = np.bincount(labels)[labels] > 1
    temperature, rate = fit_error_model(scores[judged], labels[judged])
    probabilities = softmax(scores / temperature)
    own = probabilities[np.arange(len(labels)), labels]
    # Bayes' rule
    mistaken = rate * (1 - own) / max(1, scores.shape[1] - 1)
    wrong = np.where(judged, mistaken / np.maximum(mistaken + (1 - rate) * own, 1e-12), rate)
    return LabelDoubts(probabilities, wrong, rate, strength, temperature)


def fit_error_model(scores: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The temperature and the rate of label errors that make the labels [L] most likely.

    The true class of an image has the probabilities p = softmax(scores / T), by scores [L, C] of
    probes that did not see the label; its label is the true class with probability 1 - rate, else
    one of the C - 1 others, each as likely: a label y has the probability (1 - rate) p_y + rate (1
    - p_y) / (C - 1). The rate is from 0 to 0.5.
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


@dataclass(frozen=True)
class AlikeClasses:
    """Two classes that the probe confuses, with so many labeled images.

    The accuracy is the balanced one of the choice between the two, 0.5 is chance, with a 95 %
    interval.
    """

    one: str
    other: str
    accuracy: float
    low: float
    high: float
    images: int


def find_alike_classes(
    probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]
) -> list[AlikeClasses]:
    """Pairs of classes that are distinguished in less than `APART` of cases, with 95 % confidence.

    The probabilities [L, C] are by a probe that did not see the image's label. The most alike pairs
    come first.
    """
    found: list[AlikeClasses] = []
    members = [probabilities[labels == label] for label in range(len(classes))]
    for a, b in combinations(range(len(classes)), 2):
        one, other = members[a], members[b]
        counts = len(one), len(other)
        if min(counts) < 2:  # the probe that did not see the only image does not know its class
            continue
        right = (one[:, a] >= one[:, b]).mean(), (other[:, a] < other[:, b]).mean()
        accuracy = float(sum(right)) / 2
        # as many images of one class as give the variance of the mean of both
        effective = 4 * counts[0] * counts[1] / sum(counts)
        low, high = wilson(accuracy * effective, effective)
        if high < APART:
            pair = AlikeClasses(classes[a], classes[b], accuracy, low, high, sum(counts))
            found.append(pair)
    return sorted(found, key=lambda pair: (pair.accuracy, pair.one, pair.other))


def choose_next(
    rows: Floats, labels: NDArray[np.int64], unsure: Floats, count: int, seed: int = 0
) -> NDArray[np.int64]:
    """Rows of the unlabeled images to label next, as many as wanted, the most useful first.

    Uncertainty times diversity, as optimal design has it (V-optimality: Fedorov, 1972): an image is
    worth the variance that knowing its label takes from ridge regression, summed over the unlabeled
    images and weighted by how unsure the probe is of each. An image like one that is labeled or
    chosen already is worth little, and so is one that no other is like. Features are [N, R], labels
    [N], `unsure` [N] probabilities that the probe is wrong; the seed is of the part of a large
    pool.
    """
    pool = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(labels < 0))[:MOST])
    mean = rows.mean(axis=0)
    known: Floats = rows[labels >= 0] - mean
    others: Floats = rows[pool] - mean
    variance = np.einsum("nr,nr->", rows, rows) / len(rows) - mean @ mean
    noise = STRENGTH * max(0.0, float(variance)) or 1.0  # 1 for images that are all the same
    gram = known.T @ known
    system = gram / noise + np.eye(len(gram))
    # times the covariance of the weights, from which each choice takes a part of rank 1 away
    reach = np.linalg.solve(system, others.T).T
    weighted = reach @ ((others * unsure[pool, None]).T @ others)
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        left = noise + (reach * others).sum(axis=1)
        gain = (weighted * reach).sum(axis=1) / left
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        part = (reach @ others[best] / left[best])[:, None]
        weighted = weighted - part * weighted[best]
        reach = reach - part * reach[best]
    return pool[chosen]
