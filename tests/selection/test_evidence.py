"""LogME and H-score against the authors' algorithms, one class at a time."""

import numpy as np
import pytest

from selection.metrics.evidence import hscore, logme
from tests.support import published_metrics as published
from tests.support.scoring_tasks import draw_task, separate, wrap

SHAPES = [(60, 40, 5), (20, 90, 2), (200, 6, 9), (80, 80, 40)]
either = pytest.mark.parametrize("metric", [logme, hscore])


def slowly(metric, features, labels):
    rows = features.embeddings.astype(np.float64)
    return getattr(published, metric.__name__)(rows, labels)


@either
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signal", [0, 0.5, 5])
def test_it_equals_the_published_form(metric, shape, signal):
    features, labels = draw_task(1, *shape, signal=signal)
    slow = slowly(metric, features, labels)
    assert metric(features, labels) == pytest.approx(slow, rel=1e-6, abs=1e-6)


@either
@pytest.mark.parametrize("power", [-10, -3, 3, 10])
def test_it_equals_the_published_form_at_every_scale(metric, power):
    features, labels = draw_task(2, 60, 20)
    scaled = wrap(features.embeddings * 2.0**power)
    slow = slowly(metric, scaled, labels)
    assert metric(scaled, labels) == pytest.approx(slow, rel=1e-6, abs=1e-6)


@either
def test_it_equals_the_published_form_with_duplicates_and_a_class_of_one(metric):
    features, labels = draw_task(3, 30, 50, 3)
    twice, labels = features.rows(np.arange(60) % 30), np.r_[labels, labels]
    labels[0] = 3
    slow = slowly(metric, twice, labels)
    assert metric(twice, labels) == pytest.approx(slow, rel=1e-6, abs=1e-6)


@either
def test_separated_classes_score_higher_than_noise(metric):
    assert metric(*separate()) > metric(*draw_task(4, 40, 40, 4, signal=0)) + 0.5


def test_logme_is_the_evidence_that_a_search_over_precisions_finds():
    features, labels = draw_task(5, 80, 10, 3)
    rows = features.embeddings.astype(np.float64)
    best = []
    for label in range(3):
        target = (labels == label).astype(float)
        evidences = []
        for alpha in np.geomspace(0.1, 1e4, 80):
            for beta in np.geomspace(1, 100, 60):
                covariance = np.eye(80) / beta + rows @ rows.T / alpha
                density = -0.5 * (
                    target @ np.linalg.solve(covariance, target)
                    + np.linalg.slogdet(2 * np.pi * covariance)[1]
                )
                evidences.append(density / 80)
        best.append(max(evidences))
    assert logme(features, labels) == pytest.approx(np.mean(best), abs=2e-3)


def test_logme_does_not_see_unlabeled_images():
    features, labels = draw_task(6)
    labels[:20] = -1
    alone = logme(features.rows(np.arange(20, 60)), labels[20:])
    assert logme(features, labels) == pytest.approx(alone, abs=1e-12)


def test_the_h_score_fits_its_covariance_on_unlabeled_images_too():
    features, labels = draw_task(7)
    labels[:20] = -1
    rows = features.embeddings.astype(np.float64)
    shrunk = published.LedoitWolf().fit(rows)
    means = np.zeros((40, 40))
    for label in range(5):
        means[labels[20:] == label] = rows[labels == label].mean(axis=0)
    slow = np.trace(
        np.linalg.inv(shrunk.covariance_) @ ((1 - shrunk.shrinkage_) * np.cov(means, rowvar=False))
    )
    assert hscore(features, labels) == pytest.approx(slow, abs=1e-9)
    assert hscore(features.rows(np.arange(20, 60)), labels[20:]) != pytest.approx(slow, abs=0.01)


def test_unlabeled_rows_are_not_scored():
    features, labels = draw_task(8)
    hidden = labels.copy()
    hidden[:20] = -1
    assert logme(features, hidden) != logme(features, labels)
    assert hscore(features, hidden) != hscore(features, labels)


def test_the_h_score_of_separated_classes_nears_the_number_of_classes_less_one():
    features, labels = separate(400, 4)
    assert hscore(features, labels) == pytest.approx(3, abs=0.15)
    assert hscore(*draw_task(9, 400, 3, 4, signal=0)) < 0.05


@either
def test_order_of_images_names_of_classes_and_rotation_do_not_matter(metric):
    features, labels = draw_task(10)
    rng = np.random.default_rng(0)
    score, order = metric(features, labels), rng.permutation(60)
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    assert metric(features.rows(order), labels[order]) == pytest.approx(score, abs=1e-9)
    renamed = np.array([70, 3, 0, 41, 2])[labels]
    assert metric(features, renamed) == pytest.approx(score, abs=1e-9)
    rotated = wrap(features.embeddings @ rotation)
    assert metric(rotated, labels) == pytest.approx(score, abs=1e-4)


def test_scale_and_shift_matter_to_logme_and_not_to_the_h_score():
    features, labels = draw_task(11)
    for other in (features.embeddings * 1024, features.embeddings + 4):
        assert hscore(wrap(other), labels) == pytest.approx(hscore(features, labels), abs=1e-4)
        assert abs(logme(wrap(other), labels) - logme(features, labels)) > 1e-3


@either
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("power", [-60, -20, 0, 20, 60])
def test_features_of_any_magnitude_are_scored(metric, shape, power):
    features, labels = draw_task(12, *shape)
    assert np.isfinite(metric(wrap(features.embeddings * 2.0**power), labels))


@either
def test_perfect_features_of_one_direction_are_scored(metric):
    rows = np.repeat([[1.0, 2.0], [-1.0, -2.0]], 10, axis=0)
    score = metric(wrap(rows), np.repeat([0, 1], 10))
    assert score > metric(wrap(rows), np.arange(20) % 2) + 0.2
    assert np.isfinite(metric(wrap(rows[:, :1]), np.repeat([0, 1], 10)))
