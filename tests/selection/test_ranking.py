"""Rankings: order, intervals, shares, and the file that people may edit."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from selection import scoring
from selection.metrics import METRICS
from selection.ranking import LEFT_OUT
from selection.resampling import find_interval, measure
from selection.scoring import METRIC, rank
from tests.support.scoring_tasks import LABELS, make_features, make_zoo, wrap
from zoo.errors import RankingError
from zoo.features.store import Features


@pytest.mark.parametrize("metric", ["parc", "knn", "linear_probe", "logme"])
def test_teachers_come_in_order_of_their_score(metric):
    ranking = rank(make_zoo(), LABELS, metric=metric)
    assert [row.name for row in ranking.teachers] == ["near", "middle", "far"]
    for row in ranking.teachers:
        assert row.score == METRICS[metric](make_zoo()[row.name], LABELS)
        assert (row.status, row.reason) == ("ok", "")
    assert ranking.metric == metric
    assert ranking.nearest() == "near"


def test_the_default_is_what_the_benchmark_chose():
    assert METRIC == "linear_probe,cka,hscore"
    assert rank(make_zoo(), LABELS) == rank(make_zoo(), LABELS, metric=METRIC)


def test_teachers_of_equal_score_come_by_name():
    zoo = dict.fromkeys(["b", "c", "a"], make_features(1))
    assert [row.name for row in rank(zoo, LABELS).teachers] == ["a", "b", "c"]


def test_a_ranking_counts_images_labels_and_classes():
    labels = np.r_[LABELS[:30] * 10, [-1] * 10]
    ranking = rank(make_zoo(), labels)
    assert (ranking.images, ranking.labeled, ranking.classes) == (40, 30, 4)


@pytest.mark.parametrize("power", [0, 1, 12.0, 1e4])
def test_shares_follow_the_power(power):
    ranking = rank(make_zoo(), LABELS, power=power)
    shares = [row.share for row in ranking.teachers]
    scores = np.array([[row.score, row.scores["hscore"]] for row in ranking.teachers])
    evidence = scores[:, 0] * np.sqrt(scores[:, 1])
    slow = (evidence / evidence.max()) ** power
    assert np.allclose(shares, slow / slow.sum())
    assert sum(shares) == pytest.approx(1)
    assert ranking.power == power


def test_by_one_metric_or_by_others_the_h_score_has_no_part_in_the_shares():
    for metric in ("knn", "knn,cka", "linear_probe,logme"):
        ranking = rank(make_zoo(), LABELS, metric=metric, power=3)
        scores = np.array([row.score for row in ranking.teachers])
        assert np.allclose([row.share for row in ranking.teachers], scores**3 / (scores**3).sum())
        assert "hscore" not in " ".join(ranking.explanation)
    told = " ".join(rank(make_zoo(), LABELS, metric="knn,hscore").explanation)
    assert "shares: by knn and hscore." in told


def test_the_seed_decides_the_intervals_and_nothing_else():
    once, again, other = (rank(make_zoo(), LABELS, metric="parc", seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert (once.seed, other.seed) == (3, 4)
    for one, two in zip(once.teachers, other.teachers, strict=True):
        assert (one.low, one.high) != (two.low, two.high)
        assert (one.score, one.share) == (two.score, two.share)


def test_a_row_has_the_interval_of_its_half_samples():
    row = rank(make_zoo(), LABELS, metric="knn", seed=4).teachers[1]
    score, subsamples, _ = measure("knn", make_zoo()["middle"], LABELS, seed=4)
    assert (row.low, row.high) == find_interval("knn", score, subsamples, LABELS)


def test_the_number_of_resamples_is_heeded_and_none_makes_no_interval():
    few, many = (
        rank(make_zoo(), LABELS, metric="parc", resamples=n).teachers[0].low for n in (20, 200)
    )
    assert few != many
    row = rank(make_zoo(), LABELS, resamples=0).teachers[0]
    assert (row.low, row.high, row.chance, row.rank) == (None, None, None, None)


def test_the_score_and_interval_of_a_teacher_do_not_depend_on_the_company():
    alone = rank({"middle": make_features(1.8)}, LABELS).teachers[0]
    among = rank(make_zoo(), LABELS).teachers[1]
    family = {"share": 0, "rank": 1, "chance": 0.0}
    assert replace(alone, **family) == replace(among, **family)


def test_domains_are_written_beside_their_teachers():
    failures = {"lost": "no file"}
    ranking = rank(make_zoo(), LABELS, domains={"far": "birds", "lost": "cars"}, failures=failures)
    assert [row.domain for row in ranking.teachers] == ["", "", "birds", "cars"]


@pytest.mark.parametrize("metric", ["parc", "knn", "linear_probe", "logme"])
@pytest.mark.parametrize(("value", "why"), [(0.5, "same for every"), (math.nan, "not finite")])
def test_a_teacher_that_cannot_be_scored_fails_alone(metric, value, why):
    broken = Features(np.full((40, 3), value, np.float32), np.zeros((40, 0), np.float32))
    ranking = rank({"broken": broken, **make_zoo()}, LABELS, metric=metric)
    row = ranking.teachers[-1]
    assert (row.name, row.status, row.share) == ("broken", "failed", 0)
    assert (row.score, row.low, row.high) == (None, None, None)
    assert why in row.reason
    assert ranking.teachers[:-1] == rank(make_zoo(), LABELS, metric=metric).teachers


def test_a_teacher_that_could_not_run_becomes_a_failed_row():
    ranking = rank(make_zoo(), LABELS, failures={"z": "no file", "b": "no network"})
    assert [(row.name, row.reason) for row in ranking.teachers[3:]] == [
        ("b", "no network"),
        ("z", "no file"),
    ]


def test_a_ranking_of_none_but_failed_teachers_is_refused_with_their_reasons():
    with pytest.raises(RankingError, match=r"a: no file; b: its features are the same"):
        rank({"b": make_features(0).rows(np.zeros(40, int))}, LABELS, failures={"a": "no file"})
    with pytest.raises(RankingError, match="No teacher could be ranked"):
        rank({}, LABELS)


@pytest.mark.parametrize("labels", [np.full(40, -1), np.zeros(40, int), np.arange(40)])
def test_labels_that_can_rank_nobody_are_refused_before_any_teacher(labels):
    seen = []
    with pytest.raises(RankingError, match=r"[Ll]abel"):
        rank(make_zoo(), labels, progress=lambda *step: seen.append(step))
    assert not seen


def test_progress_is_reported_after_each_teacher():
    seen = []
    rank(make_zoo(), LABELS, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(RankingError, match=r"'park'.*parc, knn, linear_probe"):
        rank(make_zoo(), LABELS, metric="park")


def test_the_old_name_of_the_linear_probe_is_accepted():
    new = rank(make_zoo(), LABELS, metric="linear_probe,knn")
    assert rank(make_zoo(), LABELS, metric="probe, knn") == new
    assert new.metric == "linear_probe,knn"


def test_a_metric_that_is_named_twice_is_refused():
    with pytest.raises(RankingError, match="'linear_probe' is named twice"):
        rank(make_zoo(), LABELS, metric="probe,linear_probe")


@pytest.mark.parametrize("power", [-1, math.nan, math.inf])
def test_a_power_that_a_file_cannot_hold_is_refused(power):
    with pytest.raises(RankingError, match="finite number of 0 or more"):
        rank(make_zoo(), LABELS, power=power)


@pytest.mark.parametrize("seed", [-1, 2**31 + 1, 2**70])
def test_a_seed_that_training_and_files_do_not_take_is_refused(seed):
    with pytest.raises(RankingError, match="whole number from 0 to 2147483648"):
        rank(make_zoo(), LABELS, seed=seed)


def test_scores_that_are_all_below_chance_give_equal_shares_and_a_warning(monkeypatch):
    scores = iter([-0.1, -0.3, 0.0])
    nothing = np.empty(0)
    monkeypatch.setattr(scoring, "measure", lambda *_, **__: (next(scores), nothing, nothing))
    ranking = rank(make_zoo(), LABELS, metric="parc")
    monkeypatch.undo()
    assert [row.share for row in ranking.teachers] == pytest.approx([1 / 3] * 3)
    assert [row.score for row in ranking.teachers] == [0.0, -0.1, -0.3]
    assert "No teacher scored above 0" in " ".join(ranking.warnings)
    assert rank(make_zoo(), LABELS, metric="knn").warnings == []


def test_teachers_that_do_not_differ_significantly_share_a_rank():
    near = make_features(4)
    twin = Features(near.embeddings * 1.0001, near.logits)
    ranking = rank({**make_zoo(), "near": near, "twin": twin, "none": make_features(0)}, LABELS)
    ranks = {row.name: row.rank for row in ranking.teachers}
    assert ranks["near"] == ranks["twin"] == 1
    assert ranks["none"] == 5
    assert [*ranks.values()] == sorted(value for value in ranks.values() if value)


def test_a_teacher_significantly_worse_than_a_control_gets_share_0_and_the_reason():
    controls = {"noise": make_features(2.5)}
    zoo = {"far": make_features(0.2), "near": make_features(4), "good": make_features(3)}
    ranking = rank(zoo, LABELS, metric="linear_probe", controls=controls)
    rows = {row.name: row for row in ranking.teachers}
    assert rows["noise"].status == "control"
    assert (rows["noise"].share, rows["noise"].rank) == (0, None)
    assert (rows["far"].share, rows["far"].reason) == (0, "significantly worse than a control")
    assert rows["near"].share + rows["good"].share == pytest.approx(1)
    assert rows["near"].share >= rows["good"].share > 0


def test_a_teacher_not_significantly_worse_than_a_control_keeps_its_share():
    zoo = {"even": make_features(1.7, seed=1), "near": make_features(4)}
    ranking = rank(zoo, LABELS, metric="parc", controls={"noise": make_features(1.8)})
    assert [row.name for row in ranking.teachers] == ["near", "noise", "even"]
    assert ranking.teachers[-1].share > 0
    assert ranking.teachers[-1].reason == ""


def test_where_no_teacher_beats_the_controls_all_keep_their_shares_and_a_warning_tells():
    ranking = rank({"far": make_features(0.9)}, LABELS, controls={"noise": make_features(4)})
    assert ranking.weights() == {"far": 1.0}
    assert "No teacher scored above the control 'noise'" in " ".join(ranking.warnings)
    assert ranking.nearest() == "far"
    assert ranking.teachers[-1].reason == ""  # it has a share


def test_excluded_teachers_have_no_share_and_take_no_place_of_top():
    zoo = make_zoo()
    ranking = rank(zoo, LABELS, metric="knn", top=1, excluded={"near": "known"})
    rows = {row.name: row for row in ranking.teachers}
    assert ranking.weights() == {"middle": 1.0}
    assert (rows["near"].reason, rows["far"].reason) == ("known", LEFT_OUT)
    everyone = rank(zoo, LABELS, metric="knn", excluded=dict.fromkeys(zoo, "known"))
    assert everyone.weights() == rank(zoo, LABELS, metric="knn").weights()


def test_noise_has_as_small_a_share_with_skewed_labels_as_with_balanced_ones():
    labels = (np.arange(200) >= 180).astype(int)
    good = wrap(np.random.default_rng(0).normal(size=(200, 12)) + 9 * labels[:, None])
    zoo = {"good": good, **{f"noise{i}": make_features(0, i, rows=200) for i in range(6)}}
    ranking = rank(zoo, labels, metric="linear_probe")
    assert ranking.most_frequent == 0.9
    assert max(row.score for row in ranking.teachers[1:] if row.score) > 0.88
    assert ranking.teachers[0].share > 0.6  # a half to the power of 4 for each of six
    assert ranking.weights(4.0) == pytest.approx(ranking.weights())


def test_a_teacher_of_two_points_has_the_h_score_of_separated_classes_and_fails_nobody():
    labels = np.arange(20) % 2
    for seed in range(20):
        points = np.random.default_rng(seed).normal(size=(2, 64))[labels]
        ranking = rank({"points": wrap(points)}, labels, metric="hscore")
        assert ranking.teachers[0].score == pytest.approx(20 / 19)


def test_a_score_that_numpy_cannot_compute_is_a_failed_row(monkeypatch):
    def fail(features, labels):
        if np.array_equal(features.embeddings, zoo["near"].embeddings):
            raise np.linalg.LinAlgError("Singular matrix")
        return METRICS["knn"](features, labels)

    zoo = make_zoo()
    monkeypatch.setitem(METRICS, "hscore", fail)
    ranking = rank(zoo, LABELS, metric="hscore", resamples=0)
    assert ranking.teachers[-1].name == "near"
    assert "Singular matrix" in ranking.teachers[-1].reason


def test_several_metrics_order_by_the_mean_of_their_ranks():
    zoo = {f"t{i}": make_features(0.4 * i, seed=i) for i in range(6)}
    ranking = rank(zoo, LABELS, metric="knn, parc")
    scores = {name: [METRICS[m](zoo[name], LABELS) for m in ("knn", "parc")] for name in zoo}
    ranks = np.sum(
        [scipy.stats.rankdata([-scores[name][column] for name in zoo]) for column in range(2)], 0
    )
    firsts = [-scores[name][0] for name in zoo]
    slow = sorted(zip(ranks.tolist(), firsts, zoo, strict=True))
    assert [row.name for row in ranking.teachers] == [name for _, _, name in slow]
    for row in ranking.teachers:
        assert [row.scores["knn"], row.scores["parc"]] == pytest.approx(scores[row.name])
        assert row.score == row.scores["knn"]
    assert ranking.metric == "knn,parc"
