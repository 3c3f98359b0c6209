"""Subsamples and intervals: against the theory of means, and in worlds of a known truth."""

import numpy as np
import pytest
import scipy.stats

from selection.metrics import METRICS, SCORERS
from selection.resampling import (
    EXCESS,
    PERMUTATIONS,
    draw_pairs,
    find_interval,
    measure,
    prepare,
    standard_error,
)
from tests.support.scoring_tasks import draw_task, separate
from zoo.features.linear_probe import (
    decompose,
    score_left_out,
    score_left_out_once,
    standardize,
)
from zoo.statistics import wilson

SOME = (*SCORERS, "hscore", "gbc", "cka")


def ends(*given):
    """Of an interval that is there."""
    found = find_interval(*given)
    assert found
    return found


@pytest.mark.parametrize(("name", "left_out"), [("knn", [4, 2, 1, 0]), ("cka", [2, 1, 1, 0])])
def test_two_subsamples_leave_out_different_halves_or_quarters_of_each_class(name, left_out):
    labels = np.array([0] * 8 + [1] * 5 + [2] * 3 + [3])
    kept, _ = draw_pairs(name, labels, np.random.default_rng(0), 300)
    out = ~kept
    assert not out.all(axis=1).any()
    sizes = [out[:, :, labels == label].sum(axis=2) for label in range(4)]
    assert all((each[:, 0] == each[:, 1]).all() for each in sizes)
    assert [each.min() for each in sizes] == left_out
    assert out[:, :, :8].mean(axis=(0, 1)) == pytest.approx(left_out[0] / 8, abs=0.1)


def test_of_classes_of_two_some_stay_whole():
    labels = np.array([0, 0, 1, 1, 2])
    kept, _ = draw_pairs("knn", labels, np.random.default_rng(0), 300)
    whole = np.stack([kept[:, :, :2].all(axis=(1, 2)), kept[:, :, 2:4].all(axis=(1, 2))])
    assert (whole.sum(axis=0) == 1).all()
    assert kept[:, :, 4].all()


