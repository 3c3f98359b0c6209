"""RSA and KITE: published metrics that compare a teacher with a reference network.

`zoo rank` has no reference network, so these are only for the benchmark.
"""

import numpy as np
from numpy.typing import NDArray

from selection.metrics.checks import Floats, Labels, check_input, one_hot
from selection.metrics.similarity import _align, _center
from zoo.errors import RankingError
from zoo.features.store import Features


def rsa(features: Features, labels: Labels, reference: Features) -> float:
    """Representation similarity with a reference network, from -1 to 1; chance is 0.

    Spearman correlation, over all pairs of images, of 1 - Pearson between rows of the teacher's
    features with the same of the reference's, there a small network trained on the target (Dwivedi
    and Roig, CVPR 2019). Labels are not used. Scale and order do not matter; a rotation or a shift
    does, since each row is centered over the features. O(N^2 (D + log N)) time and about 60 N^2
    bytes: for a few thousand images. Fails where the reference is poor.
    """
    check_input(features, labels)
    if len(features) != len(reference):
        raise ValueError(f"{len(features)} images and {len(reference)} images")
    one, other = _rank_distances(features, "its"), _rank_distances(reference, "the reference's")
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def kite(features: Features, labels: Labels, reference: Features) -> float:
    """CKA with the labels over CKA with a random network, above 0; chance is CKA's over the other.

    KITE (Guo, arXiv 2405.01603, 2024): CKA(K, K_labels) / CKA(K, K_random), K_random of the same
    images in a network with random weights, which is the reference here. That ratio is what the
    paper's public summaries state, without kernel and centering; both CKAs are linear here (`cka`,
    `cka_between`) over the labeled images. O(L D min(L, D)). Fails where `cka` does, and with few
    images, where the CKA with a random network is biased upwards.
    """
    labeled = check_input(features, labels)
    if len(features) != len(reference):
        raise ValueError(f"{len(features)} images and {len(reference)} images")
    rows = _center(features.embeddings[labeled])
    near = _align(rows, _center(one_hot(labels[labeled])))
    return near / _align(rows, _read(reference, labeled, "the reference's"))


def _read(features: Features, chosen: NDArray[np.int64], whose: str = "its") -> Floats:
    """Centered rows of some images, once they are known to be finite and to vary."""
    if not np.isfinite(features.embeddings[chosen]).all():
        raise RankingError(f"{whose} features hold numbers that are not finite")
    if not np.ptp(features.embeddings[chosen], axis=0).any():
        raise RankingError(f"{whose} features are the same for every image")
    return _center(features.embeddings[chosen])


def _rank_distances(features: Features, whose: str) -> Floats:
    """Centered ranks, ties sharing the middle, of 1 - Pearson over all pairs: [N (N - 1) / 2]."""
    rows = features.embeddings.astype(np.float64)
    if not np.isfinite(rows).all():
        raise RankingError(f"{whose} features hold numbers that are not finite")
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if lengths.min() <= 1e-6 * np.abs(features.embeddings).max():
        raise RankingError(f"{whose} features are constant for an image")
    rows /= lengths
    near = (rows @ rows.T)[np.triu_indices(len(rows), k=1)].round(10)
    _, place, counts = np.unique(near, return_inverse=True, return_counts=True)
    if len(counts) == 1:
        raise RankingError(f"{whose} features put every pair of images equally far apart")
    ranks = counts.cumsum() - counts / 2
    return (ranks - ranks @ counts / counts.sum())[place]
