"""A mixture of Gaussians with full covariances, fitted by expectation and maximization."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats

FLOOR = 1e-6
"""Added to every variance; 1e-10 of the total variance where 1e-6 would be lost in rounding."""


def assign_softly(rows: Floats, components: int, *, rounds: int = 100, seed: int = 0) -> Floats:
    """Probability of each component for each row, [N, K], once EM has settled.

    Full covariances with 1e-6 added to each variance, started at the clusters of k-means++ and
    Lloyd, stopped when the mean log likelihood grows by less than 1e-3 or after 100 rounds: the
    defaults of scikit-learn's GaussianMixture. O(N K R^2) a round.

    Args:
        rows: [N, R].
        components: K, from 1 to N.
        rounds: of EM, at most.
        seed: of the first centers.
    """
    floor = max(FLOOR, 1e-10 * float(rows.var(axis=0).sum()))
    shares = np.eye(components)[_cluster(rows, components, np.random.default_rng(seed))]
    before = -np.inf
    for _ in range(rounds):
        logs = _log_joint(rows, shares, floor)
        peaks = logs.max(axis=1, keepdims=True)
        shares = np.exp(logs - peaks)
        totals = shares.sum(axis=1, keepdims=True)
        shares /= totals
        now = float((peaks + np.log(totals)).mean())
        if abs(now - before) < 1e-3:
            break
        before = now
    return shares


def _log_joint(rows: Floats, shares: Floats, floor: float) -> Floats:
    """Log density of each row with each component, [N, K], at the maximum for these shares."""
    count, width = rows.shape
    sizes = shares.sum(axis=0) + 10 * np.finfo(np.float64).eps
    logs = np.empty_like(shares)
    for part, (share, size) in enumerate(zip(shares.T, sizes, strict=True)):
        offsets = rows - share @ rows / size
        covariance = (offsets.T * share) @ offsets / size + floor * np.eye(width)
        root = cast(Floats, np.linalg.cholesky(covariance))
        whitened = cast(Floats, np.linalg.solve(root, offsets.T))
        logs[:, part] = (
            np.log(size / count)
            - 0.5 * np.square(whitened).sum(axis=0)
            - np.log(np.diag(root)).sum()
            - 0.5 * width * np.log(2 * np.pi)
        )
    return logs


def _cluster(rows: Floats, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Cluster of each row, [N]: greedy k-means++ (Arthur and Vassilvitskii, 2007), then Lloyd."""
    tries = 2 + int(np.log(count))
    centers = rows[[rng.integers(len(rows))]]
    nearest = np.square(rows - centers).sum(axis=1)
    while len(centers) < count:
        # where all rows are centers already, any row will do
        chances = nearest if nearest.any() else np.ones(len(rows))
        drawn = rng.choice(len(rows), size=tries, p=chances / chances.sum())
        left = [np.minimum(nearest, np.square(rows - rows[row]).sum(axis=1)) for row in drawn]
        best = int(np.argmin([each.sum() for each in left]))
        centers, nearest = np.vstack([centers, rows[drawn[best]]]), left[best]
    found = np.full(len(rows), -1, dtype=np.intp)
    for _ in range(300):
        before = found
        found = (np.square(centers).sum(axis=1) - 2 * rows @ centers.T).argmin(axis=1)
        if (found == before).all():
            break
        members = np.eye(count)[found]
        sizes = members.sum(axis=0)
        filled = sizes > 0
        centers[filled] = (members.T @ rows)[filled] / sizes[filled, None]
    return found
