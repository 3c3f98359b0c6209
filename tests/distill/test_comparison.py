"""Which method to ship: against scipy, and in worlds where the answer is known."""

import shutil

import numpy as np
import pytest
from scipy.stats import binomtest

from distill.evaluation.comparison import (
    SIGNIFICANCE,
    Cost,
    compare,
    find_components,
    mcnemar,
    sum_components,
)
from distill.evaluation.folds import split
from tests.benchmarks.verdicts import draw
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
    shown = compare(
        {"far": (far, 1.0), "near": (near, 2.0), "best": (best, 3.0)}, folds=[67, 67, 66]
    )
    assert shown.standings[0].method == shown.best
    assert shown.standings[-1].method == "far"
    assert shown.standings[-1].seconds == 1.0
    assert "Significantly better than far by" in shown.verdict
    assert "Ahead of near by" in shown.verdict
    assert "With one seed this holds for these students" in shown.verdict
    assert (shown.images, shown.folds) == (200, 3)
    first = shown.standings[0]
    assert (first.behind, first.chance) == (0.0, 1.0)
    for row in shown.standings:
        assert row.low < row.accuracy < row.high
        assert row.behind == pytest.approx(first.accuracy - row.accuracy)


def test_of_equally_good_methods_the_first_is_the_best():
    same = answers(0, 0.5)
    shown = compare({"simple": (same, 1.0), "other": (same, 1.0)})
    assert shown.best == "simple"
    assert "As accurate as other." in shown.verdict
    assert "Ahead" not in shown.verdict


def test_the_verdict_of_a_single_method_has_no_comparison():
    assert compare({"only": (answers(0, 0.5), 1.0)}).verdict == "Best student: only, 44.0%."


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


def test_copies_of_an_image_are_never_trained_on_and_tested_in_one_fold(imgs):
    for number in range(4):
        shutil.copy(imgs / "red" / f"{number}.png", imgs / "red" / f"copy{number}.png")
    images = read_images(imgs)
    parts = split(images, 3)
    assert sorted(path for _, exam in parts for path in exam.paths) == sorted(
        path for path, label in zip(images.paths, images.labels, strict=True) if label >= 0
    )
    for lesson, exam in parts:
        assert not set(lesson.digests) & set(exam.digests)


def test_a_class_of_two_images_cannot_be_cross_validated(imgs):
    images = read_images(imgs).keep_labels(2, seed=0)
    with pytest.raises(ImagesError, match=r"'blue' .* has 2 different labeled images"):
        split(images, 3)


def claims(gains, *, repeats=100, **world):
    found = []
    for seed in range(repeats):
        hits, folds = draw(np.random.default_rng(seed), gains, **world)
        found.append(any(r.chance < SIGNIFICANCE for r in compare(hits, folds=folds).standings))
    return np.mean(found)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize(("methods", "noise"), [(2, 2), (5, 0), (5, 2)])
def test_equal_methods_are_rarely_said_to_differ(folds, methods, noise):
    world = {"images": 300, "seeds": 3, "noise": noise, "folds": folds}
    assert claims([0] * methods, **world) <= 0.1  # 5 %, known to 2 points; benchmarks/verdicts.py


def test_a_much_better_method_is_found():
    assert claims([15, 0, 0, 0], images=300, seeds=3, noise=1, folds=1, repeats=20) >= 0.9
    assert claims([25, 0, 0, 0], images=300, seeds=3, noise=1, folds=3, repeats=20) >= 0.9


def test_the_variance_of_a_mean_is_that_of_new_images_and_new_seeds():
    rng = np.random.default_rng(0)
    parts, known = [np.arange(200)], []
    means = []
    for _ in range(300):
        rows = rng.normal(size=200) + 0.1 * rng.normal(size=(3, 1)) + rng.normal(size=(3, 200))
        means.append(rows.mean())
        known.append(sum_components(find_components(rows, parts))[0])
    truth = 1 / 200 + 0.1**2 / 3 + 1 / 600
    assert np.var(means) == pytest.approx(truth, rel=0.2)
    assert np.mean(known) == pytest.approx(truth, rel=0.15)


def test_seed_noise_of_the_other_methods_counts_and_costs_degrees_of_freedom():
    rows = np.random.default_rng(0).normal(size=(3, 50))
    rows -= rows.mean(axis=1, keepdims=True)
    parts = [np.arange(50)]
    calm, certain = sum_components(find_components(rows, parts))
    noisy, few = sum_components(find_components(rows, parts, at_least=0.3, estimates=4))
    assert noisy > calm + 0.05
    assert few < 20 < certain == 49


