"""Evaluation: accuracy, its interval, and whose class is whose."""

from math import sqrt

import numpy as np
import pytest
import torch
from conftest import COLORS, paint, paint_folder
from scipy.stats import binomtest
from torch import nn

from distill.evaluation import Evaluation, evaluate, predict, wilson
from zoo.card import Preprocessing
from zoo.errors import ImagesError
from zoo.images import read_images

LOOK = Preprocessing(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class ByColor(nn.Module):
    """Says red, green, blue (in this order) by the strongest channel."""

    def forward(self, images):
        return images.float().mean(dim=(2, 3)) * 50


RGB = ("red", "green", "blue")


@pytest.mark.parametrize("count", [1, 7, 200])
def test_the_interval_is_wilsons(count):
    for hits in {0, 1, count // 2, count}:
        known = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson(hits, count) == pytest.approx((known.low, known.high), abs=1e-6)


def test_accuracy_counts_the_labelled_images_alone(imgs):
    result = evaluate(ByColor(), read_images(imgs), RGB, LOOK)
    assert (result.accuracy, result.images) == (1.0, 12)
    assert result.per_class == {"blue": 1.0, "green": 1.0, "red": 1.0}
    assert (result.low, result.high) == wilson(12, 12)


def test_accuracy_by_class_finds_the_class_that_fails(imgs):
    for number in (0, 1, 2):
        paint(imgs / "red" / f"{number}.png", COLORS["blue"], seed=50 + number)
    result = evaluate(ByColor(), read_images(imgs), RGB, LOOK)
    assert result.accuracy == 0.75
    assert result.per_class == {"blue": 1.0, "green": 1.0, "red": 0.25}


def test_images_without_some_classes_of_the_student_are_matched_by_name(tmp_path):
    images = read_images(paint_folder(tmp_path / "t", classes=("red",)))
    result = evaluate(ByColor(), images, RGB, LOOK)
    assert (result.accuracy, result.per_class) == (1.0, {"red": 1.0})


def test_a_class_that_the_student_never_learnt_is_named(tmp_path):
    images = read_images(paint_folder(tmp_path / "t"))
    with pytest.raises(ImagesError, match=r"'blue'.*it knows red, green"):
        evaluate(ByColor(), images, ("red", "green"), LOOK)


def test_images_without_labels_cannot_test(tmp_path):
    images = read_images(paint_folder(tmp_path / "t", per_class=0, loose=3))
    with pytest.raises(ImagesError, match="no labelled image"):
        evaluate(ByColor(), images, RGB, LOOK)


def test_predictions_are_the_softmax_of_the_normalised_images(imgs):
    look = Preprocessing(8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    images = read_images(imgs)
    calls = []
    chances = predict(ByColor(), images, look, batch=5, progress=lambda *at: calls.append(at))
    assert chances.shape == (18, 3)
    assert calls == [(5, 18), (10, 18), (15, 18), (18, 18)]
    from zoo.decoding import decode_images

    for row, pixels in zip(chances, decode_images(images.paths, look), strict=True):
        means = pixels.reshape(3, -1).mean(axis=1) / 255
        logits = 50 * (means - look.mean) / look.std
        powers = np.exp(logits - logits.max())
        assert row == pytest.approx(powers / powers.sum(), abs=1e-3)


def test_predict_puts_the_network_into_evaluation_mode(imgs):
    network = nn.Sequential(ByColor(), nn.Dropout(0.9)).train()
    one = predict(network, read_images(imgs), LOOK)
    assert np.array_equal(one, predict(network, read_images(imgs), LOOK))
    assert torch.is_grad_enabled()


def test_the_gain_over_another_has_newcombes_interval():
    def evaluation(hits, count):
        return Evaluation(hits / count, *wilson(hits, count), count, {})

    # Newcombe 1998, table II: 56/70 and 48/80 by method 10 (score, no continuity correction)
    gain, low, high = evaluation(56, 70).gain_over(evaluation(48, 80))
    assert gain == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    back = evaluation(48, 80).gain_over(evaluation(56, 70))
    assert back == pytest.approx((-gain, -high, -low))
    same = evaluation(30, 60).gain_over(evaluation(30, 60))
    assert same[0] == 0
    assert same[2] == pytest.approx(sqrt(2) * (wilson(30, 60)[1] - 0.5))
