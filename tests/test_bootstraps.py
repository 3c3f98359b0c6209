"""Bootstraps: stratified resamples, and scores equal to those of explicit copies."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from test_metrics import compare_pairs_slowly, draw_task

from selection.metrics import BOOTSTRAPS, METRICS, draw_counts


def test_each_resample_holds_as_many_images_of_a_class_as_there_are():
    labels = np.array([0] * 7 + [1] * 3 + [2])
    counts = draw_counts(labels, np.random.default_rng(0), 500)
    assert counts.shape == (500, 11)
    for label in range(3):
        assert (counts[:, labels == label].sum(axis=1) == (labels == label).sum()).all()
    assert np.allclose(counts[:, :7].mean(axis=0), 1, atol=0.2)
    assert len(np.unique(counts, axis=0)) > 400


def test_a_resample_always_holds_two_images_of_one_class():
    counts = draw_counts(np.array([0, 0, 1, 1, 2]), np.random.default_rng(0), 300)
    assert ((counts[:, :2] == 1).all(axis=1) | (counts[:, 2:4] == 1).all(axis=1)).all()
    assert ((counts[:, :2] == 2).any(axis=1)).any()


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrapped_parc_equals_spearman_over_explicit_copies(ties):
    features, labels = draw_task(19, images=24, classes=3)
    if ties:
        features = features.rows(np.arange(24) // 2)
    labels[:4] = -1
    known = labels[labels >= 0]
    upper = np.triu_indices(20, k=1)
    matrix = np.zeros((20, 20))
    matrix[upper], _ = compare_pairs_slowly(features.embeddings, labels)
    matrix += matrix.T
    fast = BOOTSTRAPS["parc"](features, labels, np.random.default_rng(5), 20)
    for score, counts in zip(fast, draw_counts(known, np.random.default_rng(5), 20), strict=True):
        copies = np.repeat(np.arange(20), counts.astype(int))
        pairs = [(i, j) for at, i in enumerate(copies) for j in copies[at + 1 :] if i != j]
        distances = [matrix[i, j] for i, j in pairs]
        different = [known[i] != known[j] for i, j in pairs]
        assert score == pytest.approx(spearmanr(distances, different)[0], abs=1e-9)


@pytest.mark.parametrize("name", ["knn", "probe"])
def test_bootstrapped_accuracy_is_that_of_the_images_drawn(name):
    features, labels = draw_task(20, images=30, signal=0.3)
    labels[:6] = -1
    known = labels[6:]
    fast = BOOTSTRAPS[name](features, labels, np.random.default_rng(5), 1000)
    drawn = draw_counts(known, np.random.default_rng(5), 1000)
    # 24 unknown hits, 1000 equations: the hits are found, and they are hits of this score.
    hits = np.linalg.lstsq(drawn, fast * 24, rcond=None)[0]
    assert np.allclose(drawn @ hits / 24, fast)
    assert METRICS[name](features, labels) == pytest.approx(fast.mean(), abs=0.02)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_bootstrap_that_follows_its_generator(name):
    assert METRICS.keys() == BOOTSTRAPS.keys()
    features, labels = draw_task(21)
    bootstrap = BOOTSTRAPS[name]
    once = bootstrap(features, labels, np.random.default_rng(1), 50)
    assert once.shape == (50,)
    assert once.dtype == np.float64
    assert np.array_equal(once, bootstrap(features, labels, np.random.default_rng(1), 50))
    assert not np.array_equal(once, bootstrap(features, labels, np.random.default_rng(2), 50))
    assert once.min() < METRICS[name](features, labels) < once.max()
    assert bootstrap(features, labels, np.random.default_rng(1), 0).shape == (0,)