def test_the_interval_of_a_few_seeds_holds_the_expected_accuracy():
    held = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        levels = 0.8 + 0.04 * draw.standard_normal((3, 1))  # of 3 seeds, 4 points apart
        hits = draw.random((3, 3000)) < levels
        standing = compare({"one": (hits, 1.0)}).standings[0]
        held += standing.low <= 0.8 <= standing.high
    assert held >= 0.9 * 200  # 81 to 86 % by the normal distribution


def test_folds_share_training_images_and_widen_the_variance_as_nadeau_and_bengio_say():
    rows = np.random.default_rng(0).normal(size=(1, 3, 30))
    rows = (rows - rows.mean(axis=2, keepdims=True)).reshape(1, 90)  # no fold is harder
    whole, _ = sum_components(find_components(rows, [np.arange(90)]))
    folds, _ = sum_components(find_components(rows, np.split(np.arange(90), 3)))
    assert folds == pytest.approx(2.5 * whole, rel=0.1)


def test_one_seed_on_held_out_images_is_tested_exactly_for_all_pairs_by_holm():
    hits = {name: answers(seed, share) for seed, (name, share) in enumerate(
        {"a": 0.9, "b": 0.8, "c": 0.6}.items())}  # fmt: skip
    rows = {row.method: row for row in compare({n: (h, 1.0) for n, h in hits.items()}).standings}
    alone = {pair: mcnemar(hits[pair[0]], hits[pair[1]]) for pair in ("ab", "ac", "bc")}
    order = sorted(alone, key=alone.__getitem__)
    adjusted = np.maximum.accumulate([(3 - i) * alone[pair] for i, pair in enumerate(order)])
    for name in "bc":
        assert rows[name].chance == pytest.approx(adjusted[order.index("a" + name)])


def test_methods_of_several_seeds_are_called_methods_and_show_their_deviation():
    good = np.random.default_rng(0).random((3, 400)) < [[0.9], [0.92], [0.94]]
    bad = np.random.default_rng(1).random((3, 400)) < 0.3
    shown = compare({"bad": (bad, 1.0), "good": (good, 2.0)})
    assert shown.verdict.startswith("Best method: good, ")
    assert "seed" not in shown.verdict
    assert shown.seeds == 3
    first = shown.standings[0]
    assert first.seed_deviation == pytest.approx(good.mean(axis=1).std(ddof=1))
    assert first.low < first.accuracy < first.high
    assert first.accuracy == pytest.approx(good.mean())


@pytest.mark.parametrize(("lost", "recommended"), [(1, "probe small"), (8, "probe large")])
def test_a_faster_student_is_recommended_where_it_is_hardly_worse(lost, recommended):
    right = answers(0, 0.9)
    fewer = right.copy()
    fewer[np.flatnonzero(right)[:lost]] = False
    costs = {"probe small": Cost("small", 2.0, 3.0), "probe large": Cost("large", 9.0, 7.5)}
    shown = compare({"probe small": (fewer, 1.0), "probe large": (right, 1.0)}, costs=costs)
    assert (shown.best, shown.recommended) == ("probe large", recommended)
    assert "probe small needs 2.0 ms and 3.0 MB instead of 9.0 ms and 7.5 MB, for" in shown.verdict
    assert ("Ship probe small" in shown.verdict) == (lost == 1)
    assert shown.to_json()["standings"][0]["cost"]["megabytes"] == 7.5


def test_of_unbalanced_classes_the_fairest_method_is_named_too():
    labels = np.repeat([0, 1], [90, 10])
    always = labels == 0  # the constant answer
    fair = np.ones(100, dtype=bool)
    fair[:15] = False
    shown = compare({"always": (always, 1.0), "fair": (fair, 1.0)}, labels=labels)
    rows = {row.method: row.balanced_accuracy for row in shown.standings}
    assert shown.best == "always"
    assert shown.majority_class_accuracy == 0.9
    assert rows == {"always": 0.5, "fair": pytest.approx((75 / 90 + 1) / 2)}
    assert "fair is best: balanced accuracy 91.7%, always 50.0%" in shown.verdict


def test_of_balanced_classes_balanced_accuracy_is_not_another_word_for_accuracy():
    labels = np.arange(200) % 4
    found = {"one": (answers(0, 0.8), 1.0), "other": (answers(1, 0.6), 1.0)}
    shown = compare(found, labels=labels)
    assert [row.balanced_accuracy for row in shown.standings] == pytest.approx(
        [row.accuracy for row in shown.standings]
    )
    assert "balanced" not in shown.verdict


def test_one_kind_of_student_has_nothing_to_weigh():
    costs = {name: Cost("small", 2.0, 3.0) for name in ("probe", "transfer")}
    found = {"probe": (answers(0, 0.9), 1.0), "transfer": (answers(0, 0.5), 1.0)}
    shown = compare(found, costs=costs)
    assert shown.recommended == shown.best == "probe"
    assert " ms" not in shown.verdict
