"""Rejection of unknown images: distances by a literal oracle, and a threshold that holds."""

import numpy as np
import pytest

from distill.evaluation.rejection import (
    KEPT,
    MOST,
    NEIGHBORS,
    Rejection,
    choose_images,
    fit_rejection,
)


def clouds(count, seed, width=16):
    """Images of three classes, and their labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(3, size=count)
    centers = 4 * np.random.default_rng(9).normal(size=(3, width))
    return (centers[labels] + draw.normal(size=(count, width))).astype(np.float32), labels


def fit(rows, labels) -> Rejection:
    rejection = fit_rejection(rows, labels)
    assert rejection is not None
    return rejection


def test_the_distance_is_one_minus_the_mean_cosine_of_the_nearest_over_the_threshold():
    rows, labels = clouds(30, 0)
    rejection = fit(rows, labels)
    new, _ = clouds(4, 1)
    for point, found in zip(new, rejection.distances(new), strict=True):
        cosines = [point @ other / np.linalg.norm(point) / np.linalg.norm(other) for other in rows]
        far = (1 - np.mean(sorted(cosines)[-NEIGHBORS:])) / rejection.threshold
        assert found == pytest.approx(far, rel=1e-3)


def test_new_images_of_known_classes_are_accepted_as_often_as_promised():
    rejected = []
    for seed in range(20):
        rejection = fit(*clouds(120, seed))
        rejected.append((rejection.distances(clouds(400, 100 + seed)[0]) > 1).mean())
    assert 0.5 * (1 - KEPT) < np.mean(rejected) < 2 * (1 - KEPT)


def test_images_of_another_kind_are_rejected():
    rejection = fit(*clouds(120, 0))
    noise = np.random.default_rng(5).normal(size=(50, 16)) * 4
    assert (rejection.distances(noise) > 1).mean() > 0.9


def test_only_labeled_images_set_the_threshold_and_unlabeled_ones_are_known_too():
    rows, labels = clouds(60, 0)
    other = rows + 50 * (np.arange(60) >= 40)[:, None]
    hidden = np.where(np.arange(60) < 40, labels, -1)
    rejection = fit(other, hidden)
    assert len(rejection.bank) == 60
    assert not (rejection.distances(other[40:]) > 1).any()


def test_few_images_have_no_rejection():
    rows, _ = clouds(4, 0)
    assert fit_rejection(rows[:2], np.array([0, 1])) is None
    assert fit_rejection(rows, np.full(4, -1)) is None


def test_labeled_images_are_kept_first():
    labels = np.where(np.arange(2000) % 10 == 0, 0, -1)
    rows = choose_images(labels)
    assert len(rows) == MOST
    assert (labels[rows] >= 0).sum() == 200


def test_it_is_the_same_after_saving(tmp_path):
    rejection = fit(*clouds(50, 0))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    from zoo.teachers.card import sha256_of

    rejection.save(tmp_path, sha256_of(tmp_path / "model.safetensors"))
    new, _ = clouds(20, 3)
    loaded = Rejection.load(tmp_path)
    assert loaded.distances(new) == pytest.approx(rejection.distances(new), abs=1e-2)
    assert loaded.threshold == rejection.threshold
