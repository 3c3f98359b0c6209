"""`zoo distill`: where the shares of the teachers come from."""

import json
from pathlib import Path

import pytest

from distill.student import load_network
from tests.support.toys import paint_folder
from tests.support.worlds import saved

KEYS = {"format", "method", "arch", "start", "updates", "seconds", "teachers", "labeled",
        "unlabeled", "objective", "soft_label_accuracy", "accuracy", "low", "high",
        "balanced_accuracy", "majority_class_accuracy",
        "student"}  # fmt: skip


def edit(changes, path="ranking.json"):
    document = json.loads(Path(path).read_text())
    for row in document["teachers"]:
        row["share"] = changes.get(row["name"], row["share"])
    Path(path).write_text(json.dumps(document))


def test_distill_goes_on_from_the_ranking_in_this_folder(ranked, distil, imgs):
    shares = {row["name"]: row["share"] for row in ranked()["teachers"]}
    shown = distil("--weighted", "--json").json
    assert shown.keys() == KEYS
    assert (shown["method"], shown["arch"], shown["updates"]) == ("weighted", "test_resnet", 2)
    assert (shown["labeled"], shown["unlabeled"]) == (12, 6)
    assert shown["teachers"] == pytest.approx(shares)
    assert 0 <= shown["soft_label_accuracy"] == saved()["soft_label_accuracy"] <= 1
    assert shown["accuracy"] is shown["low"] is shown["high"] is None
    assert shown["student"] == "student"
    assert shown["seconds"] >= 0
    assert load_network(Path("student"))[1] == ("blue", "green", "red")
    assert json.loads(Path("student/ranking.json").read_text())["target"] == str(imgs)


def test_weighted_is_what_happens_without_a_word(ranked, distil):
    ranked()
    assert distil("--json").json["method"] == "weighted"


def test_shares_written_by_hand_are_used(ranked, distil):
    ranked()
    edit({"ant": 1, "bee": 3})
    assert distil("--json").json["teachers"] == pytest.approx({"ant": 0.25, "bee": 0.75})
    edit({"ant": 0, "bee": 1})
    assert distil("--overwrite", "--json").json["teachers"] == {"bee": 1}


def test_the_ranking_remembers_where_everything_was(ranked, distil, tmp_path):
    more = paint_folder(tmp_path / "more", per_class=0, loose=5, seed=3)
    ranked("--unlabeled", more, "--labels-per-class", 2, "--seed", 4)
    ran = distil("--json")
    assert (ran.json["labeled"], ran.json["unlabeled"]) == (6, 17)
    assert "ranked first" not in ran.err


def test_the_ranking_remembers_the_label_file(ranked, distil, tmp_path):
    lines = ["path,label", *(f"{c}/{n}.png,is {c}" for c in ("red", "blue") for n in range(2))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    ranked("--labels", tmp_path / "labels.csv")
    assert distil("--json").json["labeled"] == 4
    assert load_network(Path("student"))[1] == ("is blue", "is red")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 99, "teachers": []}'])
def test_without_a_good_ranking_there_is_one_clear_line(distil, toy_zoo, content):
    if content:
        Path("ranking.json").write_text(content)
    line = distil("--weighted").mistake
    assert "ranking.json" in line
    assert "zoo rank" in line
    assert not Path("student").exists()


def test_a_ranking_without_shares_or_of_an_unknown_teacher_is_one_line(ranked, distil):
    ranked()
    edit({"ant": 0, "bee": 0})
    assert "no teacher has a share" in distil().mistake
    ranked()
    text = Path("ranking.json").read_text()
    Path("ranking.json").write_text(text.replace('"bee"', '"bea"'))
    assert "'bea'. Did you mean 'bee'?" in distil().mistake


def test_a_ranking_made_in_python_with_a_seed_of_its_labels_is_that_of_the_student(
    distil, imgs, toy_zoo
):
    from selection import rank_images
    from zoo import ImageSource, Runtime

    source = ImageSource(imgs, labels_per_class=2, seed=5)
    rank_images(source, runtime=Runtime(device="cpu", seed=1)).save(Path("ranking.json"))
    ran = distil()
    assert (ran.code, "were ranked first" in ran.err) == (0, False)


@pytest.mark.parametrize("change", [{"seed": -1}, {"labels_per_class": 0}], ids=str)
def test_a_ranking_with_impossible_numbers_is_one_line(ranked, distil, change):
    document = ranked("--labels-per-class", 2)
    Path("ranking.json").write_text(json.dumps({**document, **change}))
    assert next(iter(change)) in distil().mistake


