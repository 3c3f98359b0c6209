"""Shares: from a file, from scores to a power, and divided among redundant teachers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from selection import METRICS, UNLABELED, RankedTeacher, rank
from selection.shares import (
    SHAREABLE,
    SHARPNESS,
    choose,
    cka_table,
    divide_redundant,
    share_by_power,
)
from tests.support.scoring_tasks import make_ranking
from zoo.errors import RankingError
from zoo.features.store import Features


def test_the_shares_of_the_file_are_the_weights():
    ranking = make_ranking([0.5, 0.4, 0.3], shares=[1, 0, 3])
    assert ranking.weights() == {"a": 0.25, "c": 0.75}


def test_huge_and_tiny_shares_are_normalized():
    assert make_ranking([0.5, 0.4], shares=[1e308, 1e308]).weights() == {"a": 0.5, "b": 0.5}
    assert make_ranking([0.5, 0.4], shares=[5e-324, 5e-324]).weights() == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("power", [0.5, 1, 2, 12])
def test_a_power_makes_new_shares_from_the_scores(power):
    weights = make_ranking([0.5, 0.25, -0.3], shares=[0, 0, 1]).weights(power)
    total = 0.5**power + 0.25**power
    assert weights == pytest.approx({"a": 0.5**power / total, "b": 0.25**power / total})


def test_power_zero_is_equal_for_all_that_did_not_fail():
    failed = RankedTeacher("x", "", None, None, None, 0.0, "failed", "no file")
    ranking = make_ranking([0.5, 0.0, -0.3])
    ranking = replace(ranking, teachers=(*ranking.teachers, failed))
    assert ranking.weights(0) == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


@pytest.mark.parametrize("power", [1e4, 1e6, math.inf])
def test_a_high_power_leaves_the_nearest_alone(power):
    assert make_ranking([0.01, 0.005, -1]).weights(power) == {"a": 1.0}
    assert make_ranking([0.01, 0.01, 0.005]).weights(power) == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize("power", [1, math.inf])
def test_no_score_above_chance_makes_no_shares_but_says_what_to_do(power):
    with pytest.raises(RankingError, match="--baseline transfer"):
        make_ranking([0.0, -0.2]).weights(power)


@pytest.mark.parametrize("power", [-1, math.nan])
def test_a_power_below_zero_is_refused(power):
    with pytest.raises(RankingError, match="0 or more"):
        make_ranking([0.5]).weights(power)


def test_scores_that_are_logarithms_never_become_shares():
    ranking = make_ranking([-0.5, -0.9], shares=[1, 3], metric="logme")
    with pytest.raises(RankingError, match=r"'logme'.*--metric linear_probe"):
        ranking.weights(12)
    assert ranking.weights() == {"a": 0.25, "b": 0.75}
    assert ranking.weights(0) == {"a": 0.5, "b": 0.5}
    assert ranking.nearest() == "a"


def test_every_metric_whose_scores_become_shares_is_listed():
    bounded = {"parc", "knn", "linear_probe", "cka", "cka_rbf"}
    assert bounded | UNLABELED.keys() == SHAREABLE
    assert bounded <= METRICS.keys()


def test_the_nearest_is_the_highest_score_whatever_the_shares_and_the_order():
    assert make_ranking([0.1, 0.7, 0.3], shares=[5, 0, 0]).nearest() == "b"
    assert make_ranking([0.7, 0.7]).nearest() == "a"


def test_shares_of_no_scores_are_refused():
    with pytest.raises(RankingError, match="No teacher is closer"):
        share_by_power({}, 1)


# --- Redundancy


def draw(seed, rows=50, width=6):
    embeddings = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return Features(embeddings, np.zeros((rows, 0), np.float32))


def turn(features, seed=9):
    """The same teacher, its features rotated and scaled."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    return Features((3 * features.embeddings @ rotation).astype(np.float32), features.logits)


ZOO = {"one": draw(0), "same": turn(draw(0)), "other": draw(1)}


def test_a_rotated_copy_is_the_same_and_noise_is_not():
    table = cka_table(ZOO)
    assert np.allclose(table, table.T)
    assert np.allclose(np.diag(table), 1)
    assert table[0, 1] == pytest.approx(1, abs=1e-5)
    rows = [features.embeddings - features.embeddings.mean(axis=0) for features in ZOO.values()]
    one, other = rows[0] @ rows[0].T, rows[2] @ rows[2].T
    slow = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    assert table[0, 2] == pytest.approx(slow, abs=1e-6)


def test_two_copies_weigh_as_much_as_one():
    shares = divide_redundant({"one": 0.4, "same": 0.4, "other": 0.2}, ZOO)
    near = cka_table(ZOO)[0, 2] ** SHARPNESS
    slow = np.array([0.4 / (2 + near), 0.4 / (2 + near), 0.2 / (1 + 2 * near)])
    assert [*shares.values()] == pytest.approx([*(slow / slow.sum())], abs=1e-5)


def test_the_second_choice_is_not_the_copy_of_the_first():
    shares = {"one": 0.5, "same": 0.4, "other": 0.1}
    assert choose(shares, ZOO, 1) == {"one": 1.0}
    assert choose(shares, ZOO, 2).keys() == {"one", "other"}
    assert choose(shares, ZOO, 9).keys() == ZOO.keys()
    with pytest.raises(RankingError, match="Choose 1 or more"):
        choose(shares, ZOO, 0)


def test_top_gives_shares_to_so_many_teachers():
    labels = np.arange(50) % 2
    signal = np.eye(2, 6)[labels].astype(np.float32) * 3
    zoo = {
        name: Features(features.embeddings + signal, features.logits)
        for name, features in {**ZOO, "fourth": draw(5)}.items()
    }
    for top in (1, 2, 3):
        ranking = rank(zoo, labels, metric="knn", power=1, top=top)
        assert sum(row.share > 0 for row in ranking.teachers) == top
        assert sum(row.share for row in ranking.teachers) == pytest.approx(1)
    assert sum(row.share > 0 for row in rank(zoo, labels, metric="knn", power=1).teachers) == 4
