"""The ranking as a file that people may edit."""

import json
import math
from dataclasses import fields, replace

import pytest

from selection import ranking as module
from selection.ranking import RankedTeacher, Ranking
from selection.scoring import rank
from tests.selection.test_ranking import LABELS, make_ranking, make_zoo
from zoo.errors import RankingError


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
    assert document["format"] == 2
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
            "place": None,
            "scores": {},
        }
    ]
    words = {"notes", "reading"}
    assert document.keys() == {"format", *(field.name for field in fields(Ranking)), *words}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_every_entry_is_checked_when_a_file_is_read():
    entries = {field.name for field in fields(Ranking)} - {"teachers"}
    assert module._RANKING.keys() == entries
    assert module._TEACHER.keys() == {field.name for field in fields(RankedTeacher)}


def test_shares_edited_by_hand_are_honored(tmp_path):
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
    ["", "{", "[]", "3", '"a"', "null", "{}", '{"format": 2}', "[" * 100_000, "1" * 5000, "\udcff"],
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
        ({"format": 1}, "its format is 1, not 2"),
        ({"format": "1"}, "'format' of the file cannot be '1'"),
        ({"zoo": None}, "'zoo' of the file cannot be None"),
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
        ({"status": "failed", "score": None}, "'b' has a share, but its status is 'failed'"),
        ({"status": "fine"}, "is not 'ok', 'failed' or 'control'"),
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
