"""Shares of the teaching: numbers of 0 or more that sum to 1, from scores."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.errors import RankingError

POWER = 4.0
"""Ours; the larger, the more the nearest teachers get. The paper's is recollected as 12."""

SHAREABLE = frozenset(
    {"knn", "parc", "probe", "cka", "cka_rbf", "agreement", "clusters", "confidence"}
)
"""Metrics whose scores lie in 0..1 wherever they say something; logarithms, for one, do not."""


def share_by_power(scores: Mapping[str, float], power: float) -> dict[str, float]:
    """Shares max(0, score)^power / sum: alpha of Borup et al., ICCV 2023.

    Power 0 is equal shares, clipped or not; infinity is the nearest alone, or those equally near.

    Raises:
        RankingError: the power is below 0, or above 0 with no score that is.
    """
    if not power >= 0:
        raise RankingError(f"The power is {power}. Choose a number of 0 or more.")
    if power == 0:
        return normalise(dict.fromkeys(scores, 1.0))
    best = max(scores.values(), default=0.0)
    if best <= 0:
        raise RankingError(
            "No teacher is closer to these images than chance: every score is 0 or less. "
            "Distil without teachers: `zoo distill --baseline transfer`."
        )
    # Relative to the best, or a high power would make 0 of them all.
    return normalise({name: max(0.0, score / best) ** power for name, score in scores.items()})


def normalise(shares: Mapping[str, float]) -> dict[str, float]:
    """The same shares with sum 1, without those that are 0; at least one has to be above."""
    largest = max(shares.values())
    relative = {name: share / largest for name, share in shares.items() if share / largest > 0}
    total = sum(relative.values())
    return {name: share / total for name, share in relative.items()}