def test_where_nothing_can_be_left_out_there_is_no_pair():
    rng = np.random.default_rng(0)
    assert len(draw_pairs("knn", np.array([0, 0, 1]), rng, 20)[0]) == 0
    assert len(draw_pairs("knn", np.arange(8) // 4, rng, 0)[0]) == 0


@pytest.mark.parametrize("name", ["knn", "cka"])
@pytest.mark.parametrize("sizes", [(6, 6), (8, 8, 8), (3, 3), (2, 2, 2)])
def test_the_width_makes_the_spread_of_means_their_standard_error(name, sizes):
    """Theory: the mean of L values of variance 1 has the standard error 1 / sqrt(L)."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    squares = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        kept, widths = draw_pairs(name, labels, rng, 20)
        values = rng.normal(size=len(labels))
        means = np.array([[values[one].mean() for one in pair] for pair in kept])
        squares.append(np.mean((np.diff(means)[:, 0] / 2 / widths) ** 2))
    assert np.mean(squares) == pytest.approx(1 / len(labels), rel=0.15)


def score_without(name, features, labels, left_out):
    """The score as if these images had no labels, or, unless prepared once, were not there."""
    hidden = np.where(left_out, -1, labels)
    if name in SCORERS:
        return METRICS[name](features, hidden)
    return METRICS[name](features.rows(np.flatnonzero(~left_out)), hidden[~left_out])


@pytest.mark.parametrize("name", [name for name in SOME if name != "linear_probe"])
def test_a_subsample_is_scored_without_what_it_leaves_out(name):
    features, labels = draw_task(20, images=40, classes=4)
    labels[:8] = -1
    kept, widths = draw_pairs(name, labels[8:], np.random.default_rng(5), 6)
    slow = np.array(
        [
            [score_without(name, features, labels, np.r_[np.zeros(8, bool), ~one]) for one in pair]
            for pair in kept
        ]
    )
    value, subsamples, _ = measure(name, features, labels, resamples=6, seed=5)
    assert value == pytest.approx(METRICS[name](features, labels), abs=1e-12)
    expected = np.diff(slow)[:, 0] / 2 / widths / np.sqrt(EXCESS.get(name, 1))
    assert subsamples == pytest.approx(value + expected, abs=1e-9)


@pytest.mark.parametrize("width", [6, 90])
def test_a_subsample_of_the_linear_probe_is_scored_with_the_strength_of_the_whole(width):
    features, labels = draw_task(20, images=40, width=width, classes=4)
    rows = standardize(features.embeddings)
    strength = score_left_out(decompose(rows), labels)[1]
    scorer = prepare("linear_probe", features, labels)
    for half in draw_pairs("linear_probe", labels, np.random.default_rng(5), 6)[0][:, 0]:
        slow = score_left_out(decompose(rows[half]), labels[half], [strength])[0]
        fast = score_left_out_once(rows[half], labels[half], strength)
        assert fast == pytest.approx(slow, abs=1e-9)
        hits = slow.argmax(axis=1) == labels[half]
        assert scorer(np.where(half, labels, -1)) == pytest.approx(hits.mean())


@pytest.mark.parametrize("name", SOME)
def test_every_metric_has_subsamples_that_follow_their_seed(name):
    features, labels = draw_task(21)
    score, once, _ = measure(name, features, labels, resamples=20, seed=1)
    assert (once.shape, once.dtype) == ((20,), np.float64)
    assert np.array_equal(once, measure(name, features, labels, resamples=20, seed=1)[1])
    assert not np.array_equal(once, measure(name, features, labels, resamples=20, seed=2)[1])
    assert np.median(np.abs(once - score)) > 0
    assert [len(rows) for rows in measure(name, features, labels, resamples=0)[1:]] == [0, 0]


@pytest.mark.parametrize("name", SOME)
def test_permuted_labels_score_less_than_true_ones(name):
    features, labels = draw_task(22, images=60, signal=3)
    labels[:10] = -1
    score, _, permuted = measure(name, features, labels)
    assert len(permuted) == PERMUTATIONS
    assert score > np.nanpercentile(permuted, 95)


@pytest.mark.parametrize("name", SCORERS)
def test_a_prepared_metric_scores_permuted_labels_as_the_metric_does(name):
    features, labels = draw_task(23, images=40)
    permuted = np.random.default_rng(0).permutation(labels)
    assert prepare(name, features, labels)(permuted) == pytest.approx(
        METRICS[name](features, permuted), abs=1e-12
    )


def test_an_interval_spans_the_errors_of_students_t_on_either_side():
    halves = 0.4 + np.random.default_rng(0).normal(size=60)
    low, high = ends("parc", 0.4, halves, np.r_[np.arange(30) % 3, [-1] * 50])
    assert (0.4 - low) / halves.std(ddof=1) == pytest.approx(scipy.stats.t.ppf(0.975, 27))
    assert (low + high) / 2 == pytest.approx(0.4)


def test_a_fraction_of_images_has_at_least_its_wilson_interval_and_stays_a_fraction():
    four = np.array([0, 0, 1, 1])
    assert find_interval("knn", 1.0, np.ones(60), four) == wilson(4, 4)
    wide = 1 + np.random.default_rng(0).normal(size=60)
    assert find_interval("linear_probe", 0.9, wide, np.arange(40) % 4) == (0.0, 1.0)


def test_no_interval_has_the_width_zero():
    four = np.array([0, 0, 1, 1])
    assert find_interval("parc", 0.5, np.full(60, 0.5), four) is None
    assert find_interval("parc", 0.5, np.empty(0), four) is None
    features, labels = separate(4, 2)
    score, subsamples, _ = measure("linear_probe", features, labels)
    low, high = ends("linear_probe", score, subsamples, labels)
    assert score == 1.0
    assert low < 0.6 < high == 1.0


def test_subsamples_that_could_not_be_scored_do_not_count_and_few_others_make_no_interval():
    halves = np.r_[np.random.default_rng(0).normal(size=40), [np.nan] * 20]
    assert standard_error(halves) == pytest.approx(halves[:40].std(ddof=1))
    halves[:20] = np.nan
    assert standard_error(halves) == 0


@pytest.mark.parametrize("name", ["knn", "parc", "logme", "hscore"])
def test_intervals_cover_the_expected_score(name):
    """93 to 98 % are wanted; 50 tasks know it to 3 points: see benchmarks/coverage.py."""
    found = []
    for seed in range(50):
        features, labels = draw_task(seed, images=30, width=8, classes=3, signal=0.0)
        features.embeddings[:, :3] += 1.2 * np.eye(3)[labels]
        score, subsamples, _ = measure(name, features, labels, seed=seed + 1000)
        found.append((score, *ends(name, score, subsamples, labels)))
    scores, lows, highs = np.array(found).T
    truth = scores.mean()
    assert np.mean((lows <= truth) & (truth <= highs)) >= 0.86
    assert (highs - lows).mean() < 1.5 * 2 * 1.96 * scores.std(ddof=1)
