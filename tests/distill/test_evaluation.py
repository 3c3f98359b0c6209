"""Evaluation: accuracy, its interval, whose class is whose, confusions and calibration."""

import json
import os
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import classification_report, confusion_matrix
from torch import nn

from distill.evaluation.evaluate import evaluate, predict
from distill.evaluation.metrics import (
    BINS,
    MISTAKES,
    Evaluation,
    calibrate,
    compute_metrics,
    wilson,
)
from tests.support.toys import COLORS, paint, paint_folder
from zoo.errors import ImagesError
from zoo.images.folder import read_images
from zoo.teachers.card import Preprocessing

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


def test_accuracy_counts_the_labeled_images_alone(imgs):
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


def test_a_class_that_the_student_never_learned_is_named(tmp_path):
    images = read_images(paint_folder(tmp_path / "t"))
    with pytest.raises(ImagesError, match=r"'blue'.*its classes are red, green"):
        evaluate(ByColor(), images, ("red", "green"), LOOK)


def test_images_without_labels_cannot_test(tmp_path):
    images = read_images(paint_folder(tmp_path / "t", per_class=0, loose=3))
    with pytest.raises(ImagesError, match="no labeled image"):
        evaluate(ByColor(), images, RGB, LOOK)


def test_predictions_are_the_softmax_of_the_normalized_images(imgs):
    look = Preprocessing(8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    images = read_images(imgs)
    calls = []
    chances = predict(ByColor(), images, look, batch=5, progress=lambda *at: calls.append(at))
    assert chances.shape == (18, 3)
    assert calls == [(5, 18), (10, 18), (15, 18), (18, 18)]
    from zoo.images.decoding import decode_images

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


NAMES = ("a", "b", "c", "never")


@pytest.fixture
def answers():
    """Probabilities of 200 images over four classes, three of which occur."""
    random = np.random.default_rng(3)
    chances = random.dirichlet([0.4] * 4, 200).astype(np.float32)
    truth = random.integers(0, 3, 200)
    chances[:80, :] = np.eye(4, dtype=np.float32)[truth[:80]] * 0.7 + 0.075
    return chances, truth, [Path(f"{number}.png") for number in range(200)]


def test_the_confusion_matrix_is_that_of_scikit_learn(answers):
    chances, truth, paths = answers
    result = compute_metrics(chances, truth, NAMES, paths)
    known = confusion_matrix(truth, chances.argmax(axis=1), labels=range(4))
    assert np.array_equal(result.confusion, known)
    assert result.classes == NAMES
    assert result.majority_class_accuracy == pytest.approx(np.bincount(truth).max() / 200)


def test_each_class_that_occurs_has_its_count_and_interval(answers):
    chances, truth, paths = answers
    result = compute_metrics(chances, truth, NAMES, paths)
    assert [row.name for row in result.by_class] == ["a", "b", "c"]
    for index, row in enumerate(result.by_class):
        count, hits = int((truth == index).sum()), result.confusion[index][index]
        known = binomtest(hits, count).proportion_ci(method="wilson")
        assert (row.images, row.accuracy) == (count, hits / count)
        assert (row.low, row.high) == pytest.approx((known.low, known.high), abs=1e-6)
        assert result.per_class[row.name] == row.accuracy


def test_precision_recall_and_f1_are_those_of_scikit_learn(answers):
    chances, truth, paths = answers
    known: Any = classification_report(
        [NAMES[i] for i in truth],
        [NAMES[i] for i in chances.argmax(axis=1)],
        output_dict=True,
        zero_division=0,  # pyright: ignore
    )
    for row in compute_metrics(chances, truth, NAMES, paths).by_class:
        expected = known[row.name]
        assert row.precision == pytest.approx(expected["precision"])
        assert row.accuracy == pytest.approx(expected["recall"])
        assert row.f1 == pytest.approx(expected["f1-score"])


def test_confused_pairs_are_counted_the_most_frequent_first(answers):
    chances, truth, paths = answers
    said = chances.argmax(axis=1)
    pairs = compute_metrics(chances, truth, NAMES, paths).confused
    counted = {}
    for one, other in zip(truth, said, strict=True):
        if one != other:
            counted[NAMES[one], NAMES[other]] = counted.get((NAMES[one], NAMES[other]), 0) + 1
    assert {(one, other): count for one, other, count in pairs} == counted
    assert [count for *_, count in pairs] == sorted(counted.values(), reverse=True)


def test_the_calibration_error_is_that_of_a_slow_loop(answers):
    chances, truth, paths = answers
    found = compute_metrics(chances, truth, NAMES, paths).calibration
    assert found
    error, total = 0.0, 0
    for number in range(BINS):
        inside = [
            (float(row.max()), row.argmax() == label)
            for row, label in zip(chances, truth, strict=True)
            if number / BINS < float(row.max()) <= (number + 1) / BINS
        ]
        total += len(inside)
        assert found.bins[number].count == len(inside)
        if inside:
            confidence, accuracy = (
                sum(values) / len(inside) for values in zip(*inside, strict=True)
            )
            assert found.bins[number].confidence == pytest.approx(confidence)
            assert found.bins[number].accuracy == pytest.approx(accuracy)
            error += len(inside) / 200 * abs(accuracy - confidence)
        else:
            assert found.bins[number].accuracy is None
    assert (total, len(found.bins), BINS) == (200, 15, 15)
    assert found.error == pytest.approx(error)
    assert found.confidence == pytest.approx(float(chances.max(axis=1).mean()))


def test_the_ends_of_the_bins_belong_to_the_lower_one():
    confidence = np.array([0.0, 1 / 15, 0.2, 1.0])
    counts = [each.count for each in calibrate(confidence, np.ones(4, bool)).bins]
    assert counts == [2, 0, 1, *[0] * 11, 1]


def test_correct_predictions_of_full_confidence_have_no_calibration_error():
    assert calibrate(np.ones(9), np.ones(9, bool)).error == 0
    assert calibrate(np.ones(8), np.zeros(8, bool)).error == 1


def test_the_most_confident_mistakes_come_first_and_are_few(answers):
    chances, truth, paths = answers
    mistakes = compute_metrics(chances, truth, NAMES, paths).mistakes
    wrong = [n for n in range(200) if chances[n].argmax() != truth[n]]
    known = sorted(wrong, key=lambda n: -chances[n].max())[:12]
    assert len(wrong) > MISTAKES == len(mistakes) == 12
    assert [mistake.path for mistake in mistakes] == [f"{n}.png" for n in known]
    for mistake, n in zip(mistakes, known, strict=True):
        assert (mistake.label, mistake.predicted) == (NAMES[truth[n]], NAMES[chances[n].argmax()])
        assert mistake.confidence == pytest.approx(float(chances[n].max()))


def test_an_evaluation_can_be_written_whatever_the_files_are_called(answers):
    chances, truth, _ = answers
    paths = [Path(os.fsdecode(b"\xff.png"))] * 200
    text = json.dumps(asdict(compute_metrics(chances, truth, NAMES, paths)), allow_nan=False)
    assert "\\ufffd.png" in text
    text.encode()


def test_evaluate_lists_path_label_and_prediction_of_a_mistake(imgs):
    paint(imgs / "red" / "0.png", COLORS["blue"], seed=50)
    result = evaluate(ByColor(), read_images(imgs), RGB, LOOK)
    (mistake,) = result.mistakes
    assert (mistake.path, mistake.label) == (str(imgs / "red" / "0.png"), "red")
    assert (mistake.predicted, result.confused) == ("blue", [("red", "blue", 1)])
    assert result.confusion == ((3, 0, 1), (0, 4, 0), (0, 0, 4))


@pytest.mark.parametrize("images", [100, 1000])
def test_a_calibrated_student_exceeds_the_noise_of_its_calibration_error_on_5_percent(images):
    above = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.2, 1, images)
        above.append(calibrate(confidence, rng.random(images) < confidence).is_off)
    assert np.mean(above) <= 0.15  # 5 %, known to 3 points
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.8, 1, images)
    assert calibrate(confidence, rng.random(images) < confidence - 0.3).is_off


def test_the_noise_of_a_calibration_error_falls_with_the_number_of_images():
    confidence = np.linspace(0.2, 1, 4000)
    right = np.random.default_rng(0).random(4000) < confidence
    few, many = (calibrate(confidence[::step], right[::step]).noise for step in (40, 1))
    assert 0.05 < few < 0.2
    assert few / many == pytest.approx(np.sqrt(40), rel=0.3)
