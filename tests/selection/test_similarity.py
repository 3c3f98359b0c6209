"""CKA, RSA and KITE against centring matrices and scipy's Spearman."""

import numpy as np
import pytest

from selection.metrics import similarity as similarity_module
from selection.metrics.similarity import cka, cka_between, cka_rbf
from tests.benchmarks.reference_metrics import kite, rsa
from tests.support import published_metrics as published
from tests.support.scoring_tasks import draw_task, wrap
from zoo.errors import RankingError

SHAPES = [(60, 40, 5), (20, 90, 2), (200, 6, 9)]
with_labels = pytest.mark.parametrize("metric", [cka, cka_rbf])


def as_floats(features):
    return features.embeddings.astype(np.float64)


def draw_other(seed, images=60, width=30):
    return wrap(np.random.default_rng(seed).normal(size=(images, width)))


def compare(name, features, labels, other):
    return {"rsa": rsa, "kite": kite}[name](features, labels, other)


# --- CKA


@with_labels
@pytest.mark.parametrize("shape", SHAPES)
def test_cka_equals_the_published_form(metric, shape):
    features, labels = draw_task(1, *shape)
    slow = getattr(published, metric.__name__)(as_floats(features), labels)
    assert metric(features, labels) == pytest.approx(slow, abs=1e-9)


@with_labels
def test_cka_in_blocks_equals_cka_in_one(metric, monkeypatch):
    features, labels = draw_task(2, 50)
    whole = metric(features, labels)
    monkeypatch.setattr(similarity_module, "BLOCK", 7)
    assert metric(features, labels) == pytest.approx(whole, abs=1e-12)


def test_the_width_of_the_kernel_comes_from_a_sample_of_many_images(monkeypatch):
    features, labels = draw_task(3, 300)
    whole = cka_rbf(features, labels)
    monkeypatch.setattr(similarity_module, "SAMPLE", 100)
    assert cka_rbf(features, labels) == pytest.approx(whole, abs=0.01)
    assert cka_rbf(features, labels) != whole


@with_labels
def test_cka_is_1_for_classes_that_are_points_and_at_its_bias_for_noise(metric):
    labels = np.arange(40) % 4
    assert metric(wrap(np.eye(4)[labels]), labels) == pytest.approx(1)
    noise = [metric(*draw_task(seed, 50, 5000, 5, signal=0)) for seed in range(5)]
    assert np.mean(noise) == pytest.approx(np.sqrt(4 / 49), abs=0.01)
    assert metric(*draw_task(4, 4000, 3, 5, signal=0)) < 0.03


def test_the_rbf_kernel_sees_rings_that_the_linear_one_does_not():
    rng = np.random.default_rng(5)
    labels = np.arange(200) % 2
    angles = rng.uniform(0, 2 * np.pi, size=200)
    rows = np.c_[np.cos(angles), np.sin(angles)] * np.where(labels, 3, 1)[:, None]
    assert cka_rbf(wrap(rows), labels) > cka(wrap(rows), labels) + 0.1


@with_labels
def test_cka_does_not_see_unlabeled_images(metric):
    features, labels = draw_task(6)
    labels[:20] = -1
    alone = metric(features.rows(np.arange(20, 60)), labels[20:])
    assert metric(features, labels) == pytest.approx(alone, abs=1e-12)


@with_labels
def test_order_names_rotation_shift_and_scale_do_not_matter_to_cka(metric):
    features, labels = draw_task(7)
    rng = np.random.default_rng(0)
    score, order = metric(features, labels), rng.permutation(60)
    rotation = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    assert metric(features.rows(order), labels[order]) == pytest.approx(score, abs=1e-9)
    assert metric(features, np.array([70, 3, 0, 41, 2])[labels]) == pytest.approx(score, abs=1e-9)
    moved = wrap(features.embeddings @ rotation * 16 + 3)
    assert metric(moved, labels) == pytest.approx(score, abs=1e-4)


@with_labels
def test_the_scale_of_single_features_matters_to_cka(metric):
    features, labels = draw_task(8)
    scaled = wrap(features.embeddings * np.geomspace(1, 30, 40))
    assert abs(metric(scaled, labels) - metric(features, labels)) > 0.01


def test_features_of_which_half_are_duplicates_have_no_kernel():
    rows = np.zeros((10, 2))
    rows[0] = 1
    with pytest.raises(RankingError, match="duplicates"):
        cka_rbf(wrap(rows), np.arange(10) % 2)


# --- Two teachers


@pytest.mark.parametrize(("images", "widths"), [(60, (40, 30)), (20, (90, 8)), (10, (50, 70))])
def test_cka_of_two_teachers_equals_the_published_form_on_either_path(images, widths):
    one, other = (draw_other(seed, images, width) for seed, width in enumerate(widths))
    slow = published.align(*(as_floats(each) @ as_floats(each).T for each in (one, other)))
    assert cka_between(one, other) == pytest.approx(slow, abs=1e-9)
    assert cka_between(other, one) == pytest.approx(slow, abs=1e-9)


def test_cka_of_two_teachers_is_1_for_a_turned_teacher_and_near_0_for_a_stranger():
    one = draw_other(9, 4000, 8)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    assert cka_between(one, wrap(one.embeddings @ rotation * 5 + 2)) == pytest.approx(1, abs=1e-6)
    assert cka_between(one, draw_other(10, 4000, 8)) < 0.01


