"""Bootstraps: stratified resamples, and scores equal to those of explicit copies."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from selection.bootstrap import PERMUTATIONS, draw_counts, measure
from selection.metrics import METRICS, SCORERS
from tests.support.scoring_tasks import compare_pairs_slowly, draw_task

SOME = (*SCORERS, "logme", "hscore", "gbc", "cka")


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
    _, fast, _ = measure("parc", features, labels, resamples=20, seed=5)
    for score, counts in zip(fast, draw_counts(known, np.random.default_rng(5), 20), strict=True):
        copies = np.repeat(np.arange(20), counts.astype(int))
        pairs = [(i, j) for at, i in enumerate(copies) for j in copies[at + 1 :] if i != j]
        distances = [matrix[i, j] for i, j in pairs]
        different = [known[i] != known[j] for i, j in pairs]
        assert score == pytest.approx(spearmanr(distances, different)[0], abs=1e-9)


@pytest.mark.parametrize("name", ["knn", "linear_probe"])
def test_bootstrapped_accuracy_is_that_of_the_images_counts(name):
    features, labels = draw_task(20, images=30, signal=0.3)
    labels[:6] = -1
    known = labels[6:]
    _, fast, _ = measure(name, features, labels, resamples=1000, seed=5)
    counts = draw_counts(known, np.random.default_rng(5), 1000)
    # 24 unknown hits, 1000 equations: the hits are found, and they are hits of this score.
    hits = np.linalg.lstsq(counts, fast * 24, rcond=None)[0]
    assert np.allclose(counts @ hits / 24, fast)
    assert METRICS[name](features, labels) == pytest.approx(fast.mean(), abs=0.02)


@pytest.mark.parametrize("name", SOME)
def test_every_metric_has_resamples_that_follow_their_seed(name):
    features, labels = draw_task(21)
    score, once, _ = measure(name, features, labels, resamples=50, seed=1)
    assert score == pytest.approx(METRICS[name](features, labels), abs=1e-12)
    assert (once.ndim, once.dtype) == (1, np.float64)
    assert len(once) in (50, 30)
    assert np.array_equal(once, measure(name, features, labels, resamples=50, seed=1)[1])
    assert not np.array_equal(once, measure(name, features, labels, resamples=50, seed=2)[1])
    assert once.min() < score < once.max()
    assert [len(rows) for rows in measure(name, features, labels, resamples=0)[1:]] == [0, 0]


@pytest.mark.parametrize("name", SOME)
def test_permuted_labels_score_less_than_true_ones(name):
    features, labels = draw_task(22, images=60, signal=3)
    labels[:10] = -1
    score, _, permuted = measure(name, features, labels)
    assert len(permuted) in (PERMUTATIONS, 30)
    assert score > np.nanpercentile(permuted, 95)


@pytest.mark.parametrize("name", SCORERS)
def test_a_kept_geometry_scores_permuted_labels_as_the_metric_does(name):
    features, labels = draw_task(23, images=40)
    permuted = np.random.default_rng(0).permutation(labels)
    kept = SCORERS[name](features, labels)(permuted)(np.ones(40))
    assert kept == pytest.approx(METRICS[name](features, permuted), abs=1e-12)
