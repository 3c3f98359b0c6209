"""`zoo distill`: every option, and what is left behind."""

import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import terminal
from distill import pipeline as pipeline_module
from distill.training import checkpoint
from tests.support.toys import COLORS, paint_folder
from tests.support.worlds import saved, snapshot, weights
from zoo.images.source import ImageSource
from zoo.system.runtime import Runtime
from zoo.teachers import catalogue as catalogue_module


def test_arch_and_image_size_reach_the_student(transfer):
    shown = transfer("--arch", "test_efficientnet", "--image-size", 40, "--json").json
    assert shown["arch"] == "test_efficientnet"
    config = json.loads(Path("student/config.json").read_text())
    assert config["architecture"] == "test_efficientnet"
    assert config["pretrained_cfg"]["input_size"] == [3, 40, 40]


def test_an_unknown_arch_is_one_line_with_close_ones(transfer):
    assert "test_resnet" in transfer("--arch", "test_resnett").mistake


def test_start_gives_the_initial_weights(transfer, tmp_path):
    assert "No initial weights for 'test_resnet'" in transfer("--start", "builtin").mistake
    transfer("--save", "giver", "--seed", 8)
    said = transfer("--save", "taker", "--start", "giver")
    transfer("--save", "plain")
    assert weights("taker") != weights("plain")
    start = saved("taker")["start"]
    known = hashlib.sha256(weights("giver")).hexdigest()
    assert (start["origin"], start["sha256"]) == ("the folder giver", known)
    assert f"Initial weights: the folder giver (SHA-256 {known[:12]})." in said.out
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


def test_seed_draws_the_labels_to_keep(ranked, distil, imgs):
    words = ("--labels-per-class", 2, "--seed", 1)
    ranked(*words)
    assert "ranked first" not in distil("--target", imgs, *words).err
    ran = distil("--target", imgs, *words[:2], "--seed", 0, "--overwrite")
    assert "ranked first" in ran.err


def test_test_measures_the_student_on_held_out_images(transfer, test_imgs, command):
    shown = transfer("--test", test_imgs, "--json").json
    measured = command("eval", "student", "--target", test_imgs, "--json").json
    assert (shown["accuracy"], shown["low"], shown["high"]) == pytest.approx(
        (measured["accuracy"], measured["low"], measured["high"]), abs=0.12
    )
    assert shown["low"] <= shown["accuracy"] <= shown["high"]
    assert saved()["evaluation"]["images"] == 9


def test_what_is_unusual_about_test_images_is_said_of_them(transfer, test_imgs):
    shutil.rmtree(test_imgs / "red")
    paint_folder(test_imgs, per_class=1, classes=("red",))
    told = [line for line in transfer("--test", test_imgs).err.splitlines() if "single" in line]
    assert told == [f"Test images: 1 of {len(COLORS)} classes have a single labeled image (red): "
                    "add more if you can."]  # fmt: skip


@pytest.mark.parametrize("held_out", [{"per_class": 1}, {"per_class": 4, "classes": ("red",)}])
def test_an_image_of_each_class_or_images_of_one_class_can_be_tested_on(
    transfer, tmp_path, held_out
):
    folder = paint_folder(tmp_path / "few", seed=7, **held_out)
    assert 0 <= transfer("--test", folder, "--json").json["accuracy"] <= 1


def test_a_folder_that_cannot_test_is_one_line_before_any_work(transfer, tmp_path):
    loose = paint_folder(tmp_path / "loose", per_class=0, loose=2)
    assert "no labeled image to test on" in transfer("--test", loose).mistake
    other = paint_folder(tmp_path / "other")
    (other / "red").rename(other / "rot")
    assert "the class 'rot'" in transfer("--test", other).mistake
    assert not Path("student").exists()


def test_device_is_used(transfer):
    assert "'cuda:99'" in transfer("--device", "cuda:99").mistake
    assert transfer("--device", "cpu").code == 0


