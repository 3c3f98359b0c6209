"""Reports, model cards, and where a student may be saved."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from distill.evaluation.metrics import Evaluation, compute_metrics
from distill.recipe import Recipe
from distill.report import student_folder as student_folder_module
from distill.report.model_card import model_card
from distill.report.report import Report
from distill.report.student_folder import check_folder, save_student
from distill.training.loop import Trained
from tests.support.worlds import snapshot
from zoo.errors import ImagesError, StudentError
from zoo.images.source import check_output
from zoo.teachers.card import Preprocessing, sha256_of
from zoo.teachers.starts import Start, find_start

LOOK = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
REPORT = Report(
    method="weighted",
    arch="test_resnet",
    start=find_start("random", "test_resnet"),
    target="/data/imgs",
    classes=("blue", "grün [x]"),
    labeled=8,
    unlabeled=90,
    skipped=1,
    teachers={"bee": 0.25, "ant": 0.75},
    objective="target",
    recipe=Recipe(updates=123),
    image_size=32,
    seconds=1.23456,
    student="student",
    evaluation=Evaluation(0.875, 0.5291, 0.9776, 8, {"blue": 1.0, "grün [x]": 0.75}),
    notes=("a warning",),
    soft_label_accuracy=0.75,
)


@pytest.fixture(scope="module")
def trained():
    with torch.random.fork_rng():
        network = timm.create_model("test_resnet", num_classes=2).eval()
    history = [{"update": 10, "rate": 0.1, "labels": 0.5}, {"update": 20, "rate": 0, "labels": 0.4}]
    return Trained(network, LOOK, history, 1.2)


def test_the_summary_has_the_numbers_of_the_run():
    assert REPORT.summary() == {
        "format": 1,
        "method": "weighted",
        "arch": "test_resnet",
        "start": REPORT.start.to_json(),
        "updates": 123,
        "seconds": 1.23,
        "teachers": {"bee": 0.25, "ant": 0.75},
        "objective": "target",
        "labeled": 8,
        "unlabeled": 90,
        "soft_label_accuracy": 0.75,
        "accuracy": 0.875,
        "low": 0.5291,
        "high": 0.9776,
        "balanced_accuracy": 0.0,
        "majority_class_accuracy": 0.0,
        "student": "student",
    }
    untested = replace(REPORT, evaluation=None).summary()
    assert untested["accuracy"] is untested["low"] is untested["high"] is None


def test_a_saved_student_is_a_folder_that_timm_loads(trained, tmp_path, toy_zoo):
    folder = tmp_path / "new" / "student"
    ranking = {"format": 1, "target": "ü"}
    save_student(trained, REPORT, folder, cards=toy_zoo, ranking=ranking)
    names = ["README.md", "config.json", "metrics.jsonl", "model.safetensors", "ranking.json",
             "report.html", "report.json"]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == names
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert network.pretrained_cfg["license"] == "mit"  # pyright: ignore
    assert json.loads((folder / "ranking.json").read_text(encoding="utf-8")) == ranking
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == trained.history


def test_the_report_is_json_with_everything_in_it(trained, tmp_path, toy_zoo):
    save_student(trained, REPORT, tmp_path / "s", cards=toy_zoo)

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "s/report.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=refuse)
    assert document["recipe"]["updates"] == 123
    assert document["classes"] == ["blue", "grün [x]"]
    assert document["evaluation"]["per_class"] == {"blue": 1.0, "grün [x]": 0.75}
    assert document["notes"] == ["a warning"]
    assert (document["skipped"], document["target"]) == (1, "/data/imgs")
    assert document["versions"]["timm"] == timm.__version__
    assert document["start"]["origin"] == "random"
    assert document["versions"].keys() == {"torch", "timm", "numpy", "source-zoo", "python"}


def test_the_model_card_names_every_teacher_with_share_source_and_licenses(toy_zoo):
    card = model_card(REPORT, toy_zoo)
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert rows[1] == "| ant | 75.0% | builtin:ant | mit | noise (CC0) |"
    assert rows[2] == "| bee | 25.0% | builtin:bee | mit | noise (CC0) |"
    assert "without teachers" not in card


def test_the_model_card_has_method_recipe_and_accuracy(toy_zoo):
    card = model_card(REPORT, toy_zoo)
    for text in (
        "license: mit",
        "library_name: timm",
        "pipeline_tag: image-classification",
        "# test_resnet for blue, grün \\[x\\]",
        "method `weighted` on 8 labeled and 90 unlabeled images in 123 updates at 32 px",
        "initial weights: random",
        "Cross-validated accuracy of the teachers' soft labels: 75.0% of 8 labeled images "
        "(95\u00a0% interval 40.9% to 92.9%).",
        "Accuracy on 8 held-out images: 87.5% (95 % interval 52.9% to 97.8%); balanced accuracy ",
        "The strictest license is mit (permissive), of bee.",
        'timm.create_model("local-dir:FOLDER", pretrained=True)',
    ):
        assert text in card
    assert card.startswith("---\n")


def test_the_model_card_and_the_report_state_the_initial_weights(toy_zoo):
    ant = toy_zoo[0]
    report = replace(REPORT, start=Start("a gift", ant), teachers={})
    card = model_card(report, ())
    assert f"initial weights: a gift (SHA-256 {ant.sha256[:12]})." in card
    assert "| mit | permissive | the initial weights |" in card
    assert "noise (data of the initial weights)" in card
    document = report.to_json()["start"]
    assert (document["origin"], document["sha256"]) == ("a gift", ant.sha256)
    assert (document["license"], document["data_license"]) == ("mit", "CC0")
    assert document["preprocessing"]["size"] == ant.input.size
    json.dumps(report.to_json())


def test_the_model_card_states_that_there_was_no_test_and_no_teacher():
    card = model_card(replace(REPORT, teachers={}, evaluation=None), ())
    assert "Trained without teachers." in card
    assert "Not evaluated on held-out images." in card
    assert "| teacher" not in card


def test_a_new_or_an_empty_folder_may_take_a_student(tmp_path):
    check_folder(tmp_path / "new", overwrite=False)
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", overwrite=False)
    assert not (tmp_path / "new").exists()


def test_the_folder_of_a_student_may_only_with_overwrite(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text('{"label_names": ["cat", "dog"]}')
    with pytest.raises(StudentError, match="not empty: pass --overwrite"):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["README.md", "config.json", "cat/1.jpg"])
def test_a_folder_of_something_else_never_may(tmp_path, name):
    (tmp_path / "x" / name).parent.mkdir(parents=True)
    (tmp_path / "x" / name).write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(StudentError, match="not empty, and no student: choose another"):
            check_folder(tmp_path / "x", overwrite=overwrite)


def test_a_file_or_a_place_among_images_never_may(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "imgs/red").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "imgs")
    with pytest.raises(StudentError, match="is a file"):
        check_folder(tmp_path / "file", overwrite=True)
    monkeypatch.chdir(tmp_path / "imgs")
    for place in (
        tmp_path / "imgs",
        tmp_path / "imgs/red/new",
        tmp_path / "other/../imgs/x",
        tmp_path / "link/x",
        Path("student"),
    ):
        with pytest.raises(ImagesError, match="inside the image folder"):
            check_output(place, [tmp_path / "more", tmp_path / "imgs"])
    check_output(tmp_path / "imgs-student", [tmp_path / "imgs"])


def test_saving_again_replaces_the_student_and_keeps_other_files(trained, tmp_path, toy_zoo):
    folder = tmp_path / "s"
    save_student(trained, REPORT, folder, cards=toy_zoo)
    (folder / "mine.txt").write_text("mine")
    save_student(trained, replace(REPORT, method="nearest"), folder, cards=toy_zoo)
    assert (folder / "mine.txt").read_text() == "mine"
    assert json.loads((folder / "report.json").read_text())["method"] == "nearest"
    assert not list(folder.glob("*.part"))


def test_saving_again_leaves_no_export_of_the_old_student(trained, tmp_path, toy_zoo):
    for name in ("model.onnx", "model.int8.onnx", "mine.onnx"):
        (tmp_path / name).write_text("of the old student")
    save_student(trained, REPORT, tmp_path, cards=toy_zoo)
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["mine.onnx"]


def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(trained, tmp_path):
    (tmp_path / "file").write_text("")
    before = snapshot(tmp_path)
    with pytest.raises(StudentError, match=r"could not be saved in .*file/s"):
        save_student(trained, replace(REPORT, teachers={}), tmp_path / "file/s")
    assert snapshot(tmp_path) == before


def test_the_page_beside_the_student_is_of_this_student(trained, tmp_path, toy_zoo):
    assert save_student(trained, REPORT, tmp_path / "s", cards=toy_zoo) == ""
    page = (tmp_path / "s/report.html").read_text(encoding="utf-8")
    assert "87.5%" in page
    assert sha256_of(tmp_path / "s/model.safetensors") in page


def test_a_page_that_cannot_be_drawn_loses_no_student(trained, tmp_path, toy_zoo, monkeypatch):
    folder = tmp_path / "s"
    save_student(trained, REPORT, folder, cards=toy_zoo)

    def fail(*_, **__):
        raise RuntimeError("no ink\nat all")

    monkeypatch.setattr(student_folder_module, "student_page", fail)
    warning = save_student(trained, replace(REPORT, method="nearest"), folder, cards=toy_zoo)
    assert (
        warning == f"{folder / 'report.html'} could not be written (no ink); the student is saved."
    )
    assert json.loads((folder / "report.json").read_text())["method"] == "nearest"
    assert not (folder / "report.html").exists()  # the old one is of another student


def test_a_matrix_is_a_line_a_row_and_names_stay_as_they_are(trained, tmp_path):
    names = ("[\n1, 2\n]", "[1, 2]")
    result = compute_metrics(np.eye(2, dtype=np.float32), np.array([0, 1]), names, [Path("x")] * 2)
    report = replace(REPORT, teachers={}, classes=names, evaluation=result)
    save_student(trained, report, tmp_path / "s")
    text = (tmp_path / "s/report.json").read_text(encoding="utf-8")
    assert "[1,0]" in text
    found = json.loads(text)
    assert (found["classes"], found["evaluation"]["confusion"]) == ([*names], [[1, 0], [0, 1]])


def test_a_folder_whose_name_is_no_utf8_can_be_reported(trained, tmp_path):
    report = replace(REPORT, teachers={}, target=os.fsdecode(b"/data/\xff"))
    assert save_student(trained, report, tmp_path / "s") == ""
    told = json.loads((tmp_path / "s/report.json").read_text())["target"]
    assert os.fsencode(told) == b"/data/\xff"


def test_a_student_whose_files_were_moved_in_part_may_be_replaced(
    trained, tmp_path, toy_zoo, monkeypatch
):
    folder, moved = tmp_path / "student", []
    replace_file = Path.replace

    def die_at_the_second(path, target):
        if Path(target).parent == folder:
            moved.append(Path(target).name)
            if len(moved) == 2:
                raise KeyboardInterrupt
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            save_student(trained, REPORT, folder, cards=toy_zoo)
    assert moved[0] == "config.json"
    check_folder(folder, overwrite=True)
