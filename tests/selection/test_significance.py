"""Claims about many teachers at once: rarely wrong, and made where they are due."""

import numpy as np
import pytest
from scipy.stats import studentized_range

from selection import rank
from selection.significance import count_error, find_better, find_chance
from tests.support.scoring_tasks import wrap


def draw_scores(seed, truth, error=1.0, draws=60):
    """Scores of teachers about their truth, and half-samples about the scores."""
    rng = np.random.default_rng(seed)
    scores = np.asarray(truth) + error * rng.normal(size=len(truth))
    return scores, scores[:, None] + error * rng.normal(size=(len(truth), draws))


def test_of_sixteen_equal_teachers_any_differ_in_at_most_5_percent_of_rankings():
    wrong = [find_better(*draw_scores(seed, [0.0] * 16), freedom=59).any() for seed in range(100)]
    assert np.mean(wrong) <= 0.1  # 5 %, known to 2 points


@pytest.mark.parametrize("freedom", [9, 59])
@pytest.mark.parametrize("factor", [0.93, 1.07])
def test_equal_independent_errors_give_the_limit_of_tukeys_range(freedom, factor):
    rows = np.random.default_rng(1).normal(size=(6, 60))
    rows -= rows.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    white = left @ right * np.sqrt(59)  # of deviation 1, and uncorrelated
    scores = np.zeros(6)
    scores[0] = factor * studentized_range.ppf(0.95, 6, freedom)
    scores[1:5] = scores[0] / 2
    better = find_better(scores, scores[:, None] + white, freedom=freedom)
    assert better[0, 5] == (factor > 1)
    assert better.sum() == int(factor > 1)


def test_a_clear_difference_is_found_and_claims_are_transitive():
    better = find_better(*draw_scores(0, [12.0, 6.0, 0.0]), freedom=59)
    assert better.tolist() == [[False, True, True], [False, False, True], [False] * 3]
    for seed in range(20):
        better = find_better(*draw_scores(seed, np.linspace(0, 12, 8)), freedom=59)
        assert not (better & better.T).any()
        assert (better | ~((better.astype(int) @ better) > 0)).all()


def test_correlated_teachers_are_told_apart_by_less():
    rng = np.random.default_rng(0)
    common, own = 5 * rng.normal(size=60), 0.2 * rng.normal(size=(2, 60))
    scores = np.array([2.0, 0.0])
    assert find_better(scores, scores[:, None] + common + own, freedom=59)[0, 1]
    loose = scores[:, None] + 5 * rng.normal(size=(2, 60))
    assert not find_better(scores, loose, freedom=59).any()


def test_draws_that_failed_are_left_out():
    scores, halves = draw_scores(0, [20.0, 0.0])
    halves[0, :20] = np.nan
    assert find_better(scores, halves, freedom=59)[0, 1]
    halves[1, 20:45] = np.nan
    assert not find_better(scores, halves, freedom=59).any()  # too few are left


def test_of_a_teacher_that_fails_in_most_draws_nothing_is_claimed_and_the_others_are_tested():
    scores, halves = draw_scores(0, [20.0, 0.0, -30.0])
    halves[2, 5:] = np.nan
    better = find_better(scores, halves, freedom=59)
    assert np.argwhere(better).tolist() == [[0, 1]]


def test_a_fraction_of_few_images_does_not_make_a_difference_certain():
    scores = np.array([1.0, 0.0])
    halves = np.repeat(scores[:, None], 60, axis=1)
    assert not find_better(scores, halves, freedom=2, least=count_error(scores, 4)).any()
    assert find_better(scores, halves, freedom=38, least=count_error(scores, 40))[0, 1]


@pytest.mark.parametrize("perfect", [1, 15])
def test_a_worse_teacher_is_told_from_one_perfect_teacher_as_from_many(perfect):
    scores = np.array([*[1.0] * perfect, 0.6])
    subsamples = np.repeat(scores[:, None], 30, axis=1)
    subsamples[-1] += 0.06 * np.random.default_rng(0).normal(size=30)
    better = find_better(scores, subsamples, freedom=6, least=count_error(scores, 40))
    assert better[:perfect, -1].all()
    assert better.sum() == perfect


def test_nearly_perfect_equal_teachers_differ_in_at_most_5_percent_of_rankings():
    wrong = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        hits = (draw.random((19, 40)) < 0.98).astype(float)
        orders = [draw.permutation(40) for _ in range(30)]
        apart = [hits[:, o[:20]].mean(axis=1) - hits[:, o[20:]].mean(axis=1) for o in orders]
        scores = hits.mean(axis=1)
        subsamples = scores[:, None] + np.array(apart).T / 2
        wrong += find_better(scores, subsamples, freedom=8, least=count_error(scores, 40)).any()
    assert wrong <= 6  # of 60; 5 % are allowed


def test_of_sixteen_teachers_of_noise_any_is_above_chance_in_at_most_5_percent_of_rankings():
    wrong = []
    for seed in range(400):
        draws = np.random.default_rng(seed).normal(size=(16, 40)) ** 3
        limits = find_chance(draws[:, 0], draws[:, 1:])
        wrong.append(any(s > limit for s, limit in zip(draws[:, 0], limits, strict=True)))
    assert np.mean(wrong) <= 0.08  # 5 %, known to 1.1 points


def test_a_good_teacher_among_noise_is_above_chance():
    rng = np.random.default_rng(0)
    permuted = rng.normal(size=(16, 39))
    scores = rng.normal(size=16)
    scores[3] = 8.0
    limits = np.array(find_chance(scores, permuted), float)
    assert [int(i) for i in np.flatnonzero(scores > limits)] == [3]
    assert limits.max() < 6


@pytest.mark.parametrize("permutations", [0, 10])
def test_too_few_permutations_know_no_chance(permutations):
    assert find_chance(np.zeros(2), np.zeros((2, permutations))) == [None, None]


def test_a_teacher_that_scores_no_permutation_has_no_chance_level_and_disturbs_no_other():
    rng = np.random.default_rng(0)
    permuted, scores = rng.normal(size=(2, 39)), np.array([1.0, 2.0])
    alone = find_chance(scores[:1], permuted[:1])
    permuted[1] = np.nan
    assert find_chance(scores, permuted) == [alone[0], None]


def test_rankings_of_equal_teachers_and_of_noise_claim_nothing():
    labels = np.arange(24) % 3
    wrong = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        centers = rng.normal(size=(3, 8))
        zoo = {f"t{i}": wrap(rng.normal(size=(24, 8)) + centers[labels]) for i in range(8)}
        wrong.append(any(row.rank != 1 for row in rank(zoo, labels, metric="knn").teachers))
        noise = {name: wrap(rng.normal(size=(24, 8))) for name in zoo}
        rows = rank(noise, labels, metric="knn").teachers
        wrong.append(any((row.score or 0) > (row.chance or 0) for row in rows))
    assert sum(wrong) <= 2


def test_twelve_labels_know_a_standard_error_too_badly_to_claim_much():
    labels, wrong = np.arange(12) % 3, []
    for seed in range(12):
        rng = np.random.default_rng([seed, 1])
        zoo = {f"t{i:02}": wrap(rng.normal(size=(12, 16))) for i in range(16)}
        rows = rank(zoo, labels, metric="parc", seed=seed).teachers
        wrong.append(any(row.rank != 1 for row in rows))
    assert sum(wrong) <= 3  # 5 where the noise of the labels is forgotten