def test_people_see_the_run_the_accuracy_and_the_folder(distil, imgs, test_imgs, toy_zoo):
    ran = distil("--target", imgs, "--teacher", "ant=3", "--teacher", "bee=1",
                 "--test", test_imgs, "--save", "[s] :cat:")  # fmt: skip
    assert "test_resnet, teachers, 2 updates" in ran.out
    assert "ant 75%, bee 25%" in ran.out
    assert "Accuracy " in ran.out
    assert "Student: [s] :cat:" in ran.out


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
    other = paint_folder(tmp_path / "other")
    before = snapshot(tmp_path)
    assert "inside the image folder" in transfer("--save", imgs / "student").mistake
    assert "inside the image folder" in transfer("--save", imgs, "--overwrite").mistake
    assert "no student" in transfer("--save", other, "--overwrite").mistake
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
    from zoo.teachers import catalogue

    ranked()
    shutil.copytree(catalogue.BUILTIN, tmp_path / "lame")
    (tmp_path / "lame/ant/model.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(catalogue_module, "BUILTIN", tmp_path / "lame")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "empty"))
    assert "'ant' cannot be used" in distil().mistake
    assert not Path("student").exists()


def interrupt(monkeypatch, at):
    """Ctrl-C at this update of the training."""

    def bars(what):
        def progress(done, total):
            if what.startswith("training") and done == at:
                raise KeyboardInterrupt

        return progress

    @contextmanager
    def runtime(device="auto", seed=0):
        yield Runtime(device=device, seed=seed, progress=bars, warn=terminal.note)

    monkeypatch.setattr(terminal, "runtime", runtime)


def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(
    distil, imgs, toy_zoo, monkeypatch, cache
):
    words = ("--target", imgs, "--teacher", "ant", "--updates", 4)
    distil(*words, "--save", "whole")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
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
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    ran = transfer("--json")
    assert ran.json["updates"] == 2
    assert "could not be written" in ran.err


def test_a_folder_that_cannot_be_written_is_one_line(transfer, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in transfer("--save", tmp_path / "file").mistake
    assert "could not be saved" in transfer("--save", tmp_path / "file" / "s").mistake


def test_a_size_that_the_arch_does_not_take_is_one_line_before_any_work(distil, imgs, toy_zoo):
    words = ("--target", imgs, "--arch", "levit_128s", "--image-size", 50)
    for more in ((), ("--dry-run",)):
        assert "try --image-size 64" in distil(*words, *more).mistake
    assert not Path("student").exists()


def test_a_student_that_came_meanwhile_is_not_replaced(transfer, monkeypatch):
    from distill import pipeline

    def slow(*given, _teach=pipeline.train_student, **options):
        trained = _teach(*given, **options)
        Path("student").mkdir()
        Path("student/model.safetensors").write_text("of another run")
        return trained

    with monkeypatch.context() as patch:
        patch.setattr(pipeline_module, "train_student", slow)
        assert "is not empty" in transfer().mistake
    assert Path("student/model.safetensors").read_text() == "of another run"


def test_the_report_tests_what_is_saved(transfer, command, test_imgs):
    transfer("--test", test_imgs)
    told = saved()["evaluation"]
    again = command("eval", "student", "--target", test_imgs, "--json").json
    assert again["calibration"] == told["calibration"]


def test_testing_on_images_that_teach_is_told_in_the_report(transfer, imgs):
    transfer("--test", imgs)
    assert any("12 of 12 test images are labeled training" in text for text in saved()["notes"])
    card = (Path("student") / "README.md").read_text()
    assert "12 of 12 test images are labeled training images too" in card


@pytest.mark.parametrize("option", ["--test", "--unlabeled"])
def test_a_folder_that_is_not_there_is_refused_before_any_image_is_read(
    transfer, monkeypatch, option
):
    monkeypatch.setattr(ImageSource, "read", None)
    assert "The image folder nowhere does not exist" in transfer(option, "nowhere").mistake
