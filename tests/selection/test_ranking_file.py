"""The ranking as a file that people may edit."""

import json
import math
import os
from dataclasses import fields, replace

import pytest

from selection import RankedTeacher, Ranking, rank
from tests.support.scoring_tasks import LABELS, make_ranking, make_zoo
from zoo.errors import RankingError

ENTRIES = {field.name for field in fields(Ranking)} - {"teachers", "most_frequent", "labels_seed"}
ENTRIES_OF_A_TEACHER = {field.name for field in fields(RankedTeacher)}


def write_edited(folder, **changes):
    document = make_ranking([0.5, 0.25]).to_json() | changes
    path = folder / "ranking.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_ranking_comes_back_from_its_file(tmp_path):
    ranking = replace(
        rank(make_zoo(), LABELS, failures={"lost": "no «file»"}, domains={"near": "Vögel"}),
        target="imgs",
        zoo="builtin,my-zoo",
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
    assert list(document)[:8] == [
        "format",
        "target",
        "zoo",
        "metric",
        "images",
        "labeled",
        "classes",
        "teachers",
    ]
    assert document["format"] == 3
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
            "chance": None,
            "rank": None,
            "scores": {},
        }
    ]
    sentences = {"warnings", "explanation"}
    assert document.keys() == {"format", *(field.name for field in fields(Ranking)), *sentences}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_shares_edited_by_hand_are_honored(tmp_path):
    make_ranking([0.5, 0.25]).save(tmp_path / "ranking.json")
    text = (tmp_path / "ranking.json").read_text(encoding="utf-8")
    edited = text.replace('"share": 1.0', '"share": 9', 1)
    (tmp_path / "ranking.json").write_text(edited, encoding="utf-8")
    weights = Ranking.load(tmp_path / "ranking.json").weights()
    assert weights == pytest.approx({"a": 0.9, "b": 0.1})


def test_a_ranking_of_version_0_1_is_read_with_the_names_of_today(tmp_path):
    near, control, far = (
        {"name": name, "domain": "", "score": score, "low": score, "high": score, "share": share,
         "status": status, "reason": reason, "chance": 0.4, "place": place,
         "scores": {"probe": score, "logme": -0.5}}
        for name, score, share, status, reason, place in (
            ("near", 1.0, 1.0, "ok", "", 1),
            ("noise", 0.75, 0.0, "control", "", None),
            ("far", 0.25, 0.0, "ok", "clearly worse than a control", 2),
        )
    )  # fmt: skip
    document = {
        "format": 2, "target": "imgs", "zoo": "builtin", "metric": "probe,logme", "images": 40,
        "labeled": 40, "classes": 4, "teachers": [near, control, far], "unlabeled": None,
        "labels": None, "labels_per_class": None, "seed": 0, "digest": "ab", "power": 4.0,
        "forward_passes": 9, "notes": ["old"], "reading": ["Teachers of one place are alike."],
    }  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(document), encoding="utf-8")
    ranking = Ranking.load(tmp_path / "old.json")
    assert ranking.metric == "linear_probe,logme"
    assert [row.rank for row in ranking.teachers] == [1, None, 2]
    assert ranking.teachers[2].scores == {"linear_probe": 0.25, "logme": -0.5}
    assert ranking.teachers[2].reason == "significantly worse than a control"
    assert ranking.weights(2.0) == {"near": 1.0}
    ranking.save(tmp_path / "new.json")
    assert Ranking.load(tmp_path / "new.json") == ranking
    saved = json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
    assert saved["format"] == 3
    assert not saved.keys() & {"notes", "reading"}


def test_folders_whose_names_are_no_text_are_read(tmp_path):
    folders = dict.fromkeys(("target", "unlabeled", "labels", "zoo"), "im\udcffgs")
    ranking = Ranking.load(write_edited(tmp_path, **folders))
    assert {getattr(ranking, name) for name in folders} == {"im\udcffgs"}
    with pytest.raises(RankingError, match="target: expected text of whole characters"):
        Ranking.load(write_edited(tmp_path, target="\ud800"))


