"""What teachers tell: against scikit-learn, refitted for every fold, and number by number."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import Ridge

from distill.training import targets as module
from distill.training.targets import (
    SoftLabels,
    SourceProbabilities,
    group_heads,
    make_targets,
    soft_labels,
    source_targets,
)
from zoo.features.linear_probe import STRENGTHS, assign_folds, fit_temperature
from zoo.features.store import Features
from zoo.system import tensors

SHARES = {"wide": 0.7, "narrow": 0.3}


def draw_features(labels, widths, seed=0, signal=1.5):
    rng = np.random.default_rng(seed)
    found = {}
    for name, width in zip(SHARES, widths, strict=True):
        centers = signal * rng.normal(size=(labels.max() + 1, width))
        rows = rng.normal(size=(len(labels), width)) + centers[labels] + 3
        found[name] = Features(rows.astype(np.float32), rows[:, :4].astype(np.float32))
    return found


def draw_task(images=80, labeled=24, classes=3):
    truth = np.arange(images) % classes
    return truth, np.where(np.arange(images) < labeled, truth, -1)


def slow_rows(features, shares):
    """Every teacher standardized over the pool, on the unit sphere, by the root of its share."""
    blocks = []
    for name, share in shares.items():
        rows = features[name].embeddings.astype(float)
        rows = (rows - rows.mean(0)) / rows.std(0)
        blocks.append(np.sqrt(share) * np.array([row / np.sqrt(row @ row) for row in rows]))
    return np.hstack(blocks)


def slow_probe(rows, truth, strength):
    penalty = strength * np.square(rows - rows.mean(0)).sum() / len(rows)
    return lambda seen: Ridge(alpha=penalty, solver="svd").fit(
        rows[seen], np.eye(truth.max() + 1)[truth[seen]]
    )


@pytest.mark.parametrize("widths", [(5, 3), (60, 2)])
def test_soft_labels_are_those_of_a_probe_refitted_without_each_fold(widths, monkeypatch):
    monkeypatch.setattr(module, "self_train_left_out", lambda *_: np.zeros((24, 3)))  # worse
    truth, labels = draw_task()
    features = draw_features(truth, widths, signal=0.4)
    told = soft_labels(features, SHARES, labels)

    rows, known = slow_rows(features, SHARES), np.flatnonzero(labels >= 0)
    errors, left_out = {}, {}
    for strength in STRENGTHS:
        fit = slow_probe(rows[known], truth[known], strength)
        left_out[strength] = np.empty((len(known), 3))
        for fold in assign_folds(labels[known]):
            seen = np.setdiff1d(np.arange(len(known)), fold)
            left_out[strength][fold] = fit(seen).predict(rows[known][fold])
        errors[strength] = np.square(left_out[strength] - np.eye(3)[truth[known]]).mean()
    strength = min(errors, key=lambda each: errors[each])
    probe = slow_probe(rows[known], truth[known], strength)(np.arange(len(known)))
    expected = softmax(
        probe.predict(rows) / fit_temperature(left_out[strength], truth[known]), axis=1
    )
    assert np.allclose(told.probabilities.numpy(), expected, atol=1e-5)
    assert told.accuracy == pytest.approx((left_out[strength].argmax(1) == truth[known]).mean())


def test_many_labeled_images_are_described_by_their_kernel_with_a_few_of_them(monkeypatch):
    truth, labels = draw_task(images=600, labeled=500)
    features = draw_features(truth, (40, 30), signal=0.4)
    exact = soft_labels(features, SHARES, labels)
    sides = []

    def basis(kernel, *most, _basis=module.kernel_basis):
        sides.append(len(kernel))
        return _basis(kernel, *most)

    monkeypatch.setattr(module, "kernel_basis", basis)
    monkeypatch.setattr(module, "MOST_LANDMARKS", 120)
    few = soft_labels(features, SHARES, labels)
    assert sides == [120, 132]  # and the unlabeled images up to LANDMARKS
    assert (few.probabilities - exact.probabilities).abs().mean() < 0.02
    assert few.accuracy == pytest.approx(exact.accuracy, abs=0.03)


def test_soft_labels_find_the_images_of_a_class_with_few_labels(monkeypatch):
    truth = np.arange(400) % 2
    labels = np.where(np.arange(400) < 80, truth, -1)
    labels[np.flatnonzero(labels == 1)[3:]] = -1
    features = draw_features(truth, (30, 20), signal=0.45)

    def recalls():
        found = soft_labels(features, SHARES, labels).probabilities.argmax(1).numpy()
        return [(found == truth)[(labels < 0) & (truth == label)].mean() for label in (0, 1)]

    common, rare = recalls()
    monkeypatch.setattr(module, "fit_offsets", lambda scores, _: np.zeros(scores.shape[1]))
    plain_common, plain_rare = recalls()
    assert rare > plain_rare + 0.5
    assert common + rare > plain_common + plain_rare + 0.5


def test_the_temperature_is_the_likeliest():
    rng = np.random.default_rng(1)
    for scale in (0.05, 1.0, 5.0):
        labels = rng.integers(0, 4, 300)
        scores = scale * (np.eye(4)[labels] * 2 + rng.normal(size=(300, 4)))

        def loss(log_temperature, scores=scores, labels=labels):
            return -log_softmax(scores / np.exp(log_temperature), axis=1)[
                np.arange(300), labels
            ].mean()

        found: Any = minimize_scalar(loss, bounds=(-8, 4), method="bounded")
        best = np.exp(found.x)
        assert fit_temperature(scores, labels) == pytest.approx(best, rel=0.13)


@pytest.mark.parametrize("counts", [(2, 1, 1, 1), (5, 1, 1, 1, 1), (2, 2, 2, 1, 1, 1)])
def test_soft_labels_are_not_flat_where_classes_have_a_single_label(counts):
    truth = np.arange(300) % len(counts)
    labels = np.full(300, -1)
    for label, count in enumerate(counts):
        labels[np.flatnonzero(truth == label)[:count]] = label
    features = draw_features(truth, (30, 20), signal=1.0)
    found = soft_labels(features, SHARES, labels).probabilities.numpy()[labels < 0]
    own = found[np.arange(len(found)), truth[labels < 0]]
    assert -np.log(own).mean() < 0.5 * np.log(len(counts))


def test_soft_labels_are_honest_about_images_without_a_label():
    truth, labels = draw_task(images=2000, labeled=60)
    features = draw_features(truth, (20, 20), signal=0.35)
    told = soft_labels(features, SHARES, labels)
    hidden = np.flatnonzero(labels < 0)
    guessed = told.probabilities.numpy()[hidden]
    right = (guessed.argmax(1) == truth[hidden]).mean()
    assert 0.5 < right < 0.95
    assert guessed.max(1).mean() == pytest.approx(right, abs=0.06)
    assert told.accuracy == pytest.approx(right, abs=0.12)


def test_no_label_is_known_but_the_given_ones():
    truth, labels = draw_task()
    features = draw_features(truth, (5, 3))
    flipped = np.where(labels < 0, -7, labels)
    one, other = (soft_labels(features, SHARES, each) for each in (labels, flipped))
    assert torch.equal(one.probabilities, other.probabilities)


def test_a_share_of_zero_is_no_teacher_and_shares_matter():
    truth, labels = draw_task()
    features = draw_features(truth, (5, 3), signal=0.5)
    alone = soft_labels({"wide": features["wide"]}, {"wide": 1.0}, labels)
    silent = make_targets("target", features, {"wide": 1.0, "narrow": 0.0}, labels)
    assert isinstance(silent, SoftLabels)
    assert torch.equal(alone.probabilities, silent.probabilities)
    both = soft_labels(features, SHARES, labels)
    assert not torch.allclose(alone.probabilities, both.probabilities, atol=1e-3)


@pytest.mark.parametrize("objective", ["source", "target"])
def test_without_teachers_there_is_nothing_to_imitate(objective):
    assert make_targets(objective, {}, {}, np.array([0, 1])) is None


def test_in_the_classes_of_the_teachers_their_probabilities_stand_side_by_side():
    truth, _ = draw_task()
    features = draw_features(truth, (5, 4))
    told = source_targets(features, SHARES)
    expected = [share * softmax(features[name].logits, axis=1) for name, share in SHARES.items()]
    assert told.groups == ((4, 4),)
    rows = torch.tensor([7, 0, 7])
    group, both = told.draw_group(rows, torch.Generator().manual_seed(0))
    assert (group, both.shape) == (0, (3, 8))
    assert np.allclose(both.numpy(), np.hstack(expected)[rows], atol=1e-6)


def test_of_very_many_classes_the_most_probable_are_stored_and_the_others_share_the_rest(
    monkeypatch,
):
    monkeypatch.setattr(module, "TOP_CLASSES", 4)
    monkeypatch.setattr(module, "CHUNK", 5)
    logits = 2 * np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    rows = torch.tensor([11, 3, 5])
    whole, few = softmax(logits, axis=1), SourceProbabilities.from_logits(logits[:, :8])
    assert few.classes is None
    assert np.allclose(few.look_up(rows).numpy(), softmax(logits[rows, :8], axis=1), atol=1e-6)
    told = SourceProbabilities.from_logits(logits)
    assert told.classes is not None
    assert (told.probabilities.shape, told.classes.shape) == ((12, 4), (12, 4))
    for found, right in zip(told.look_up(rows).numpy(), whole[rows], strict=True):
        likeliest = np.argsort(-right)[:4]
        assert np.allclose(found[likeliest], right[likeliest], atol=1e-6)
        others = np.delete(found, likeliest)
        assert np.allclose(others, (1 - right[likeliest].sum()) / 5, atol=1e-6)


def test_probabilities_of_many_images_are_in_a_file(monkeypatch, tmp_path):
    logits = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    inside = SourceProbabilities.from_logits(logits).look_up(torch.arange(12))
    monkeypatch.setattr(tensors, "LARGE", 1)
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "cache"))
    assert torch.equal(SourceProbabilities.from_logits(logits).look_up(torch.arange(12)), inside)
    assert (tmp_path / "cache").exists()


def test_heads_form_groups_that_one_update_can_afford(monkeypatch):
    monkeypatch.setattr(module, "GROUP_CLASSES", 5)
    assert group_heads([3, 2, 4, 7, 1]) == ((3, 2), (4,), (7,), (1,))
    assert group_heads([]) == ()


def test_a_group_is_drawn_by_its_share_and_the_mean_of_draws_is_that_of_all_teachers(monkeypatch):
    monkeypatch.setattr(module, "GROUP_CLASSES", 5)
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(0)
    features = {
        name: Features(np.ones((6, 2), np.float32), rng.normal(size=(6, width)).astype(np.float32))
        for name, width in [("one", 3), ("two", 2), ("three", 4)]
    }
    shares = {"one": 0.5, "two": 0.25, "three": 0.25}
    told = source_targets(features, shares)
    rows, draws = torch.tensor([4, 1]), 4000
    summed = [torch.zeros(2, 5), torch.zeros(2, 4)]
    for _ in range(draws):
        group, block = told.draw_group(rows, generator)
        assert torch.allclose(block.sum(dim=1), torch.ones(2))
        summed[group] += block
    mean = torch.cat(summed, dim=1) / draws
    expected = [
        share * softmax(features[name].logits[rows], axis=1) for name, share in shares.items()
    ]
    assert np.allclose(mean.numpy(), np.hstack(expected), atol=0.02)


def test_a_feature_that_never_varies_and_copies_of_an_image_do_no_harm():
    truth, labels = draw_task()
    features = draw_features(truth, (5, 3))
    flat = Features(np.ones((80, 4), np.float32), np.ones((80, 2), np.float32))
    told = soft_labels(features | {"flat": flat}, SHARES | {"flat": 0.5}, labels)
    assert torch.isfinite(told.probabilities).all()