def test_images_that_are_gone_are_one_line(ranked, distil, imgs):
    ranked()
    imgs.rename(imgs.with_name("moved"))
    assert "does not exist" in distil().mistake


def test_a_target_without_a_ranking_is_ranked_first(distil, imgs, toy_zoo):
    ran = distil("--target", imgs, "--json")
    assert set(ran.json["teachers"]) == {"ant", "bee"}
    assert "ranked first" in ran.err
    assert sorted(path.name for path in Path().iterdir()) == ["student"]


def test_the_ranking_of_other_images_is_neither_used_nor_overwritten(
    ranked, distil, tmp_path, imgs
):
    ranked()
    edit({"ant": 0, "bee": 1})
    before = Path("ranking.json").read_bytes()
    other = paint_folder(tmp_path / "other", per_class=3, seed=5)
    ran = distil("--target", other, "--json")
    assert "ranked first" in ran.err
    assert "ant" in ran.json["teachers"]
    assert json.loads(Path("student/ranking.json").read_text())["target"] == str(other)
    assert Path("ranking.json").read_bytes() == before


def test_the_ranking_of_the_same_target_is_used(ranked, distil, imgs):
    ranked()
    edit({"ant": 0, "bee": 1})
    ran = distil("--target", imgs, "--json")
    assert (ran.json["teachers"], ran.err) == ({"bee": 1}, "")


def test_images_that_changed_are_ranked_again(ranked, distil, imgs):
    ranked()
    edit({"ant": 0, "bee": 1})
    (imgs / "red" / "0.png").unlink()
    assert "ant" in distil("--json").json["teachers"]


def test_nearest_is_the_first_of_the_ranking_alone(ranked, distil):
    first = ranked()["teachers"][0]["name"]
    edit({"ant": 1, "bee": 1})
    shown = distil("--nearest", "--json").json
    assert (shown["method"], shown["teachers"]) == ("nearest", {first: 1})


def test_teachers_by_hand_share_as_told(distil, imgs, toy_zoo):
    shown = distil("--target", imgs, "--teacher", "ant=3", "--teacher", "bee=1", "--json").json
    assert (shown["method"], shown["teachers"]) == ("teachers", {"ant": 0.75, "bee": 0.25})
    shown = distil("--target", imgs, "--teacher", "bee", "--overwrite", "--json").json
    assert shown["teachers"] == {"bee": 1}


@pytest.mark.parametrize("entry", ["ant=x", "ant=", "ant=0", "ant=-1", "ant=nan", "ant=1e308"])
def test_a_share_that_is_no_number_above_zero_is_a_usage_error(distil, imgs, toy_zoo, entry):
    ran = distil("--target", imgs, "--teacher", entry)
    assert (ran.code, ran.out) == (2, "")
    assert entry in ran.err
    assert "NAME=SHARE" in ran.err


def test_a_teacher_named_twice_or_unknown_is_refused(distil, imgs, toy_zoo):
    ran = distil("--target", imgs, "--teacher", "ant=1", "--teacher", "ant=2")
    assert (ran.code, ran.out) == (2, "")
    assert "'ant' is named twice" in ran.err
    line = distil("--target", imgs, "--teacher", "bees=1").mistake
    assert "'bees'. Did you mean 'bee'?" in line


@pytest.mark.parametrize("baseline", ["transfer", "fixmatch"])
def test_a_baseline_has_no_teachers(distil, imgs, toy_zoo, baseline):
    shown = distil("--target", imgs, "--baseline", baseline, "--json").json
    assert (shown["method"], shown["teachers"]) == (baseline, {})
    assert saved()["recipe"]["fixmatch_weight"] == (1 if baseline == "fixmatch" else 0)
    assert not Path("student/ranking.json").exists()
    terms = json.loads(Path("student/metrics.jsonl").read_text().splitlines()[-1])
    assert ("fixmatch" in terms) == (baseline == "fixmatch")


def test_power_makes_other_shares_of_the_same_scores(ranked, distil):
    ranked()
    edit({"ant": 0, "bee": 1})
    equal = distil("--power", 0, "--json").json["teachers"]
    assert equal == {"ant": 0.5, "bee": 0.5}
    rows = ranked("--metric", "linear_probe")["teachers"]
    scores = {row["name"]: row["score"] for row in rows}
    shown = distil("--weighted", "--power", 2, "--overwrite", "--json").json["teachers"]
    total = sum(score**2 for score in scores.values())
    assert shown == pytest.approx({name: score**2 / total for name, score in scores.items()})
