"""GBC, TransRate and NCTI against loops over classes and a generalized eigenproblem."""

import numpy as np
import pytest

from selection.metrics.separation import gbc, ncti, ncti_terms, transrate
from tests.support import published_metrics as published
from tests.support.scoring_tasks import draw_task, separate, wrap
from zoo.errors import RankingError

METRICS = [gbc, transrate, ncti]
every_metric = pytest.mark.parametrize("metric", METRICS)
SHAPES = [(60, 40, 5), (300, 90, 2), (200, 6, 9), (40, 200, 8)]


def as_floats(features):
    return features.embeddings.astype(np.float64)


@pytest.mark.parametrize("metric", [gbc, transrate])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("signal", [0, 0.5])
def test_it_equals_the_published_form(metric, shape, signal):
    features, labels = draw_task(1, *shape, signal=signal)
    slow = getattr(published, metric.__name__)(as_floats(features), labels)
    assert metric(features, labels) == pytest.approx(slow, rel=1e-6, abs=1e-9)


def test_it_equals_the_published_form_where_classes_differ_in_size():
    features, labels = draw_task(2)
    labels[labels == 4] = 3
    labels[0] = 4
    for metric in (gbc, transrate):
        slow = getattr(published, metric.__name__)(as_floats(features), labels)
        assert metric(features, labels) == pytest.approx(slow, rel=1e-6)


@pytest.mark.parametrize("shape", [(60, 40, 5), (300, 90, 2), (200, 6, 9)])
@pytest.mark.parametrize("scale", [0.02, 0.3, 1, 3])
def test_the_terms_of_ncti_equal_the_published_ones_at_any_shrinkage(shape, scale):
    features, labels = draw_task(3, *shape)
    scaled = wrap(features.embeddings * scale)
    slow = published.ncti_terms(as_floats(scaled), labels)
    assert ncti_terms(scaled, labels) == pytest.approx(slow, rel=1e-6)


def test_ncti_orders_teachers_as_the_published_sum_of_scaled_terms_does():
    zoo = [draw_task(4, 200, 30, 6, signal=signal) for signal in np.linspace(0, 1.5, 16)]
    terms = np.array([ncti_terms(wrap(0.1 * f.embeddings), labels) for f, labels in zoo])
    scaled = (terms - terms.min(axis=0)) / np.ptp(terms, axis=0)
    joined = [ncti(wrap(0.1 * f.embeddings), labels) for f, labels in zoo]
    agreement = published.correlate_ranks(scaled @ [1, 1, -1], joined)
    assert agreement == pytest.approx(1, abs=0.05)
    assert np.argmin(joined) < 4 < np.argmax(joined)


@every_metric
def test_separated_classes_score_higher_than_noise(metric):
    near, far = metric(*separate(100, 4)), metric(*draw_task(5, 100, 3, 4, signal=0))
    assert near > far + 0.5


def test_gbc_lies_between_all_pairs_the_same_and_all_apart():
    features, labels = draw_task(6, 4000, 3, 4, signal=0)
    assert gbc(features, labels) == pytest.approx(-12, abs=0.1)
    assert gbc(*draw_task(6, 400, 30, 4, signal=20)) == pytest.approx(0, abs=1e-9)


def test_gbc_does_not_take_the_logarithm_of_a_sphere_for_one_dimension():
    rng = np.random.default_rng(7)
    labels = np.arange(4000) % 2
    rows = rng.normal(size=(4000, 10)) * np.where(labels, 3, 1)[:, None]
    overlap = (2 * 3 / (1 + 9)) ** 5  # of two spheres about one center, in 10 dimensions
    assert gbc(wrap(rows), labels) == pytest.approx(-2 * overlap, rel=0.05)


def test_gbc_fits_its_projection_on_unlabeled_images_too():
    features, labels = draw_task(8, 300, 100, 3)
    labels[100:] = -1
    alone = gbc(features.rows(np.arange(100)), labels[:100])
    assert gbc(features, labels) != pytest.approx(alone, rel=1e-3)


def test_transrate_is_0_where_all_classes_are_alike_and_grows_with_their_distance():
    rows = np.random.default_rng(9).normal(size=(20, 5))
    assert transrate(wrap(np.tile(rows, (3, 1))), np.repeat([0, 1, 2], 20)) == pytest.approx(0)
    scores = [transrate(*draw_task(9, 200, 5, 3, signal=signal)) for signal in (0, 1, 3)]
    assert 0 < scores[0] < scores[1] < scores[2]


def test_transrate_does_not_see_unlabeled_images():
    features, labels = draw_task(10)
    labels[:20] = -1
    alone = transrate(features.rows(np.arange(20, 60)), labels[20:])
    assert transrate(features, labels) == pytest.approx(alone, abs=1e-9)


@every_metric
def test_unlabeled_images_are_not_scored(metric):
    features, labels = draw_task(11, 200, 20)
    hidden = labels.copy()
    hidden[:100] = -1
    wrong = hidden.copy()
    wrong[:100] = (labels[:100] + 1) % 5
    assert metric(features, hidden) != metric(features, labels)
    assert metric(features, hidden) > metric(features, wrong)


@every_metric
def test_order_of_images_names_of_classes_rotation_and_shift_do_not_matter(metric):
    features, labels = draw_task(12, 120)
    rng = np.random.default_rng(0)
    score, order = metric(features, labels), rng.permutation(120)
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    assert metric(features.rows(order), labels[order]) == pytest.approx(score, rel=1e-9)
    renamed = np.array([70, 3, 0, 41, 2])[labels]
    assert metric(features, renamed) == pytest.approx(score, rel=1e-9)
    moved = wrap(features.embeddings @ rotation + 3)
    assert metric(moved, labels) == pytest.approx(score, rel=1e-4)


def test_scale_matters_to_transrate_and_ncti_and_not_to_gbc_above_its_floor():
    features, labels = draw_task(13, 120)
    scaled = wrap(features.embeddings / 8)
    assert gbc(scaled, labels) == pytest.approx(gbc(features, labels), rel=1e-6)
    assert gbc(wrap(features.embeddings / 1000), labels) != pytest.approx(gbc(features, labels))
    assert abs(transrate(scaled, labels) - transrate(features, labels)) > 1
    assert abs(ncti(scaled, labels) - ncti(features, labels)) > 0.01


@every_metric
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("power", [-60, -20, 0, 20, 60])
def test_features_of_any_magnitude_are_scored(metric, shape, power):
    features, labels = draw_task(14, *shape)
    assert np.isfinite(metric(wrap(features.embeddings * 2.0**power), labels))


@every_metric
def test_classes_of_one_image_and_duplicates_are_allowed(metric):
    features, labels = draw_task(15)
    labels[:2] = [5, 6]
    assert np.isfinite(metric(features, labels))
    half = features.rows(np.arange(60) // 2)
    assert np.isfinite(metric(half, labels))


def test_ncti_refuses_classes_that_are_points_or_have_one_center():
    with pytest.raises(RankingError, match="do not vary within"):
        ncti(wrap(np.eye(3)[np.arange(12) % 3]), np.arange(12) % 3)
    rows = np.random.default_rng(17).integers(-5, 5, size=(10, 4)).astype(float)
    twice = np.vstack([rows, rows])
    with pytest.raises(RankingError, match="centers coincide"):
        ncti(wrap(twice), np.repeat([0, 1], 10))
