"""Features, labels and rankings that tests of metrics and rankings are made of."""

from dataclasses import replace

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import svd_flip

from selection import RankedTeacher, Ranking
from zoo.features.store import Features

LABELS = np.arange(40) % 4


def wrap(rows):
    """Features without logits."""
    rows = np.asarray(rows, dtype=np.float32)
    return Features(rows, np.zeros((len(rows), 0), dtype=np.float32))


def draw_task(seed=0, images=60, width=40, classes=5, signal=0.5):
    """Features and labels: a Gaussian per class, its center at a distance that `signal` scales."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    centers = signal * rng.normal(size=(classes, width))
    return wrap(rng.normal(size=(images, width)) + centers[labels] + 1), labels


def separate(images=40, classes=4):
    """Features and labels: classes that are points."""
    labels = np.arange(images) % classes
    noise = 1e-3 * np.random.default_rng(0).normal(size=(images, classes - 1))
    return wrap(np.eye(classes)[labels, 1:] + noise), labels


def compare_pairs_slowly(rows, labels):
    """Distances and "two classes" of every pair, as the authors of PARC compute them."""
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    rank = int((values > 1e-6 * values.max()).sum())
    pca = PCA(n_components=min(32, rank), svd_solver="full")
    projected = pca.fit_transform(rows.astype(np.float64))
    projected, _ = svd_flip(projected, pca.components_, u_based_decision=True)
    projected = StandardScaler().fit_transform(projected)[labels >= 0]
    known = labels[labels >= 0]
    upper = np.triu_indices(len(known), k=1)
    distances = (1 - np.corrcoef(projected))[upper]
    return np.round(distances, 10), (known[:, None] != known[None, :])[upper]


def make_features(signal, seed=0, rows=40):
    """Features for LABELS: noise, and a signal of this size along an axis per class."""
    rng = np.random.default_rng(seed)
    return wrap(rng.normal(size=(rows, 12)) + signal * np.eye(4, 12)[np.arange(rows) % 4])


def make_zoo():
    """Three teachers of different signal."""
    return {"far": make_features(0.9), "near": make_features(4), "middle": make_features(1.8)}


def make_ranking(scores, shares=None, **changes):
    """A ranking by PARC of teachers a, b, c, ... with these scores."""
    shares = shares or [1.0] * len(scores)
    rows = [
        RankedTeacher(name, "d", score, None, None, share, "ok")
        for name, score, share in zip("abcdefgh", scores, shares, strict=False)
    ]
    start = Ranking(
        metric="parc", images=9, labeled=8, classes=2, teachers=tuple(rows), seed=0, power=12.0
    )
    return replace(start, **changes)
