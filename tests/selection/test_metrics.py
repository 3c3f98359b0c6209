"""Metrics against literal definitions: scipy's Spearman, scikit-learn's neighbors and refits."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from selection.metrics import METRICS, SCORERS, knn, linear_probe, parc
from selection.metrics.checks import check_labels
from tests.support.scoring_tasks import compare_pairs_slowly, draw_task, separate, wrap
from zoo.errors import RankingError
from zoo.features.linear_probe import STRENGTHS, assign_folds
from zoo.features.store import Features

every_metric = pytest.mark.parametrize("metric", [parc, knn, linear_probe])
of_all = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def with_logits(rows):
    """Features of a teacher with seven classes, whatever the metric needs."""
    logits = np.random.default_rng(0).normal(size=(len(rows), 7))
    return Features(np.asarray(rows, np.float32), logits.astype(np.float32))


# --- PARC


@pytest.mark.parametrize(("images", "width", "classes"), [(60, 40, 5), (20, 90, 2), (80, 6, 9)])
def test_parc_equals_the_literal_definition(images, width, classes):
    features, labels = draw_task(1, images, width, classes)
    distances, different = compare_pairs_slowly(features.embeddings, labels)
    assert parc(features, labels) == pytest.approx(spearmanr(distances, different)[0], abs=1e-9)


def test_parc_fits_its_projection_on_unlabeled_images_too():
    features, labels = draw_task(2)
    labels[::2] = -1
    distances, different = compare_pairs_slowly(features.embeddings, labels)
    published = parc(features.rows(np.flatnonzero(labels >= 0)), labels[labels >= 0])
    assert parc(features, labels) == pytest.approx(spearmanr(distances, different)[0], abs=1e-9)
    assert parc(features, labels) != pytest.approx(published, abs=1e-3)


def test_parc_equals_the_literal_definition_where_duplicates_make_ties():
    features, labels = draw_task(3, images=15, classes=3)
    twice = features.rows(np.r_[np.arange(15), np.arange(15), np.arange(5)])
    labels = np.r_[labels, labels[::-1], labels[:5]]
    distances, different = compare_pairs_slowly(twice.embeddings, labels)
    assert len(np.unique(distances)) < len(distances) / 2
    assert parc(twice, labels) == pytest.approx(spearmanr(distances, different)[0], abs=1e-9)


def test_parc_of_separated_classes_is_at_its_ceiling():
    features, labels = separate(60, 6)
    q = (labels[:, None] == labels)[np.triu_indices(60, k=1)].mean()
    assert parc(features, labels) == pytest.approx(np.sqrt(3 * q * (1 - q)), abs=1e-5)


def test_parc_of_noise_is_zero_on_average():
    scores = [parc(*draw_task(seed, signal=0)) for seed in range(40)]
    assert abs(np.mean(scores)) < 0.01


def test_parc_is_below_zero_where_classes_are_spread_apart():
    rows = np.repeat(np.random.default_rng(4).normal(size=(10, 8)), 2, axis=0)
    rows += 1e-3 * np.random.default_rng(5).normal(size=rows.shape)
    assert parc(wrap(rows), np.arange(20) % 2) < -0.05


# --- k-NN


@pytest.mark.parametrize(("images", "width", "classes"), [(60, 40, 5), (20, 90, 2)])
def test_knn_equals_a_classifier_refitted_without_each_image(images, width, classes):
    features, labels = draw_task(6, images, width, classes)
    rows, hits = features.embeddings, []
    for left in range(images):
        seen = np.arange(images) != left
        slow = KNeighborsClassifier(1, metric="cosine").fit(rows[seen], labels[seen])
        hits.append(slow.predict(rows[[left]])[0] == labels[left])
    assert knn(features, labels) == pytest.approx(np.mean(hits))


def test_the_nearest_of_copies_is_the_same_alone_and_in_a_ranking():
    for seed in range(9):
        draw = np.random.default_rng(seed)
        rows = draw.normal(size=(6, 4))[draw.integers(6, size=40)].astype(np.float32)
        features, labels = Features(rows, rows[:, :0]), draw.integers(3, size=40)
        assert SCORERS["knn"](features, labels)(labels) == knn(features, labels)


def test_knn_does_not_see_unlabeled_images():
    features, labels = draw_task(7)
    labels[:20] = -1
    assert knn(features, labels) == knn(features.rows(np.arange(20, 60)), labels[20:])


# --- Linear probe


@pytest.mark.parametrize("width", [5, 40, 90])
def test_the_probe_equals_ridge_regressions_refitted_without_each_fold(width):
    features, labels = draw_task(8, width=width)
    labels[:10] = -1
    rows = StandardScaler().fit_transform(features.embeddings.astype(np.float64))[10:]
    known, targets = labels[10:], np.eye(5)[labels[10:]]
    unit = np.square(rows - rows.mean(axis=0)).sum() / 50
    errors = {}
    for strength in STRENGTHS:
        scores = np.zeros((50, 5))
        for fold in assign_folds(known):
            seen = np.setdiff1d(np.arange(50), fold)
            slow = Ridge(alpha=strength * unit, solver="svd").fit(rows[seen], targets[seen])
            scores[fold] = slow.predict(rows[fold])
        errors[np.square(scores - targets).mean()] = (scores.argmax(axis=1) == known).mean()
    assert linear_probe(features, labels) == pytest.approx(errors[min(errors)])


def test_the_probe_of_noise_is_at_chance_with_few_balanced_labels():
    scores = [linear_probe(*draw_task(seed, 40, 64, 10, signal=0)) for seed in range(50)]
    assert 0.07 < np.mean(scores) < 0.13


def test_the_probe_scales_features_by_unlabeled_images_too():
    features, labels = draw_task(9)
    rows = features.embeddings * np.geomspace(1, 1e3, 40, dtype=np.float32)
    rows[:30, :20] *= 50
    labels[:30] = -1
    alone = linear_probe(wrap(rows[30:]), labels[30:])
    assert linear_probe(wrap(rows), labels) != alone


# --- All of them


@every_metric
def test_separated_classes_score_higher_than_noise(metric):
    near = metric(*separate())
    assert near > metric(*draw_task(10, 40, 40, 4, signal=0)) + 0.3
    assert -1 <= near <= 1


@every_metric
@pytest.mark.parametrize("images", [12, 60])
def test_the_names_of_classes_do_not_matter(metric, images):
    features, labels = draw_task(11, images)
    renamed = np.array([70, 3, 0, 41, 2])[labels]
    assert metric(features, renamed) == pytest.approx(metric(features, labels), abs=1e-12)


@pytest.mark.parametrize("metric", [parc, knn])
def test_the_order_of_images_does_not_matter(metric):
    features, labels = draw_task(12)
    order = np.random.default_rng(0).permutation(60)
    shuffled = metric(features.rows(order), labels[order])
    assert shuffled == pytest.approx(metric(features, labels), abs=1e-9)


@pytest.mark.parametrize("metric", [parc, knn])
def test_a_rotation_of_the_features_does_not_matter(metric):
    features, labels = draw_task(13)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0]
    rotated = metric(wrap(features.embeddings @ rotation), labels)
    assert rotated == pytest.approx(metric(features, labels), abs=1e-3)


@every_metric
def test_a_scale_of_the_features_does_not_matter(metric):
    features, labels = draw_task(14)
    scaled = metric(wrap(features.embeddings * 1024), labels)
    assert scaled == pytest.approx(metric(features, labels), abs=1e-9)


@of_all
def test_classes_of_one_image_are_allowed_beside_larger_ones(metric):
    features, labels = draw_task(15)
    labels[:2] = [5, 6]
    assert np.isfinite(metric(with_logits(features.embeddings), labels))


@pytest.mark.parametrize("metric", [knn, linear_probe])
def test_the_only_image_of_its_class_is_a_miss(metric):
    features, labels = separate()
    labels[0] = 9
    assert metric(features, labels) <= 39 / 40


@every_metric
@pytest.mark.parametrize("power", [0, 20, -20])
def test_features_of_any_magnitude_are_scored(metric, power):
    features, labels = draw_task(16)
    assert np.isfinite(metric(wrap(features.embeddings * 2.0**power), labels))


@of_all
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(metric, bad):
    features, labels = draw_task(17)
    features = with_logits(features.embeddings)
    features.embeddings[3, 4] = bad
    with pytest.raises(RankingError, match="not finite"):
        metric(features, labels)


@of_all
@pytest.mark.parametrize("width", [0, 1, 8])
def test_constant_features_are_refused(metric, width):
    _, labels = draw_task(18)
    with pytest.raises(RankingError, match="same for every image"):
        metric(with_logits(np.full((60, width), 0.1)), labels)


def test_features_of_one_direction_are_refused_by_parc():
    with pytest.raises(RankingError, match="one direction"):
        parc(wrap(np.arange(10)[:, None]), np.arange(10) % 2)


def test_an_image_without_a_row_correlation_is_refused_by_parc():
    rows = np.random.default_rng(0).normal(size=(9, 4))
    rows = np.vstack([rows, -rows, np.zeros(4)])
    with pytest.raises(RankingError, match="constant for an image"):
        parc(wrap(rows), np.arange(19) % 2)


def test_pairs_that_are_all_equally_far_are_refused_by_parc():
    angles = np.radians([0, 10, 20, 150, 260])
    rows = np.c_[np.cos(angles), np.sin(angles)]
    with pytest.raises(RankingError, match="equally far"):
        parc(wrap(rows), np.array([0, 0, 1, -1, -1]))


@of_all
@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ([-1] * 6, "No image"),
        ([0, 0, 0, -1, -1, -1], "one class"),
        ([0, 1, 2, 3, 4, -1], "two lab"),
    ],
)
def test_labels_that_can_rank_nobody_are_refused(metric, labels, what):
    with pytest.raises(RankingError, match=what):
        metric(with_logits(np.eye(6)), np.array(labels))


def test_labels_of_another_number_of_images_or_below_minus_one_are_a_programmers_mistake():
    with pytest.raises(ValueError, match="6 images"):
        knn(wrap(np.eye(6)), np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="labels are classes"):
        check_labels(np.array([0, 0, 1, -2]))