def test_entries_that_people_added_are_ignored(tmp_path):
    assert Ranking.load(write_edited(tmp_path, why="birds look odd")) == make_ranking([0.5, 0.25])


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(RankingError, match=r"nope\.json does not exist\. .*zoo rank --target"):
        Ranking.load(tmp_path / "nope.json")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '"a"', "null", "{}", '{"format": 2}', "[" * 100_000, "1" * 5000, "\udcff"],
)
def test_a_file_that_is_no_ranking_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "ranking.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RankingError, match=r"ranking\.json is not valid: .*zoo rank") as caught:
        Ranking.load(path)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(RankingError, match="cannot be read: Is a directory"):
        Ranking.load(tmp_path)


def test_a_pipe_and_a_very_large_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RankingError, match="not a regular file"):
        Ranking.load(tmp_path / "pipe.json")
    (tmp_path / "large.json").write_bytes(b" " * (17 << 20))
    with pytest.raises(RankingError, match="larger than 17 MB"):
        Ranking.load(tmp_path / "large.json")


@pytest.mark.parametrize("entry", ["format", "teachers", *sorted(ENTRIES)])
def test_a_missing_entry_is_named(tmp_path, entry):
    path = write_edited(tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    del document[entry]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RankingError, match=f" {entry}: missing"):
        Ranking.load(path)


@pytest.mark.parametrize("entry", sorted(ENTRIES_OF_A_TEACHER))
def test_a_missing_entry_of_a_teacher_is_named_with_its_row(tmp_path, entry):
    rows = make_ranking([0.5, 0.25]).to_json()["teachers"]
    del rows[1][entry]
    with pytest.raises(RankingError, match=rf"teachers\[1\]\.{entry}: missing"):
        Ranking.load(write_edited(tmp_path, teachers=rows))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": 1}, "format: expected a whole number between 2 and 3, found 1"),
        ({"format": "1"}, "format: expected a whole number between 2 and 3, found '1'"),
        ({"zoo": None}, "zoo: expected text, found None"),
        ({"target": 3}, "target: expected text, found 3"),
        ({"images": 3.5}, "images: expected a whole number of 0 or more, found 3.5"),
        ({"images": True}, "images: expected a whole number of 0 or more, found True"),
        ({"labels": 3}, "labels: expected text, found 3"),
        ({"power": math.inf}, "Infinity is not a number"),
        ({"power": None}, "power: expected a number of 0 or more, found None"),
        ({"teachers": {}}, "teachers: expected a list"),
        ({"teachers": [3]}, r"teachers\[0\]: expected an object, found 3"),
        ({"teachers": []}, "no teacher has a share above 0"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, changes, what):
    with pytest.raises(RankingError, match=what):
        Ranking.load(write_edited(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"share": -0.1}, "share: expected a number of 0 or more, found -0.1"),
        ({"share": math.nan}, "NaN is not a number"),
        ({"share": math.inf}, "Infinity is not a number"),
        ({"share": 10**400}, "share: expected a number of 0 or more, found 1000"),
        ({"share": "1"}, "share: expected a number of 0 or more, found '1'"),
        ({"share": None}, "share: expected a number of 0 or more, found None"),
        ({"score": math.nan}, "NaN is not a number"),
        ({"score": None}, "status of 'b' does not fit its score"),
        ({"status": "failed"}, "status of 'b' does not fit its score"),
        ({"status": "failed", "score": None}, "'b' has a share, but its status is 'failed'"),
        ({"status": "fine"}, "status: expected one of 'ok', 'failed', 'control', found 'fine'"),
        ({"name": "a"}, "'a' is in it twice"),
        ({"name": 7}, r"teachers\[1\]\.name: expected text, found 7"),
        ({"rank": 0}, r"teachers\[1\]\.rank: expected a whole number of 1 or more, found 0"),
        ({"scores": {"knn": "x"}}, r"teachers\[1\]\.scores\.knn: expected a number, found 'x'"),
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