def test_cka_of_two_teachers_refuses_what_it_cannot_compare():
    one = draw_other(11)
    with pytest.raises(ValueError, match="60 images and 50 images"):
        cka_between(one, draw_other(12, 50))
    with pytest.raises(RankingError, match="same for every image"):
        cka_between(one, wrap(np.ones((60, 3))))
    with pytest.raises(RankingError, match="not finite"):
        cka_between(wrap(np.full((60, 3), np.nan)), one)


# --- A reference network


def test_rsa_equals_spearman_of_the_two_matrices():
    features, labels = draw_task(13)
    other = wrap(features.embeddings[:, :25] + draw_other(13, width=25).embeddings)
    slow = published.rsa(as_floats(features), as_floats(other))
    assert rsa(features, labels, other) == pytest.approx(slow, abs=1e-9)


def test_rsa_shares_ranks_among_duplicates():
    features, labels = draw_task(14, 15, classes=3)
    rows = np.arange(40) % 15
    twice, other = features.rows(rows), draw_other(14, 15).rows(rows)
    above = np.triu(np.ones((40, 40)), k=1)
    one, two = (np.round(np.corrcoef(as_floats(each)), 10) for each in (twice, other))
    slow = published.correlate_ranks(np.extract(above, one), np.extract(above, two))
    assert rsa(twice, labels[rows], other) == pytest.approx(slow, abs=1e-9)


def test_rsa_is_1_with_itself_and_about_0_with_a_stranger_whatever_the_labels():
    features, labels = draw_task(15, 100)
    assert rsa(features, labels, features) == pytest.approx(1)
    assert abs(rsa(features, labels, draw_other(15, 100))) < 0.15
    hidden = labels.copy()
    hidden[10:] = -1
    other = draw_other(16, 100)
    assert rsa(features, hidden, other) == rsa(features, labels[::-1], other)


def test_kite_is_the_ratio_of_two_published_ckas():
    features, labels = draw_task(17)
    other = draw_other(17)
    rows, random = as_floats(features), as_floats(other)
    slow = published.cka(rows, labels) / published.align(rows @ rows.T, random @ random.T)
    assert kite(features, labels, other) == pytest.approx(slow, abs=1e-9)


def test_kite_does_not_see_unlabeled_images():
    features, labels = draw_task(18)
    labels[:20] = -1
    kept, other = np.arange(20, 60), draw_other(18)
    alone = kite(features.rows(kept), labels[20:], other.rows(kept))
    assert kite(features, labels, other) == pytest.approx(alone, abs=1e-12)


def test_kite_falls_where_features_are_like_random_ones():
    features, labels = draw_task(19)
    like = wrap(features.embeddings[:, :20] + 0.1 * draw_other(19, width=20).embeddings)
    assert kite(features, labels, draw_other(19)) > 1.2 * kite(features, labels, like)


@pytest.mark.parametrize("name", ["rsa", "kite"])
def test_order_and_scale_do_not_matter_to_comparisons_with_a_reference(name):
    features, labels = draw_task(20)
    other = draw_other(20)
    score, order = compare(name, features, labels, other), np.random.default_rng(0).permutation(60)
    mixed = compare(name, features.rows(order), labels[order], other.rows(order))
    assert mixed == pytest.approx(score, abs=1e-9)
    scaled = compare(name, wrap(features.embeddings * 64), labels, other)
    assert scaled == pytest.approx(score, abs=1e-9)


def test_a_shift_matters_to_rsa_and_not_to_kite():
    features, labels = draw_task(21)
    other = draw_other(21)
    shifted = wrap(features.embeddings + 5 * np.eye(40)[0])
    assert kite(shifted, labels, other) == pytest.approx(kite(features, labels, other), abs=1e-5)
    assert abs(rsa(shifted, labels, other) - rsa(features, labels, other)) > 0.001


@pytest.mark.parametrize("name", ["rsa", "kite"])
def test_a_reference_that_cannot_be_compared_is_refused(name):
    features, labels = draw_task(22)
    with pytest.raises(ValueError, match="60 images and 50 images"):
        compare(name, features, labels, draw_other(22, 50))
    with pytest.raises(RankingError, match="the reference's features"):
        compare(name, features, labels, wrap(np.ones((60, 5))))
    with pytest.raises(RankingError, match=r"the reference's features .* not finite"):
        compare(name, features, labels, wrap(np.full((60, 5), np.inf)))
    with pytest.raises(RankingError, match="same for every image"):
        compare(name, wrap(np.ones((60, 5))), labels, draw_other(22))


@pytest.mark.parametrize("power", [-60, -20, 20, 60])
def test_features_of_any_magnitude_are_scored(power):
    features, labels = draw_task(23)
    scaled, other = wrap(features.embeddings * 2.0**power), draw_other(23)
    scores = [cka(scaled, labels), cka_rbf(scaled, labels), cka_between(scaled, other)]
    scores += [rsa(scaled, labels, other), kite(scaled, labels, other)]
    assert np.isfinite(scores).all()


@with_labels
def test_classes_of_one_image_are_allowed_beside_larger_ones(metric):
    features, labels = draw_task(24)
    labels[:2] = [5, 6]
    assert 0 < metric(features, labels) < 1
