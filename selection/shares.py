"""Shares: alpha, the weight of each teacher in distillation, from scores and redundancy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from selection.metrics import HIT_RATES
from selection.metrics.similarity import cka_between
from zoo.errors import RankingError
from zoo.features.store import Features

POWER = 4.0
"""The default; the larger, the more the nearest teachers get. The paper's is believed to be 12."""

SHAREABLE = frozenset(
    {"knn", "parc", "linear_probe", "cka", "cka_rbf", "agreement", "clusters", "confidence"}
)
"""Metrics whose scores lie in 0..1 above chance; logarithms, for one, have no zero."""

SECOND = "hscore"
"""The metric that counts for the shares beside the first one."""

SHARPNESS = 4
"""Power of CKA at which two teachers count as one: 0.9 is 0.66 of the same, 0.5 is 0.06."""


def share_by_power(scores: Mapping[str, float], power: float) -> dict[str, float]:
    """Shares max(0, score)^power / sum: alpha of Borup et al., ICCV 2023.

    Power 0 is equal shares for all; infinity is the nearest alone, or those equally near.

    Raises:
        RankingError: the power is below 0, or above 0 with no score that is.
    """
    if not power >= 0:
        raise RankingError(f"The power is {power}. Choose a number of 0 or more.")
    if power == 0:
        return normalize(dict.fromkeys(scores, 1.0))
    best = max(scores.values(), default=0.0)
    if best <= 0:
        raise RankingError(
            "No teacher is closer to these images than chance: every score is 0 or less. "
            "Distill without teachers: `zoo distill --baseline transfer`."
        )
    # relative to the best, or a high power would make all of them 0
    return normalize({name: max(0.0, score / best) ** power for name, score in scores.items()})


def find_evidence(
    scores: Mapping[str, Mapping[str, float]], metric: str, classes: int, most_frequent: float
) -> dict[str, float]:
    """What shares are a power of: the score by the first metric, times the root of the H-score.

    From the scores of each teacher by metric. The H-score counts where it is another one of them,
    as by default: with few labels it is less noisy than a fraction of them, and it is large for
    features that separate much at once (docs/decisions/0026-evidence.md). Hit rates are rescaled
    before, see `rescale_hit_rates`.

    Example:
        >>> scores = {"a": {"knn": 0.5, "hscore": 9.0}, "b": {"knn": 0.6, "hscore": 4.0}}
        >>> find_evidence(scores, "knn", 2, most_frequent=0.5)
        {'a': 1.5, 'b': 1.2}
    """
    first = {name: row[metric] for name, row in scores.items()}
    evidence = rescale_hit_rates(first, metric, classes, most_frequent)
    roots = {name: max(0.0, row.get(SECOND, 0.0)) ** 0.5 for name, row in scores.items()}
    if metric == SECOND or not any(roots.values()):
        return evidence
    return {name: value * roots[name] for name, value in evidence.items()}


def rescale_hit_rates(
    scores: Mapping[str, float], metric: str, classes: int, most_frequent: float
) -> dict[str, float]:
    """Hit rates as they would be if all classes had as many images; other scores as they are.

    Always naming the most frequent class, a share m of the images, is right in m of them, so noise
    scores 0.9 where m is. 1/C + (score - m) (1 - 1/C) / (1 - m), at least 0, is 1/C there, 1 for 1,
    and the score itself for m = 1/C.

    Example:
        >>> rescale_hit_rates({"noise": 0.9, "good": 0.98}, "knn", 2, most_frequent=0.9)
        {'noise': 0.5, 'good': 0.9}
    """
    level = 1 / max(1, classes)
    if metric not in HIT_RATES or not level < most_frequent < 1:
        return dict(scores)
    slope = (1 - level) / (1 - most_frequent)
    return {
        name: max(0.0, level + (score - most_frequent) * slope) for name, score in scores.items()
    }


def normalize(shares: Mapping[str, float]) -> dict[str, float]:
    """The same shares with sum 1, without those that are 0; at least one has to be above 0."""
    largest = max(shares.values())
    relative = {name: share / largest for name, share in shares.items() if share / largest > 0}
    total = sum(relative.values())
    return {name: share / total for name, share in relative.items()}


def cka_table(features: Mapping[str, Features]) -> NDArray[np.float64]:
    """Linear CKA of each two teachers on the same images, [T, T], from 0 to 1, 1 on the diagonal.

    O(T^2) comparisons of O(N D min(N, D)).
    """
    teachers = [*features.values()]
    table = np.eye(len(teachers))
    for row, one in enumerate(teachers):
        for column in range(row):
            table[row, column] = table[column, row] = cka_between(one, teachers[column])
    return table


def divide_redundant(
    shares: Mapping[str, float], features: Mapping[str, Features]
) -> dict[str, float]:
    """The shares, each over the number of redundant teachers, itself included.

    share_i / sum_j CKA_ij^4, then normalized: ten copies of a teacher weigh as much as one. Shares
    are above 0; features are of each of their teachers, for the same N images.
    """
    alike = cka_table({name: features[name] for name in shares}) ** SHARPNESS
    copies = alike.sum(axis=1)
    return normalize(
        {name: shares[name] / count for name, count in zip(shares, copies, strict=True)}
    )


def choose(
    shares: Mapping[str, float], features: Mapping[str, Features], count: int
) -> dict[str, float]:
    """The shares of a few teachers that have large shares and are not redundant.

    Greedy: the next teacher is that of the largest share_i (1 - max_j CKA_ij), over the j chosen
    before. Their shares are then divided by the redundancy that is left (`divide_redundant`). Of
    fewer than `count` teachers all are chosen; RankingError where it is below 1.
    """
    if count < 1:
        raise RankingError(f"The number of teachers to choose is {count}. Choose 1 or more.")
    names = [*shares]
    alike = cka_table({name: features[name] for name in names})
    chosen: list[int] = []
    while len(chosen) < min(count, len(names)):
        novelty = 1 - alike[:, chosen].max(axis=1, initial=0.0)
        worth = np.array([shares[name] for name in names]) * novelty
        worth[chosen] = -1
        chosen.append(int(worth.argmax()))
    return divide_redundant({names[index]: shares[names[index]] for index in chosen}, features)
