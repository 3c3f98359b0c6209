"""Self-training of the probe: its fits, when it is used, and what it is worth."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import Ridge

from distill.training import targets
from distill.training.targets import soft_labels
from zoo import Features
from zoo.features.linear_probe import assign_folds
from zoo.features.self_training import (
    FOLDS,
    LABEL_WEIGHT,
    ROUNDS,
    STRENGTH,
    TEMPERATURE,
    self_train,
    self_train_left_out,
)


def draw(images=120, labeled=12, classes=3, noise=0.6, seed=0):
    """Images of a few tight classes, and their labels, most of them hidden."""
    rng = np.random.default_rng(seed)
    truth = np.arange(images) % classes
    rows = rng.normal(size=(classes, 8))[truth] + noise * rng.normal(size=(images, 8))
    return rows, truth, np.where(np.arange(images) < labeled, truth, -1)


def slow_fit(rows, wanted, importance, strength):
    center = np.average(rows, axis=0, weights=importance)
    penalty = strength * (importance @ np.square(rows - center).sum(1)) / len(rows)
    return Ridge(alpha=penalty, solver="cholesky").fit(rows, wanted, sample_weight=importance)


def test_self_training_is_ridge_refitted_to_its_own_soft_predictions():
    rows, truth, labels = draw()
    known, one_hot = labels >= 0, np.eye(3)[truth]
    fit = slow_fit(rows[known], one_hot[known], np.ones(known.sum()), 0.1)
    for _ in range(ROUNDS):
        wanted = softmax(fit.predict(rows) / TEMPERATURE, axis=1)
        importance = np.where(known, LABEL_WEIGHT, wanted.max(1) ** 2)
        wanted[known] = one_hot[known]
        fit = slow_fit(rows, wanted, importance, STRENGTH)
    weights, intercept = self_train(rows, labels, 3, 0.1)
    assert np.allclose(rows @ weights + intercept, fit.predict(rows), atol=1e-8)


def test_a_left_out_label_is_not_known():
    rows, _, labels = draw()
    known = np.flatnonzero(labels >= 0)
    before = self_train_left_out(rows, labels, 3, 0.1)
    for group in assign_folds(labels[known]):
        wrong = labels.copy()
        wrong[known[group]] = (wrong[known[group]] + 1) % 3
        hidden = labels.copy()
        hidden[known[group]] = -1
        weights, intercept = self_train(rows, hidden, 3, 0.1)
        assert np.allclose(before[group], rows[known[group]] @ weights + intercept)
    many = draw(labeled=60)[2]  # 20 folds of one image per class become few
    assert self_train_left_out(rows, many, 3, 0.1).shape == (60, 3)
    assert FOLDS < 20


def test_of_a_single_label_that_is_left_every_image_is_of_its_class():
    rows, _, labels = draw()
    labels[3:] = -1
    labels[3] = labels[0]  # of the folds one has an image of each class, one this image alone
    left_out = self_train_left_out(rows, labels, 3, 0.1)
    assert np.array_equal(left_out.argmax(axis=1)[:3], [labels[0]] * 3)
    single = rows.astype(np.float32)
    found = soft_labels({"ant": Features(single, single[:, :0])}, {"ant": 1.0}, labels)
    assert found.probabilities.isfinite().all()


def test_a_class_with_a_single_label_can_be_left_out():
    rows, truth, labels = draw(labeled=9)
    labels[(truth == 2) & (np.arange(len(labels)) > 2)] = -1
    assert np.isfinite(self_train_left_out(rows, labels, 3, 0.1)).all()


def right(features, labels, truth):
    found = soft_labels({"one": features}, {"one": 1.0}, labels).probabilities.argmax(1).numpy()
    return (found == truth)[labels < 0].mean()


@pytest.fixture
def without(monkeypatch):
    """Soft labels of ridge regression alone."""

    def run(features, labels, truth):
        wrong = np.zeros((np.count_nonzero(labels >= 0), 1))
        with monkeypatch.context() as patch:
            patch.setattr(targets, "self_train_left_out", lambda *_: wrong)
            return right(features, labels, truth)

    return run


def as_features(rows):
    return Features(rows.astype(np.float32), rows[:, :2].astype(np.float32))


def test_soft_labels_of_few_labels_get_better_by_the_unlabeled_images(without):
    gains = []
    for seed in range(5):
        rows, truth, labels = draw(images=300, labeled=6, noise=0.9, seed=seed)
        features = as_features(rows)
        gains.append(right(features, labels, truth) - without(features, labels, truth))
    assert np.mean(gains) > 0.03


def test_soft_labels_of_an_unbalanced_pool_get_no_worse(without):
    gains = []
    for seed in range(5):
        rows, truth, labels = draw(images=600, labeled=12, noise=0.9, seed=seed)
        rare = (truth > 0) & (labels < 0) & (np.arange(600) > 120)
        features = as_features(rows[~rare])
        labels, truth = labels[~rare], truth[~rare]
        gains.append(right(features, labels, truth) - without(features, labels, truth))
    assert np.mean(gains) > 0


def test_where_self_training_is_worse_by_cross_validation_the_probe_stays(monkeypatch, without):
    rows, truth, labels = draw()
    features = as_features(rows)
    expected = without(features, labels, truth)
    answers = {"left out": 0}

    def worse(_rows, labels, classes, *_):
        answers["left out"] += 1
        return -np.eye(classes)[labels[labels >= 0]]

    monkeypatch.setattr(targets, "self_train_left_out", worse)
    monkeypatch.setattr(targets, "self_train", lambda *_: pytest.fail("was used"))
    assert right(features, labels, truth) == expected
    assert answers["left out"] == 1


def test_without_unlabeled_images_there_is_nothing_to_learn_from(monkeypatch):
    rows, truth, _ = draw(images=12)
    monkeypatch.setattr(targets, "self_train_left_out", lambda *_: pytest.fail("was used"))
    assert soft_labels({"one": as_features(rows)}, {"one": 1.0}, truth).accuracy > 0.3
