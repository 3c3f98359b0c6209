"""Pairs of images: the area identity against Spearman, ties, and drawn pairs."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from selection.metrics.pairs import SORTED, compare_pairs, correlate


def draw_directions(levels, count=30):
    """Unit rows that take so many directions: pairs of few different distances."""
    rng = np.random.default_rng(levels)
    rows = rng.normal(size=(levels, 3))[rng.integers(0, levels, count)]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("levels", [2, 3, 10, 1000])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_area_identity_equals_spearman_with_any_number_of_ties(levels, classes):
    rows, labels = draw_directions(levels), np.arange(30) % classes
    upper = np.triu_indices(30, k=1)
    distances = (1 - rows @ rows.T).round(10)[upper]
    slow = spearmanr(distances, (labels[:, None] != labels)[upper])[0]
    fast = correlate(compare_pairs(rows))(labels)
    assert fast == pytest.approx(slow, abs=1e-12)


def test_equal_distances_say_nothing():
    labels, rows = np.array([0, 0, 1, 1]), np.ones((4, 1))
    assert correlate(compare_pairs(rows))(labels) == 0


def test_a_draw_of_pairs_estimates_the_score_of_all_pairs_without_bias():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 5
    rows = rng.normal(size=(80, 8)) + 2 * np.eye(5, 8)[labels]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    whole = correlate(compare_pairs(rows))(labels)
    draws = [compare_pairs(rows, most=600, seed=seed) for seed in range(200)]
    drawn = [correlate(pairs)(labels) for pairs in draws]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert np.std(drawn) > 0
    assert abs(np.mean(drawn) - whole) < 4 * error
    assert (draws[0].first != draws[0].second).all()


@pytest.mark.parametrize(("copies", "error"), [(1, 1e-8), (30, 1e-6)])
def test_the_score_of_very_many_pairs_is_that_of_sorted_distances(copies, error):
    rng = np.random.default_rng(1)
    rows = np.repeat(rng.normal(size=(1500 // copies, 32)), copies, axis=0)
    labels = rng.integers(0, 20, 1500)
    rows += 0.2 * rng.normal(size=(20, 32))[labels // copies * copies]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    upper = np.triu_indices(1500, k=1)
    pairs = compare_pairs(rows)
    assert SORTED < len(pairs.steps) == len(upper[0])
    distances = (1 - rows @ rows.T).round(10)[upper]
    slow = spearmanr(distances, (labels[:, None] != labels)[upper])[0]
    assert correlate(pairs)(labels) == pytest.approx(slow, abs=error)
