"""The closed-form probe against scikit-learn, refitted from scratch for every fold."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from zoo.features import linear_probe
from zoo.features.linear_probe import (
    assign_folds,
    fit_offsets,
    fit_ridge,
    fit_temperature,
    ridge_leave_one_out,
    standardize,
)


def draw_task(seed, images, width, classes, signal=1.0):
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, images - classes)]
    centers = signal * rng.normal(size=(classes, width))
    return rng.normal(size=(images, width)) + centers[labels] + 5, labels


def penalty(rows, strength):
    return strength * np.square(rows - rows.mean(axis=0)).sum() / len(rows)


@pytest.mark.parametrize(("images", "width"), [(30, 8), (30, 100), (30, 30), (9, 2)])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
def test_the_probe_equals_ridge_regression_with_an_intercept(images, width, strength):
    rows, labels = draw_task(0, images, width, 4)
    weights, intercept = fit_ridge(rows, labels, strength)
    slow = Ridge(alpha=penalty(rows, strength), solver="svd").fit(rows, np.eye(4)[labels])
    assert np.allclose(weights, slow.coef_.T, atol=1e-9)
    assert np.allclose(intercept, slow.intercept_, atol=1e-8)


@pytest.mark.parametrize(("images", "width"), [(30, 8), (30, 100), (30, 30)])
@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
def test_left_out_scores_equal_those_of_probes_refitted_without_the_fold(images, width, strength):
    rows, labels = draw_task(1, images, width, 4)
    scores, chosen = ridge_leave_one_out(rows, labels, [strength])
    for fold in assign_folds(labels):
        seen = np.setdiff1d(np.arange(images), fold)
        slow = Ridge(alpha=penalty(rows, strength), solver="svd")
        slow.fit(rows[seen], np.eye(4)[labels[seen]])
        assert np.allclose(scores[fold], slow.predict(rows[fold]), atol=1e-8)
    assert chosen == strength


def test_folds_hold_every_image_once_and_a_class_at_most_once():
    labels = np.array([2, 0, 0, 1, 2, 0])
    folds = [fold.tolist() for fold in assign_folds(labels)]
    assert folds == [[0, 1, 3], [2, 4], [5]]


def test_the_strength_of_least_squared_error_is_chosen():
    rows, labels = draw_task(2, 40, 60, 4, signal=0.4)
    strengths = [100.0, 1e-3, 1.0, 1e-2]
    targets = np.eye(4)[labels]
    errors = [
        np.square(ridge_leave_one_out(rows, labels, [strength])[0] - targets).mean()
        for strength in strengths
    ]
    scores, chosen = ridge_leave_one_out(rows, labels, strengths)
    assert chosen == strengths[int(np.argmin(errors))]
    assert np.square(scores - targets).mean() == min(errors)
    assert len(set(errors)) == 4


def test_noise_with_few_balanced_labels_scores_at_chance_not_below():
    labels = np.repeat(np.arange(10), 4)
    hits = []
    for seed in range(50):
        rows = np.random.default_rng(seed).normal(size=(40, 64))
        hits.append(ridge_leave_one_out(rows, labels)[0].argmax(axis=1) == labels)
    assert 0.07 < np.mean(hits) < 0.13


def test_constant_features_score_each_class_by_its_frequency_among_the_rest():
    labels = np.array([0, 0, 0, 1, 1, 1])
    scores, _ = ridge_leave_one_out(np.ones((6, 3)), labels)
    assert np.allclose(scores, 0.5)


def test_the_only_image_of_a_class_is_scored_by_a_probe_that_does_not_know_the_class():
    rows, labels = draw_task(3, 12, 5, 2)
    labels[0], labels[1:] = 2, labels[1:] % 2
    scores, _ = ridge_leave_one_out(rows, labels)
    assert scores[0, 2] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "strengths"), [([0, 1, 2], [1.0]), ([0, 0, 1], [0.0]), ([0, 0, 1], [1.0, -1.0])]
)
def test_what_has_no_solution_is_refused(labels, strengths):
    with pytest.raises(ValueError, match="needs a class with two images"):
        ridge_leave_one_out(np.eye(3), np.array(labels), strengths)


def test_standardized_columns_equal_scikit_learns():
    rows = np.random.default_rng(4).normal(3, 7, size=(20, 5))
    assert np.allclose(standardize(rows), StandardScaler().fit_transform(rows))


def test_a_constant_column_becomes_zero_not_noise():
    rows = np.full((7, 2), 0.1)
    rows[:, 1] = np.arange(7)
    assert rows[:, 0].mean() != 0.1
    assert (standardize(rows)[:, 0] == 0).all()
    assert standardize(rows)[:, 1].std() == pytest.approx(1)


def unbalanced(counts=(90, 30, 12), seed=0):
    """Scores that are lower for classes with few labels, and the labels."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=0.2, size=(len(labels), len(counts)))
    scores[np.arange(len(labels)), labels] += 0.3
    return scores + np.log(counts) / 4, labels


def test_offsets_give_rare_classes_as_much_probability_as_their_labels_have(monkeypatch):
    monkeypatch.setattr(linear_probe, "OFFSET_SHRINKAGE", 0.0)
    monkeypatch.setattr(linear_probe, "OFFSET_ROUNDS", 1)
    scores, labels = unbalanced()
    offsets = fit_offsets(scores, labels)
    chances = softmax((scores + offsets) / fit_temperature(scores, labels), axis=1)
    mean = np.mean([chances[labels == label].mean(axis=0) for label in range(3)], axis=0)
    assert np.allclose(mean, 1 / 3, atol=1e-3)
    assert offsets[0] < offsets[1] < offsets[2]


def test_offsets_are_shrunk_where_they_say_little():
    scores, labels = unbalanced()
    assert 0.1 < np.ptp(fit_offsets(scores, labels)) < 0.515


def test_classes_with_equally_many_labels_have_no_offsets():
    scores, labels = unbalanced((8, 8, 8))
    assert not fit_offsets(scores, labels).any()
    lone = np.array([0, 0, 0, 1])  # nothing is known of the other class
    assert not fit_offsets(scores[:4], lone).any()


def test_a_class_with_a_single_label_has_the_offset_of_the_rarest_other():
    scores, labels = unbalanced((30, 10, 1))
    offsets = fit_offsets(scores, labels)
    assert offsets[2] == offsets[1] > offsets[0]
