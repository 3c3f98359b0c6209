"""Metrics of how well a teacher's classes predict the target's: NCE, LEEP and N-LEEP."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, check_input
from zoo.errors import RankingError
from zoo.features.linear_probe import decompose, softmax
from zoo.features.store import Features

ENERGY = 0.8
"""Share of the variance that N-LEEP's principal components keep."""

COMPONENTS = 5
"""Gaussians per target class in N-LEEP."""

ROUNDS = 100
"""Of EM, at most."""

FLOOR = 1e-6
"""Added to every variance; 1e-10 of the total variance where 1e-6 would be lost in rounding."""


def nce(features: Features, labels: Labels) -> float:
    """Negative conditional entropy of the labels, in nats, from -log C to 0.

    -H(Y | Z), Z the teacher's most probable class: the mean log share of an image's class among the
    images of its Z (Tran, Nguyen and Hassner, ICCV 2019). A constant Z scores -H(Y); so does a
    random one with many images per Z, and more with few. Unlabeled rows play no part. O(L K). Fails
    with L near K, where hardly two images share a Z, and ignores all but the most probable class.
    """
    labeled = check_input(features, labels)
    named = _read_logits(features, labeled).argmax(axis=1)
    known = np.unique(labels[labeled], return_inverse=True)[1]
    pairs = known * (named.max() + 1) + named
    _, place, together = np.unique(pairs, return_inverse=True, return_counts=True)
    return float(np.log(together[place] / np.bincount(named)[named]).mean())


def leep(features: Features, labels: Labels) -> float:
    """Log expected empirical prediction, in nats, at most 0; chance is -H(Y), or -log C.

    Mean log probability of the labels under sum_z P(y | z) P(z | x), P(z | x) the teacher's softmax
    and P(y | z) counted with it (Nguyen et al., ICML 2020, eq. 2). Classes of probability 0 are 0/0
    in the published form and are left out here. Unlabeled rows play no part. O(L K C). Fails with L
    near K, like `nce`, and for teachers whose softmax is nearly flat: all score near chance.
    """
    labeled = check_input(features, labels)
    return _expect(softmax(_read_logits(features, labeled)), labels[labeled])


def nleep(features: Features, labels: Labels) -> float:
    """LEEP with a mixture of Gaussians for the teacher's classes, at most 0; chance above -H(Y).

    The features are cut to the principal components that hold 80 % of their variance, and 5
    Gaussians per target class are fitted to them (Li et al., CVPR 2021). Their covariances are
    full, as in the public implementations (`gaussian_mixture`). With 5 C images or fewer there are
    C Gaussians less until they fit, as there. k-means starts from one seed: a rotation or scale
    matters only through that and the 1e-6 added to variances, the order of images through the seed.

    Components and mixture are fitted on all rows, labeled or not. O(N D min(N, D)), then
    O(N C R^2) per round of EM for R components: not for tens of thousands of images. Fails with few
    rows, where a Gaussian fits a handful of images and every teacher nears 0.
    """
    labeled = check_input(features, labels)
    basis, values = decompose(features.embeddings)
    kept = int(np.searchsorted(values.cumsum() / values.sum(), ENERGY, side="right")) + 1
    classes = len(np.unique(labels[labeled]))
    components = COMPONENTS * classes
    while components >= len(labels):
        components -= classes
    shares = assign_softly(basis[:, :kept] * np.sqrt(values[:kept]), components)
    return _expect(shares[labeled], labels[labeled])


def _expect(shares: Floats, labels: Labels) -> float:
    """LEEP of probabilities of source classes [L, K] that sum to 1 per row."""
    known = np.unique(labels, return_inverse=True)[1]
    joint = np.eye(known.max() + 1)[known].T @ shares
    total = joint.sum(axis=0)
    given = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    return float(np.log(np.einsum("ij,ij->i", shares, given[known])).mean())


def _read_logits(features: Features, labeled: NDArray[np.int64]) -> Floats:
    """Logits of the labeled images, [L, K]."""
    if not features.logits.shape[1]:
        raise RankingError("it has no classifier; choose a metric of features")
    logits = features.logits[labeled].astype(np.float64)
    if not np.isfinite(logits).all():
        raise RankingError("its logits hold numbers that are not finite")
    return logits


def assign_softly(rows: Floats, components: int, *, seed: int = 0) -> Floats:
    """Probability of each of K components for each row [N, R], [N, K], once EM has settled.

    Full covariances with 1e-6 added to each variance, started at the clusters of k-means++ and
    Lloyd, stopped when the mean log likelihood grows by less than 1e-3 or after 100 rounds: the
    defaults of scikit-learn's GaussianMixture. O(N K R^2) a round.
    """
    floor = max(FLOOR, 1e-10 * float(rows.var(axis=0).sum()))
    shares = np.eye(components)[_cluster(rows, components, np.random.default_rng(seed))]
    before = -np.inf
    for _ in range(ROUNDS):
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
