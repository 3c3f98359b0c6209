"""Teachers that say the same: share their weight, or leave all but one of them out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zoo.features import Features

from .shares import normalise
from .similarity import cka_between

SHARPNESS = 4
"""Power of CKA at which two teachers count as one: 0.9 is 0.66 of the same, 0.5 is 0.06."""


def compare(features: Mapping[str, Features]) -> NDArray[np.float64]:
    """Linear CKA of each two teachers on the same images, [T, T], from 0 to 1, 1 on the diagonal.

    O(T^2) comparisons of O(N D min(N, D)).
    """
    everyone = [*features.values()]
    table = np.eye(len(everyone))
    for row, one in enumerate(everyone):
        for column in range(row):
            table[row, column] = table[column, row] = cka_between(one, everyone[column])
    return table


def divide(shares: Mapping[str, float], features: Mapping[str, Features]) -> dict[str, float]:
    """The shares, each over the number of teachers that say the same, itself included.

    share_i / sum_j CKA_ij^4, then normalised: ten copies of a teacher weigh as much as one.

    Args:
        shares: of teachers, above 0.
        features: of each of them, for the same N images.
    """
    alike = compare({name: features[name] for name in shares}) ** SHARPNESS
    crowds = alike.sum(axis=1)
    return normalise(
        {name: share / crowd for (name, share), crowd in zip(shares.items(), crowds, strict=True)}
    )


def choose(
    shares: Mapping[str, float], features: Mapping[str, Features], count: int
) -> dict[str, float]:
    """The shares of few teachers: each next one has a large share and says something new.

    Greedy: the next teacher is that of the largest share_i (1 - max_j CKA_ij), over the j chosen
    before. What is left of sameness divides their shares (`divide`).

    Args:
        shares: of teachers, above 0.
        features: of each of them, for the same N images.
        count: how many to choose, at least 1.
    """
    names = [*shares]
    alike = compare({name: features[name] for name in names})
    chosen: list[int] = []
    while len(chosen) < min(count, len(names)):
        news = 1 - alike[:, chosen].max(axis=1, initial=0.0)
        worth = np.array([shares[name] for name in names]) * news
        worth[chosen] = -1
        chosen.append(int(worth.argmax()))
    return divide({names[index]: shares[names[index]] for index in chosen}, features)
