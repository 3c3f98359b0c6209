"""`zoo distill`: where the shares come from, every option, and what is left behind."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import paint_folder, snapshot

from distill.student import load_network

KEYS = {"format", "method", "arch", "updates", "seconds", "teachers", "labeled", "unlabeled",
        "accuracy", "low", "high", "student"}  # fmt: skip


@pytest.fixture
def transfer(distil, imgs, toy_zoo):
    """Without teachers: the quickest run."""
    return lambda *words: distil("--target", imgs, "--baseline", "transfer", *words)


@pytest.fixture
def ranked(command, imgs, toy_zoo):
    """A ranking of the images in ./ranking.json."""

    def rank(*words):
        return command("rank", "--target", imgs, "--json", *words).json

    return rank


def saved(name="student"):
    return json.loads((Path(name) / "report.json").read_text())


def weights(name="student"):
    return Path(name, "model.safetensors").read_bytes()


def edit(changes, path="ranking.json"):
    document = json.loads(Path(path).read_text())
    for row in document["teachers"]:
        row["share"] = changes[row["name"]]
    Path(path).write_text(json.dumps(document))


# where the shares come from


def test_distill_goes_on_from_the_ranking_in_this_folder(ranked, distil, imgs):
    shares = {row["name"]: row["share"] for row in ranked()["teachers"]}
    shown = distil("--weighted", "--json").json
    assert shown.keys() == KEYS
    assert (shown["method"], shown["arch"], shown["updates"]) == ("weighted", "test_resnet", 2)
    assert (shown["labeled"], shown["unlabeled"]) == (12, 6)
    assert shown["teachers"] == pytest.approx(shares)
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


# methods


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


@pytest.mark.parametrize("entry", ["ant=x", "ant=", "ant=0", "ant=-1", "ant=nan", "ant=inf"])
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
    assert saved()["recipe"]["consistency"] == (1 if baseline == "fixmatch" else 0)
    assert not Path("student/ranking.json").exists()
    terms = json.loads(Path("student/metrics.jsonl").read_text().splitlines()[-1])
    assert ("consistency" in terms) == (baseline == "fixmatch")


def test_power_makes_other_shares_of_the_same_scores(ranked, distil):
    ranked()
    edit({"ant": 0, "bee": 1})
    equal = distil("--power", 0, "--json").json["teachers"]
    assert equal == {"ant": 0.5, "bee": 0.5}
    scores = {row["name"]: row["score"] for row in ranked()["teachers"]}
    shown = distil("--weighted", "--power", 2, "--overwrite", "--json").json["teachers"]
    total = sum(score**2 for score in scores.values())
    assert shown == pytest.approx({name: score**2 / total for name, score in scores.items()})


# the other options


def test_arch_and_image_size_reach_the_student(transfer):
    shown = transfer("--arch", "test_efficientnet", "--image-size", 40, "--json").json
    assert shown["arch"] == "test_efficientnet"
    config = json.loads(Path("student/config.json").read_text())
    assert config["architecture"] == "test_efficientnet"
    assert config["pretrained_cfg"]["input_size"] == [3, 40, 40]


def test_an_unknown_arch_is_one_line_with_close_ones(transfer):
    assert "test_resnet" in transfer("--arch", "test_resnett").mistake


def test_start_gives_the_initial_weights(transfer, tmp_path):
    assert "No initial weights" in transfer("--start", "builtin").mistake
    transfer("--save", "giver", "--seed", 8)
    transfer("--save", "taker", "--start", "giver")
    transfer("--save", "plain")
    assert weights("taker") != weights("plain")
    assert saved("taker")["start"] == "giver"
    assert "nowhere" in transfer("--start", tmp_path / "nowhere").mistake


def test_updates_seed_and_flip_are_the_numbers_of_the_run(transfer):
    shown = transfer("--updates", 3, "--seed", 5, "--flip", "--json").json
    assert shown["updates"] == 3
    recipe = saved()["recipe"]
    assert (recipe["updates"], recipe["seed"], recipe["flip"]) == (3, 5, True)
    transfer("--overwrite")
    recipe = saved()["recipe"]
    assert (recipe["updates"], recipe["seed"], recipe["flip"]) == (2, 0, False)


def test_seed_makes_another_student_and_no_seed_the_same(transfer):
    for name, words in {"one": (), "same": (), "other": ("--seed", 1)}.items():
        transfer("--save", name, *words)
    assert weights("one") == weights("same") != weights("other")


def test_unlabeled_labels_and_labels_per_class_describe_the_images(transfer, tmp_path):
    more = paint_folder(tmp_path / "more", per_class=1, loose=2, seed=6)
    shown = transfer("--unlabeled", more, "--json").json
    assert (shown["labeled"], shown["unlabeled"]) == (12, 11)
    shown = transfer("--labels-per-class", 2, "--overwrite", "--json").json
    assert (shown["labeled"], shown["unlabeled"]) == (6, 12)
    lines = ["path,label", *(f"{c}/{n}.png,{c}" for c in ("red", "blue") for n in range(4))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    shown = transfer("--labels", tmp_path / "labels.csv", "--overwrite", "--json").json
    assert (shown["labeled"], shown["unlabeled"]) == (8, 10)


def test_seed_draws_the_labels_to_keep(transfer):
    for seed in (0, 1):
        transfer("--labels-per-class", 2, "--seed", seed, "--save", f"s{seed}")
    assert weights("s0") != weights("s1")


def test_test_measures_the_student_on_held_out_images(transfer, test_imgs, command):
    shown = transfer("--test", test_imgs, "--json").json
    measured = command("eval", "student", "--target", test_imgs, "--json").json
    assert (shown["accuracy"], shown["low"], shown["high"]) == pytest.approx(
        (measured["accuracy"], measured["low"], measured["high"]), abs=0.12
    )
    assert shown["low"] <= shown["accuracy"] <= shown["high"]
    assert saved()["evaluation"]["images"] == 9


def test_a_folder_that_cannot_test_is_one_line_before_any_work(transfer, tmp_path):
    loose = paint_folder(tmp_path / "loose", per_class=0, loose=2)
    assert "no labelled image to test on" in transfer("--test", loose).mistake
    other = paint_folder(tmp_path / "other")
    (other / "red").rename(other / "rot")
    assert "the class 'rot'" in transfer("--test", other).mistake
    assert not Path("student").exists()


def test_device_is_used(transfer):
    assert "'nosuch'" in transfer("--device", "nosuch").mistake
    assert transfer("--device", "cpu").code == 0


def test_people_see_the_run_the_accuracy_and_the_folder(distil, imgs, test_imgs, toy_zoo):
    ran = distil("--target", imgs, "--teacher", "ant=3", "--teacher", "bee=1",
                 "--test", test_imgs, "--save", "[s] :cat:")  # fmt: skip
    assert "test_resnet, teachers, 2 updates" in ran.out
    assert "ant 75%, bee 25%" in ran.out
    assert "Accuracy " in ran.out
    assert "The student is in [s] :cat:." in ran.out


# what is left behind


def test_save_says_where_and_overwrite_allows_it_again(transfer):
    transfer("--save", "mine")
    assert sorted(path.name for path in Path().iterdir()) == ["mine"]
    first = weights("mine")
    Path("mine/notes.txt").write_text("of mine")
    assert "not empty" in transfer("--save", "mine", "--seed", 3).mistake
    assert weights("mine") == first
    assert transfer("--save", "mine", "--seed", 3, "--overwrite").code == 0
    assert weights("mine") != first
    assert Path("mine/notes.txt").read_text() == "of mine"


def test_a_student_is_never_saved_among_images(transfer, imgs, tmp_path, test_imgs):
    more = paint_folder(tmp_path / "more", per_class=0, loose=2)
    before = snapshot(tmp_path)
    assert "inside the image folder" in transfer("--save", imgs / "student").mistake
    assert "inside the image folder" in transfer("--save", imgs, "--overwrite").mistake
    assert "inside" in transfer("--unlabeled", more, "--save", more / "s").mistake
    assert "inside" in transfer("--test", test_imgs, "--save", test_imgs / "s").mistake
    assert snapshot(tmp_path) == before


def test_the_image_folders_stay_untouched_by_everything(
    command, distil, imgs, test_imgs, toy_zoo, cache
):
    before = snapshot(imgs), snapshot(test_imgs)
    for ran in (
        command("rank", "--target", imgs),
        distil("--test", test_imgs),
        command("eval", "student", "--target", test_imgs),
        command("predict", "student", imgs),
    ):
        assert ran.code == 0, ran.err
    assert (snapshot(imgs), snapshot(test_imgs)) == before
    assert not list(cache.rglob("*.part"))


def test_unreadable_images_are_named_on_stderr(transfer, imgs):
    (imgs / "red" / "broken.png").write_bytes(b"no image")
    ran = transfer("--json")
    assert "broken.png" in ran.err
    assert ran.json["labeled"] == 12
    assert saved()["skipped"] == 1


def test_a_teacher_that_broke_after_the_ranking_is_one_line(ranked, distil, tmp_path, monkeypatch):
    import shutil

    from zoo import catalogue

    ranked()
    shutil.copytree(catalogue.BUILTIN, tmp_path / "lame")
    (tmp_path / "lame/ant/model.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr("zoo.catalogue.BUILTIN", tmp_path / "lame")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "empty"))
    assert "'ant' cannot teach" in distil().mistake
    assert not Path("student").exists()


def interrupt(monkeypatch, at):
    """Ctrl-C at this update of the training."""

    def bars(what):
        def progress(done, total):
            if what.startswith("training") and done == at:
                raise KeyboardInterrupt

        return progress

    @contextmanager
    def progress_bars():
        yield bars

    monkeypatch.setattr("cli.terminal.progress_bars", progress_bars)


def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(
    distil, imgs, toy_zoo, monkeypatch, cache
):
    words = ("--target", imgs, "--teacher", "ant", "--updates", 4)
    distil(*words, "--save", "whole")
    with monkeypatch.context() as patch:
        patch.setattr("distill.checkpoint.EVERY_SECONDS", 0.0)
        interrupt(patch, 3)
        ran = distil(*words)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.splitlines()[-1].startswith("Stopped. ")
    assert sorted(path.name for path in Path().iterdir()) == ["whole"]
    assert not list(cache.rglob("*.part"))
    (state,) = (cache / "runs").iterdir()
    assert distil(*words).code == 0
    assert weights() == weights("whole")
    assert not state.exists()


def test_a_cache_that_cannot_be_written_is_a_note(transfer, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("distill.checkpoint.EVERY_SECONDS", 0.0)
    ran = transfer("--json")
    assert ran.json["updates"] == 2
    assert "could not be kept" in ran.err


def test_a_folder_that_cannot_be_written_is_one_line(transfer, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in transfer("--save", tmp_path / "file").mistake
    assert "could not be saved" in transfer("--save", tmp_path / "file" / "s").mistake
