"""`zoo rank`: its document, its options, its mistakes."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from cli import terminal
from selection import METRIC, METRICS, POWER
from tests.support.toys import paint_folder
from tests.support.worlds import snapshot
from zoo.teachers import catalogue

KEYS = {
    "warnings",
    "explanation",
    "format",
    "target",
    "metric",
    "images",
    "labeled",
    "classes",
    "teachers",
}
ROW = {"name", "domain", "score", "low", "high", "share", "status", "reason"} | {
    "chance",
    "rank",
    "scores",
}


@pytest.fixture
def rank(command, imgs, toy_zoo):
    return lambda *words: command("rank", "--target", imgs, *words)


def test_rank_prints_the_document_that_it_saves(rank, imgs):
    shown = rank("--json").json
    assert shown.keys() >= KEYS
    assert shown["target"] == str(imgs)
    assert (shown["images"], shown["labeled"], shown["classes"]) == (18, 12, 3)
    assert shown["metric"] == METRIC
    assert all(row.keys() == ROW for row in shown["teachers"])
    domains = {row["name"]: row["domain"] for row in shown["teachers"]}
    assert domains == {"ant": "ants", "bee": "bees"}
    scores = [row["score"] for row in shown["teachers"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(row["share"] for row in shown["teachers"]) == pytest.approx(1)
    assert json.loads(Path("ranking.json").read_text(encoding="utf-8")) == shown


def test_rank_shows_people_a_table_and_where_it_is_saved(rank):
    ran = rank()
    assert ran.code == 0
    assert set(METRIC.split(",")) <= {*ran.out.split()}
    assert "12 labeled of 18 images, 3 classes; 36 forward passes" in ran.out
    assert "Permutation baseline (5 % of rankings, all teachers together): " in ran.out
    assert "mean rank over linear_probe, cka and hscore; shares: by linear_probe" in " ".join(
        ran.out.split()
    )
    assert "ranking.json" in ran.out


def test_a_second_ranking_asks_no_teacher(rank):
    assert rank("--json").json["forward_passes"] == 36
    assert rank("--json").json["forward_passes"] == 0


def test_a_second_ranking_does_without_torch(rank, monkeypatch):
    rank()
    for slow in ("torch", "timm", "zoo.system.devices", "zoo.features.inference"):
        monkeypatch.setitem(sys.modules, slow, None)
    assert rank("--json").json["forward_passes"] == 0


def test_images_that_are_not_there_are_one_line(command, tmp_path, toy_zoo):
    assert "does not exist" in command("rank", "--target", tmp_path / "no").mistake
    (tmp_path / "empty").mkdir()
    assert "No readable image" in command("rank", "--target", tmp_path / "empty").mistake


def test_save_says_where(rank, tmp_path):
    rank("--save", tmp_path / "mine.json")
    assert json.loads((tmp_path / "mine.json").read_text())["metric"] == METRIC
    assert not list((tmp_path / "here").iterdir())


def test_a_mistyped_metric_is_a_mistake_that_names_the_close_one(rank):
    ran = rank("--metric", "linear_prob")
    assert ran.code == 2
    assert "Did you mean linear_probe?" in " ".join(ran.err.split())


def test_a_cache_among_the_images_is_refused(rank, imgs, monkeypatch):
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(imgs / "cache"))
    before = snapshot(imgs)
    assert "set SOURCE_ZOO_CACHE to another folder" in rank().mistake
    assert snapshot(imgs) == before


def test_what_to_run_next_names_a_ranking_that_lies_elsewhere(rank, tmp_path):
    assert "then run `zoo distill`." in rank().out
    elsewhere = tmp_path / "here" / "mine.json"
    assert f"`zoo distill --ranking {elsewhere}`" in rank("--save", elsewhere).out.replace(
        "\n", " "
    )


def test_a_ranking_that_cannot_be_saved_is_one_line(rank, tmp_path):
    assert "nowhere" in rank("--save", tmp_path / "nowhere" / "r.json").mistake


def test_a_ranking_is_never_saved_among_the_images(rank, imgs, tmp_path):
    more = paint_folder(tmp_path / "more", per_class=0, loose=2)
    before = snapshot(tmp_path)
    for place in (imgs / "r.json", imgs / "red" / "r.json", tmp_path / "here/../imgs/r.json"):
        assert "inside the image folder" in rank("--save", place).mistake
    assert "inside" in rank("--unlabeled", more, "--save", more / "r.json").mistake
    assert snapshot(tmp_path) == before


def test_unlabeled_adds_images_without_labels(rank, tmp_path):
    more = paint_folder(tmp_path / "more", per_class=2, loose=1, seed=4)
    shown = rank("--unlabeled", more, "--json").json
    assert (shown["images"], shown["labeled"]) == (25, 12)
    assert shown["unlabeled"] == str(more)


def test_labels_replaces_the_folders(rank, tmp_path):
    lines = ["path,label"]
    lines += [f"{c}/{n}.png,{'cold' if c == 'blue' else 'other'}" for c in ("blue", "red")
              for n in range(3)]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    shown = rank("--labels", tmp_path / "labels.csv", "--json").json
    assert (shown["images"], shown["labeled"], shown["classes"]) == (18, 6, 2)
    assert shown["labels"] == str(tmp_path / "labels.csv")


@pytest.mark.parametrize("metric", METRICS)
def test_metric_chooses_the_score(rank, metric):
    shown = rank("--metric", metric, "--json").json
    scores = {row["name"]: row["score"] for row in shown["teachers"]}
    usual = {row["name"]: row["score"] for row in rank("--json").json["teachers"]}
    assert shown["metric"] == metric
    if metric in METRIC.split(","):
        assert (scores == usual) == METRIC.startswith(metric)


def test_the_old_name_of_the_linear_probe_is_accepted(rank):
    shown = rank("--metric", "probe", "--json").json
    assert shown == rank("--metric", "linear_probe", "--json").json | {"forward_passes": 36}


def test_several_metrics_stand_side_by_side(rank):
    ran = rank("--metric", "knn,parc")
    assert ran.code == 0
    assert {"knn", "parc"} <= {*ran.out.split()}
    row = rank("--metric", "knn,parc", "--json").json["teachers"][0]
    assert row["scores"].keys() == {"knn", "parc"}
    assert row["score"] == row["scores"]["knn"]


def test_probe_says_how_many_unlabeled_images_are_shown(rank):
    assert rank("--probe", 2, "--json").json["forward_passes"] == 28
    assert rank("--probe", 6, "--json").json["forward_passes"] == 8


def test_power_turns_scores_into_shares(rank):
    def shares(*words):
        teachers = rank(*words, "--json").json["teachers"]
        evidence = [row["score"] * row["scores"]["hscore"] ** 0.5 for row in teachers]
        return evidence, [row["share"] for row in teachers]

    for power in (0, 1, 30):
        scores, got = shares("--power", power)
        expected = [score**power / sum(s**power for s in scores) for score in scores]
        assert got == pytest.approx(expected)
    assert shares() == shares("--power", POWER)


def test_controls_stand_among_the_teachers_without_a_place_or_share(command, imgs, toy_zoo):
    from zoo.features.controls import NAMES

    pytest.MonkeyPatch().undo()
    shown = command("rank", "--target", imgs, "--json").json
    assert {row["name"] for row in shown["teachers"]} == {"ant", "bee"}
    assert len(NAMES) == 3


def test_labels_per_class_hides_the_other_labels(rank):
    shown = rank("--labels-per-class", 2, "--json").json
    assert (shown["images"], shown["labeled"], shown["labels_per_class"]) == (18, 6, 2)
    assert "fewer than the 9" in rank("--labels-per-class", 9).mistake


def test_seed_draws_other_labels_and_other_resamples(rank):
    def ranking(seed, *words):
        return rank("--seed", seed, *words, "--json").json

    one, other = ranking(0, "--labels-per-class", 2), ranking(1, "--labels-per-class", 2)
    assert one["digest"] != other["digest"]
    assert (one["seed"], other["seed"]) == (0, 1)
    lows = [ranking(seed, "--metric", "parc")["teachers"][0]["low"] for seed in (0, 1, 1)]
    assert lows[0] != lows[1] == lows[2]


def test_device_is_used(rank):
    assert "'cuda:99' cannot be used" in rank("--device", "cuda:99").mistake
    assert rank("--device", "cpu").code == 0
    assert "'nosuch'" in rank("--device", "nosuch").err  # even when nobody has to be asked


def test_unreadable_images_are_named_on_stderr(rank, imgs):
    (imgs / "red" / "broken.png").write_bytes(b"no image")
    ran = rank("--json")
    assert ran.json["images"] == 18
    assert "broken.png" in ran.err
    assert "1 unreadable image" in ran.err


def test_lonely_classes_are_named_on_stderr(rank, imgs):
    for number in (1, 2, 3):
        (imgs / "red" / f"{number}.png").unlink()
    ran = rank()
    assert ran.code == 0
    assert "1 of 3 classes have a single labeled image (red)" in ran.err


@pytest.fixture
def lame_zoo(toy_zoo, tmp_path, monkeypatch):
    """The toy zoo, its ant damaged."""
    shutil.copytree(toy_zoo[0].folder.parent, tmp_path / "lame")
    (tmp_path / "lame/ant/model.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path / "lame")


def test_a_teacher_that_fails_is_a_row_with_its_reason(rank, lame_zoo):
    bee, ant = rank("--json").json["teachers"]
    assert (bee["name"], bee["status"], bee["share"]) == ("bee", "ok", 1)
    assert (ant["name"], ant["status"], ant["share"]) == ("ant", "failed", 0)
    assert ant["score"] is ant["low"] is ant["high"] is None
    assert "not the file of its card" in ant["reason"]
    shown = rank().out
    assert f"ant failed: {ant['reason']}" in shown
    assert "failed" in next(line for line in shown.splitlines() if "ants" in line)


def test_one_line_if_every_teacher_fails(rank, lame_zoo, tmp_path):
    (tmp_path / "lame/bee/model.safetensors").unlink()
    assert "No teacher could be ranked" in rank().mistake
    assert not (tmp_path / "here/ranking.json").exists()


def test_a_teacher_that_failed_does_not_teach(rank, lame_zoo, distil):
    rank()
    assert distil("--json").json["teachers"] == {"bee": 1.0}


def test_a_cache_that_cannot_be_written_is_a_note(rank, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "file"))
    ran = rank("--json")
    assert ran.json["forward_passes"] == 36
    assert "could not be saved" in ran.err


@pytest.mark.parametrize("option", ["--save", "--report"])
def test_a_file_that_is_not_ours_is_not_replaced(rank, option, tmp_path):
    precious = tmp_path / "precious.html"
    precious.write_text('{"my": "precious"}')
    assert "of source-zoo: move it away or choose another" in rank(option, precious).mistake
    assert precious.read_text() == '{"my": "precious"}'
    own = tmp_path / "own.html"
    assert [rank(option, own).code for _ in range(2)] == [0, 0]
    own.write_text(own.read_text().replace("0.", "?"))
    assert rank(option, own).code == 0


def test_the_ranking_and_its_page_are_two_files(rank):
    ran = rank("--save", "one", "--report", "./one")
    assert (ran.code, "name two" in ran.err) == (2, True)
    assert not Path("one").exists()


def test_a_metric_that_is_named_twice_is_a_usage_error(rank):
    ran = rank("--metric", "knn,parc, knn")
    assert (ran.code, "'knn' is named twice" in ran.err) == (2, True)


def test_a_narrow_terminal_cuts_no_number(rank, monkeypatch):
    wide = rank("--metric", "parc,knn,logme").out
    monkeypatch.setattr(terminal.out, "_width", 40)
    narrow = rank("--metric", "parc,knn,logme").out
    numbers = [sorted(re.findall(r"-?\d+\.\d+", text)) for text in (wide, narrow)]
    assert numbers[0] == numbers[1]


def test_a_ranking_without_labels_has_no_empty_columns(rank):
    blind, seeing = rank("--metric", "clusters").out, rank("--metric", "knn").out
    assert "interval" in seeing
    assert "interval" not in blind
