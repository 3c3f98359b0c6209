"""Rankings: order, intervals, shares, and the file that people may edit."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from selection import ranking as module
from selection.metrics import METRICS
from selection.ranking import RankedTeacher, Ranking, rank
from selection.shares import SHAREABLE, share_by_power
from zoo.errors import RankingError
from zoo.features import Features

LABELS = np.arange(40) % 4


def make_features(signal, seed=0, rows=40):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(rows, 12)) + signal * np.eye(4, 12)[np.arange(rows) % 4]
    return Features(embeddings.astype(np.float32), np.zeros((rows, 0), np.float32))


def make_zoo():
    return {"far": make_features(0.9), "near": make_features(4), "middle": make_features(1.8)}


def make_ranking(scores, shares=None, **changes):
    shares = shares or [1.0] * len(scores)
    rows = [
        RankedTeacher(name, "d", score, None, None, share, "ok")
        for name, score, share in zip("abcdefgh", scores, shares, strict=False)
    ]
    start = Ranking(
        metric="parc", images=9, labeled=8, classes=2, teachers=tuple(rows), seed=0, power=12.0
    )
    return replace(start, **changes)


def write_edited(folder, **changes):
    document = make_ranking([0.5, 0.25]).to_json() | changes
    path = folder / "ranking.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


# --- rank


@pytest.mark.parametrize("metric", METRICS)
def test_teachers_come_in_order_of_their_score(metric):
    ranking = rank(make_zoo(), LABELS, metric=metric)
    assert [row.name for row in ranking.teachers] == ["near", "middle", "far"]
    for row in ranking.teachers:
        assert row.score == METRICS[metric](make_zoo()[row.name], LABELS)
        assert (row.status, row.reason) == ("ok", "")
    assert ranking.metric == metric
    assert ranking.nearest() == "near"


def test_parc_is_the_default_metric():
    assert rank(make_zoo(), LABELS) == rank(make_zoo(), LABELS, metric="parc")


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
    scores = np.array([row.score for row in ranking.teachers])
    slow = (scores / scores.max()) ** power
    assert np.allclose(shares, slow / slow.sum())
    assert sum(shares) == pytest.approx(1)
    assert ranking.power == power


def test_the_seed_decides_the_intervals_and_nothing_else():
    once, again, other = (rank(make_zoo(), LABELS, seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert (once.seed, other.seed) == (3, 4)
    for one, two in zip(once.teachers, other.teachers, strict=True):
        assert (one.low, one.high) != (two.low, two.high)
        assert (one.score, one.share) == (two.score, two.share)


def test_the_interval_holds_the_middle_95_percent_of_the_resamples():
    row = rank(make_zoo(), LABELS, metric="knn", resamples=1000).teachers[1]
    assert row.score is not None
    assert row.low is not None
    assert row.high is not None
    zoo, rng = make_zoo(), np.random.default_rng(0)
    drawn = module.BOOTSTRAPS["knn"](zoo["middle"], LABELS, rng, 1000)
    assert np.mean(drawn < row.low) <= 0.025
    assert np.mean(drawn > row.high) <= 0.025
    assert np.mean((drawn >= row.low) & (drawn <= row.high)) >= 0.95
    assert row.low < row.score < row.high


def test_the_number_of_resamples_is_heeded_and_none_makes_no_interval():
    few, many = (rank(make_zoo(), LABELS, resamples=n).teachers[0].low for n in (20, 200))
    assert few != many
    row = rank(make_zoo(), LABELS, resamples=0).teachers[0]
    assert (row.low, row.high) == (None, None)


def test_a_teachers_row_does_not_depend_on_the_company():
    alone = rank({"middle": make_features(1.8)}, LABELS).teachers[0]
    among = rank(make_zoo(), LABELS).teachers[1]
    assert replace(alone, share=0) == replace(among, share=0)


def test_domains_are_written_beside_their_teachers():
    failures = {"lost": "no file"}
    ranking = rank(make_zoo(), LABELS, domains={"far": "birds", "lost": "cars"}, failures=failures)
    assert [row.domain for row in ranking.teachers] == ["", "", "birds", "cars"]


@pytest.mark.parametrize("metric", METRICS)
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


def test_progress_is_told_after_each_teacher():
    seen = []
    rank(make_zoo(), LABELS, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(RankingError, match=r"'park'.*parc, knn, probe"):
        rank(make_zoo(), LABELS, metric="park")


@pytest.mark.parametrize("power", [-1, math.nan, math.inf])
def test_a_power_that_a_file_cannot_hold_is_refused(power):
    with pytest.raises(RankingError, match="finite number of 0 or more"):
        rank(make_zoo(), LABELS, power=power)


def test_scores_that_are_all_below_chance_give_equal_shares_and_a_note(monkeypatch):
    scores = iter([-0.1, -0.3, 0.0])
    monkeypatch.setitem(module.METRICS, "parc", lambda features, labels: next(scores))
    ranking = rank(make_zoo(), LABELS)
    assert [row.share for row in ranking.teachers] == pytest.approx([1 / 3] * 3)
    assert [row.score for row in ranking.teachers] == [0.0, -0.1, -0.3]
    assert "No teacher scored above 0" in ranking.note
    assert rank(make_zoo(), LABELS, metric="knn").note == ""


# --- weights


def test_the_shares_of_the_file_are_the_weights():
    ranking = make_ranking([0.5, 0.4, 0.3], shares=[1, 0, 3])
    assert ranking.weights() == {"a": 0.25, "c": 0.75}


def test_huge_and_tiny_shares_are_normalised():
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
    with pytest.raises(RankingError, match=r"'logme'.*--metric parc"):
        ranking.weights(12)
    assert ranking.weights() == {"a": 0.25, "b": 0.75}
    assert ranking.weights(0) == {"a": 0.5, "b": 0.5}
    assert ranking.nearest() == "a"


def test_every_metric_whose_scores_become_shares_is_listed():
    assert METRICS.keys() == SHAREABLE


def test_the_nearest_is_the_highest_score_whatever_the_shares_and_the_order():
    assert make_ranking([0.1, 0.7, 0.3], shares=[5, 0, 0]).nearest() == "b"
    assert make_ranking([0.7, 0.7]).nearest() == "a"


def test_shares_of_no_scores_are_refused():
    with pytest.raises(RankingError, match="No teacher is closer"):
        share_by_power({}, 1)


# --- the file


def test_a_ranking_comes_back_from_its_file(tmp_path):
    ranking = replace(
        rank(make_zoo(), LABELS, failures={"lost": "no «file»"}, domains={"near": "Vögel"}),
        target="imgs",
        unlabeled="more",
        labels="labels.csv",
        labels_per_class=4,
        digest="ab12",
        forward_passes=120,
    )
    ranking.save(tmp_path / "ranking.json")
    assert Ranking.load(tmp_path / "ranking.json") == ranking
    assert [path.name for path in tmp_path.iterdir()] == ["ranking.json"]


def test_the_file_is_one_flat_json_object_that_people_can_read():
    document = make_ranking([0.5], unlabeled=None, target="imgs").to_json()
    assert list(document)[:7] == [
        "format",
        "target",
        "metric",
        "images",
        "labeled",
        "classes",
        "teachers",
    ]
    assert document["format"] == 1
    assert document["teachers"] == [
        {
            "name": "a",
            "domain": "d",
            "score": 0.5,
            "low": None,
            "high": None,
            "share": 1.0,
            "status": "ok",
            "reason": "",
        }
    ]
    assert document.keys() == {"format", *(field.name for field in fields(Ranking))}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_every_entry_is_checked_when_a_file_is_read():
    entries = {field.name for field in fields(Ranking)} - {"teachers"}
    assert module._RANKING.keys() == entries
    assert module._TEACHER.keys() == {field.name for field in fields(RankedTeacher)}


def test_shares_edited_by_hand_are_honoured(tmp_path):
    make_ranking([0.5, 0.25]).save(tmp_path / "ranking.json")
    text = (tmp_path / "ranking.json").read_text(encoding="utf-8")
    edited = text.replace('"share": 1.0', '"share": 9', 1)
    (tmp_path / "ranking.json").write_text(edited, encoding="utf-8")
    weights = Ranking.load(tmp_path / "ranking.json").weights()
    assert weights == pytest.approx({"a": 0.9, "b": 0.1})


def test_entries_that_people_added_are_ignored(tmp_path):
    assert Ranking.load(write_edited(tmp_path, why="birds look odd")) == make_ranking([0.5, 0.25])


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(RankingError, match=r"There is no ranking .*nope\.json.*zoo rank --target"):
        Ranking.load(tmp_path / "nope.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"a"', "null", "{}", '{"format": 1}', "[" * 100_000, "1" * 5000, "\udcff"],
)
def test_a_file_that_is_no_ranking_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "ranking.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RankingError, match=r"ranking\.json cannot be used: .*zoo rank") as caught:
        Ranking.load(path)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(RankingError, match="cannot be used"):
        Ranking.load(tmp_path)


@pytest.mark.parametrize("entry", ["format", "teachers", *module._RANKING])
def test_a_missing_entry_is_named(tmp_path, entry):
    path = write_edited(tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[entry]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RankingError, match=f"the file lacks '{entry}'"):
        Ranking.load(path)


@pytest.mark.parametrize("entry", module._TEACHER)
def test_a_missing_entry_of_a_teacher_is_named_with_its_row(tmp_path, entry):
    rows = make_ranking([0.5, 0.25]).to_json()["teachers"]
    del rows[1][entry]
    with pytest.raises(RankingError, match=f"teacher 2 lacks '{entry}'"):
        Ranking.load(write_edited(tmp_path, teachers=rows))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": 2}, "its format is 2, not 1"),
        ({"format": "1"}, "'format' of the file cannot be '1'"),
        ({"target": 3}, "'target' of the file cannot be 3"),
        ({"images": 3.5}, "'images' of the file"),
        ({"images": True}, "'images' of the file cannot be True"),
        ({"labels": 3}, "'labels' of the file"),
        ({"power": math.inf}, "'power' of the file cannot be inf"),
        ({"power": None}, "'power' of the file"),
        ({"teachers": {}}, "'teachers' of the file"),
        ({"teachers": [3]}, "teacher 1 is no JSON object"),
        ({"teachers": []}, "no teacher has a share above 0"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, changes, what):
    with pytest.raises(RankingError, match=what):
        Ranking.load(write_edited(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"share": -0.1}, "the share of 'b' is not a number of 0 or more"),
        ({"share": math.nan}, "'share' of teacher 2 cannot be nan"),
        ({"share": math.inf}, "'share' of teacher 2 cannot be inf"),
        ({"share": 10**400}, "too large"),
        ({"share": "1"}, "'share' of teacher 2 cannot be '1'"),
        ({"share": None}, "'share' of teacher 2 cannot be None"),
        ({"score": math.nan}, "'score' of teacher 2 cannot be nan"),
        ({"score": None}, "status of 'b' does not fit its score"),
        ({"status": "failed"}, "status of 'b' does not fit its score"),
        ({"status": "failed", "score": None}, "'b' has a share, but it failed"),
        ({"status": "fine"}, "neither 'ok' nor 'failed'"),
        ({"name": "a"}, "'a' is in it twice"),
        ({"name": 7}, "'name' of teacher 2 cannot be 7"),
    ],
)
def test_a_wrong_entry_of_a_teacher_is_named(tmp_path, changes, what):
    rows = make_ranking([0.5, 0.25]).to_json()["teachers"]
    rows[1] |= changes
    with pytest.raises(RankingError, match=what):
        Ranking.load(write_edited(tmp_path, teachers=rows))


def test_shares_that_are_all_zero_are_refused(tmp_path):
    rows = [row | {"share": 0} for row in make_ranking([0.5, 0.25]).to_json()["teachers"]]
    with pytest.raises(RankingError, match="no teacher has a share above 0"):
        Ranking.load(write_edited(tmp_path, teachers=rows))


def test_a_ranking_that_json_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        make_ranking([0.5], power=math.inf).save(tmp_path / "ranking.json")
    assert not list(tmp_path.iterdir())
