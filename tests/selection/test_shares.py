"""Shares: from a file, from scores to a power, and the refusals."""

import math
from dataclasses import replace

import pytest

from selection.metrics import METRICS
from selection.metrics.unlabeled import UNLABELED
from selection.ranking import RankedTeacher
from selection.shares import SHAREABLE, share_by_power
from tests.selection.test_ranking import make_ranking
from zoo.errors import RankingError


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
    with pytest.raises(RankingError, match=r"'logme'.*--metric probe"):
        ranking.weights(12)
    assert ranking.weights() == {"a": 0.25, "b": 0.75}
    assert ranking.weights(0) == {"a": 0.5, "b": 0.5}
    assert ranking.nearest() == "a"


def test_every_metric_whose_scores_become_shares_is_listed():
    bounded = {"parc", "knn", "probe", "cka", "cka_rbf"}
    assert bounded | UNLABELED.keys() == SHAREABLE
    assert bounded <= METRICS.keys()


def test_the_nearest_is_the_highest_score_whatever_the_shares_and_the_order():
    assert make_ranking([0.1, 0.7, 0.3], shares=[5, 0, 0]).nearest() == "b"
    assert make_ranking([0.7, 0.7]).nearest() == "a"


def test_shares_of_no_scores_are_refused():
    with pytest.raises(RankingError, match="No teacher is closer"):
        share_by_power({}, 1)
