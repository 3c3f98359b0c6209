"""Which method to ship: against scipy, and in worlds where the answer is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from distill.evaluation.comparison import compare, mcnemar, split
from zoo.errors import ImagesError
from zoo.images.folder import read_images


def answers(seed, share, count=200):
    return np.random.default_rng(seed).random(count) < share


@pytest.mark.parametrize(("one", "other"), [(0.9, 0.5), (0.6, 0.55), (0.5, 0.5), (0.1, 0.9)])
def test_mcnemar_is_the_exact_sign_test_on_the_images_that_one_alone_got_right(one, other):
    a, b = answers(0, one), answers(1, other)
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    assert mcnemar(a, b) == pytest.approx(binomtest(wins, wins + losses, 0.5).pvalue)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_methods_with_the_same_predictions_have_a_p_value_of_1():
    assert mcnemar(answers(0, 0.5), answers(0, 0.5)) == 1.0


def test_the_best_comes_first_with_its_significant_differences():
    far, near, best = answers(0, 0.4), answers(1, 0.8), answers(2, 0.8)
    near[:3], best[:3] = False, True
    shown = compare({"far": (far, 1.0), "near": (near, 2.0), "best": (best, 3.0)}, folds=3)
    assert shown.standings[0].method == shown.best
    assert shown.standings[-1].method == "far"
    assert shown.standings[-1].seconds == 1.0
    assert "Significantly better than far by" in shown.verdict
    assert "Ahead of near by" in shown.verdict
    assert (shown.images, shown.folds) == (200, 3)
    first = shown.standings[0]
    assert (first.behind, first.chance) == (0.0, 1.0)
    for row in shown.standings:
        assert row.low < row.accuracy < row.high
        assert row.behind == pytest.approx(first.accuracy - row.accuracy)


def test_of_equally_good_methods_the_first_is_the_best():
    same = answers(0, 0.5)
    assert compare({"simple": (same, 1.0), "other": (same, 1.0)}).best == "simple"


def test_the_verdict_of_a_single_method_has_no_comparison():
    assert compare({"only": (answers(0, 0.5), 1.0)}).verdict == "Best method: only, 44.0%."


@pytest.mark.parametrize("folds", [3, 4])
def test_every_labeled_image_is_tested_once_and_not_trained_on_in_its_fold(imgs, folds):
    images = read_images(imgs)
    parts = split(images, folds)
    tested = [digest for _, exam in parts for digest in exam.digests]
    labeled = [d for d, label in zip(images.digests, images.labels, strict=True) if label >= 0]
    assert sorted(tested) == sorted(labeled)
    for lesson, exam in parts:
        assert set(lesson.digests) | set(exam.digests) == set(images.digests)
        assert not set(lesson.digests) & set(exam.digests)
        assert (lesson.labels < 0).sum() == 6
        assert np.bincount(lesson.labels[lesson.labels >= 0]).min() >= 2
        assert exam.labels.min() >= 0


def test_a_class_of_two_images_cannot_be_cross_validated(imgs):
    images = read_images(imgs).keep_labels(2, seed=0)
    with pytest.raises(ImagesError, match=r"'blue' .* has 2 labeled images"):
        split(images, 3)
