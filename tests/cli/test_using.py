"""`zoo eval` and `zoo predict`: students in use."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.evaluation import prediction
from distill.evaluation.evaluate import predict
from distill.evaluation.metrics import wilson
from distill.student import load_network
from tests.support.toys import COLORS, build_teacher, paint, paint_folder
from tests.support.worlds import snapshot
from zoo.images.folder import read_images
from zoo.system.tensors import read_tensors, write_tensors

STRANGE = ("[red]", ":cat: 🙂", 'it\'s "q" \\ ü')


@pytest.fixture
def student(tmp_path):
    """An untaught student of the three colors."""
    folder = tmp_path / "student"
    build_teacher(folder, "student", labels=tuple(COLORS), seed=4)
    return folder


@pytest.fixture
def strange(tmp_path):
    """A student and images whose classes have strange names."""
    build_teacher(tmp_path / "strange", "strange", labels=STRANGE, seed=4)
    for number, name in enumerate(STRANGE):
        for index in range(2):
            paint(tmp_path / "odd" / name / f"[b] {index}.png", (80 * number, 90, 60), seed=index)
    return tmp_path / "strange", tmp_path / "odd"


def test_eval_counts_what_predict_says(command, student, test_imgs):
    shown = command("eval", student, "--target", test_imgs, "--json").json
    assert list(shown)[:5] == ["accuracy", "low", "high", "images", "per_class"]
    assert list(shown)[5:10] == ["classes", "confusion", "by_class", "calibration", "mistakes"]
    assert list(shown)[10:] == ["balanced_accuracy", "majority_class_accuracy"]
    rows = command("predict", student, test_imgs, "--json").json
    hits = {
        name: [row["label"] == name for row in rows if Path(row["path"]).parent.name == name]
        for name in COLORS
    }
    assert shown["images"] == 9
    assert shown["per_class"] == pytest.approx({n: sum(h) / len(h) for n, h in hits.items()})
    total = sum(map(sum, hits.values()))
    assert shown["accuracy"] == pytest.approx(total / 9)
    assert (shown["low"], shown["high"]) == wilson(total, 9)


def test_eval_shows_people_every_class_and_the_accuracy(command, student, test_imgs):
    ran = command("eval", student, "--target", test_imgs)
    assert (ran.code, ran.err) == (0, "")
    assert all(name in ran.out for name in COLORS)
    assert "on 9 images (95 % interval" in ran.out


@pytest.mark.parametrize("words", [["eval"], ["export", "--overwrite"]], ids=" ".join)
def test_who_tests_on_images_that_taught_the_student_is_told(command, transfer, imgs, words):
    transfer()
    ran = command(words[0], "student", "--target", imgs, *words[1:])
    assert ran.code == 0
    assert "12 of 12 test images are labeled training images too, so the accuracy" in ran.err


def test_eval_takes_labels_from_a_file(command, student, test_imgs, tmp_path):
    lines = ["path,label", "red/0.png,blue", "red/1.png,red", "blue/0.png,blue"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    ran = command("eval", student, "--target", test_imgs, "--labels", tmp_path / "labels.csv",
                  "--json")  # fmt: skip
    assert ran.json["images"] == 3
    assert set(ran.json["per_class"]) == {"red", "blue"}


def test_eval_refuses_a_class_that_the_student_never_learned(command, student, test_imgs):
    (test_imgs / "red").rename(test_imgs / "pink")
    line = command("eval", student, "--target", test_imgs).mistake
    assert "the class 'pink', which the student was not trained on" in line
    assert "--ignore-unknown" in line
    assert command("eval", student, "--target", test_imgs, "--ignore-unknown").code == 0


def test_eval_refuses_images_without_labels(command, student, tmp_path):
    loose = paint_folder(tmp_path / "loose", per_class=0, loose=2)
    assert "no labeled image" in command("eval", student, "--target", loose).mistake


@pytest.mark.parametrize("words", [("eval", "--target"), ("predict",)], ids=" ".join)
def test_both_use_the_device_and_refuse_what_is_no_student(command, student, test_imgs, words):
    name, *rest = words
    tail = (*rest, test_imgs)
    assert "'cuda:99'" in command(name, student, *tail, "--device", "cuda:99").mistake
    assert command(name, student, *tail, "--device", "cpu").code == 0
    assert "Name a folder that `zoo distill` wrote" in command(name, "nowhere", *tail).mistake
    (student / "model.safetensors").write_bytes(b"damaged")
    assert "are damaged" in command(name, student, *tail).mistake


def test_predict_names_one_class_per_image_of_files_and_folders(command, student, imgs):
    single = imgs / "red" / "2.png"
    rows = command("predict", student, single, imgs / "blue", "--json").json
    assert [row["path"] for row in rows] == [
        str(single),
        *(str(imgs / "blue" / f"{number}.png") for number in range(4)),
    ]
    network, classes, look = load_network(student)
    images = read_images(imgs)
    expected = dict(zip(images.paths, predict(network, images, look), strict=True))
    for row in rows:
        assert list(row) == ["path", "label", "probability", "probabilities"]
        chances = expected[Path(row["path"])]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert next(iter(row["probabilities"])) == row["label"]
        assert row["label"] == classes[chances.argmax()]
        assert row["probability"] == pytest.approx(float(chances.max()), abs=0.02)


def test_predict_shows_people_three_columns_between_tabs(command, student, imgs):
    ran = command("predict", student, imgs / "loose0.png")
    (line,) = ran.out.splitlines()
    path, label, probability = line.split("\t")
    assert path == str(imgs / "loose0.png")
    assert label in COLORS
    assert 1 / 3 <= float(probability) <= 1


def test_predict_has_a_row_for_each_unreadable_image_and_then_exits_with_1(
    command, student, imgs, tmp_path
):
    broken = imgs / "red" / "broken.png"
    broken.write_bytes(b"no image")
    ran = command("predict", student, imgs, "--json")
    rows = json.loads(ran.out)
    assert (ran.code, len(rows)) == (1, 19)
    (bad,) = [row for row in rows if "error" in row]
    assert bad == {"path": str(broken), "error": "it is not an image"}
    assert ran.err.splitlines() == ["1 of 19 images could not be read."]
    text = command("predict", student, broken)
    assert (text.code, text.out) == (1, f"{broken}\tunreadable\tit is not an image\n")
    table = command("predict", student, broken, "--csv")
    assert table.out.splitlines()[1] == f"{broken},,,,,,it is not an image"
    assert "does not exist" in command("predict", student, tmp_path / "none").mistake
    (tmp_path / "empty").mkdir()
    assert "No image in" in command("predict", student, tmp_path / "empty").mistake


def test_predict_shows_so_many_classes_in_each_format(command, student, imgs):
    path = imgs / "loose0.png"
    (whole,) = command("predict", student, path, "--json").json
    likely = sorted(whole["probabilities"].items(), key=lambda item: -item[1])
    (row,) = command("predict", student, path, "--top", 2, "--json").json
    assert list(row["probabilities"].items()) == likely[:2]
    words = command("predict", student, path, "--top", 2).out.strip().split("\t")
    assert words[1::2] == [name for name, _ in likely[:2]]
    head, cells = csv.reader(
        command("predict", student, path, "--top", 5, "--csv").out.splitlines()
    )
    assert head == ["path", "label", "probability", "label 2", "probability 2", "label 3",
                    "probability 3", "error"]  # fmt: skip
    assert cells[1:6:2] == [name for name, _ in likely]


def test_predict_writes_a_table_with_a_probability_for_each_class(command, student, imgs):
    table = [*csv.DictReader(command("predict", student, imgs, "--csv").out.splitlines())]
    rows = command("predict", student, imgs, "--json").json
    for line, row in zip(table, rows, strict=True):
        assert (line["path"], line["label"], line["error"]) == (row["path"], row["label"], "")
        for name, part in row["probabilities"].items():
            assert float(line[f"p({name})"]) == pytest.approx(part, abs=1e-6)
    assert command("predict", student, imgs, "--csv", "--json").code == 2


def test_predict_reads_images_as_it_goes(student, imgs, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 4)
    found = prediction.predict_files(student, [imgs])
    assert found.count == 18
    rows = iter(found)
    first = [next(rows) for _ in range(4)]
    shutil.rmtree(imgs)  # what was not reached yet was not read
    assert [bool(row.error) for row in [*first, *rows]] == [False] * 4 + [True] * 14
    assert found.unreadable == 14


def test_a_distilled_student_tells_unknown_images(command, transfer, imgs, tmp_path):
    assert transfer().code == 0
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for number in range(4):
        stripes = np.zeros((20, 24, 3), np.uint8)
        stripes[:, :: number + 2] = 255
        Image.fromarray(stripes).save(foreign / f"{number}.png")
    rows = command("predict", "student", imgs / "red", foreign, "--unknown", "--json").json
    assert [row["unknown"] for row in rows] == [False] * 4 + [True] * 4
    lines = command("predict", "student", foreign, "--unknown").out.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["unknown"] * 4
    assert [line.split("\t")[2] for line in lines] == [
        f"distance {row['distance']:.2f}" for row in rows[4:]
    ]
    assert all((row["distance"] > 1) == row["unknown"] for row in rows)
    ran = command("predict", "student", foreign, "--unknown", "--top", 2)
    assert [len(line.split("\t")) for line in ran.out.splitlines()] == [7] * 4
    table = command("predict", "student", foreign, "--unknown", "--csv").out.splitlines()
    assert [row["unknown"] for row in csv.DictReader(table)] == ["true"] * 4
    assert all(float(row["distance"]) > 1 for row in csv.DictReader(table))
    plain = command("predict", "student", foreign, "--json").json
    assert all("unknown" not in row for row in plain)


def test_unknown_images_need_a_file_of_the_same_weights(command, transfer, student, imgs):
    assert "has no unknown.safetensors" in command("predict", student, imgs, "--unknown").mistake
    assert transfer().code == 0
    shutil.copy("student/unknown.safetensors", student)
    assert "belongs to other weights" in command("predict", student, imgs, "--unknown").mistake
    Path("student/unknown.safetensors").write_bytes(b"x")
    assert "cannot be read" in command("predict", "student", imgs, "--unknown").mistake


@pytest.mark.parametrize(
    ("rows", "threshold"), [(9, "nan"), (9, "inf"), (9, "-1"), (0, "1"), (1, "1"), (None, "1")]
)
def test_unknown_images_need_a_file_of_real_distances(command, transfer, imgs, rows, threshold):
    assert transfer().code == 0
    path = Path("student/unknown.safetensors")
    arrays, metadata = read_tensors(path, {})
    width = arrays["bank"].shape[1]
    bank = np.ones((rows or 9, width), np.float16)[: 9 if rows is None else rows]
    write_tensors(
        path, {"bank": bank * (1 if rows else np.inf)}, {**metadata, "threshold": threshold}
    )
    for form in ("--json", "--csv"):
        assert "cannot be read" in command("predict", "student", imgs, "--unknown", form).mistake


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_outputs_that_are_not_finite_are_one_line(command, student, imgs, form):
    config = json.loads((student / "config.json").read_text())
    config["pretrained_cfg"]["std"] = [1e-300] * 3
    (student / "config.json").write_text(json.dumps(config))
    for words in (("predict", student, imgs), ("eval", student, "--target", imgs)):
        ran = command(*words, *form)
        assert ran.code == 1
        assert "config.json" in ran.mistake


def test_a_path_that_no_file_can_have_is_one_line(command, student):
    line = command("predict", student, "x" * 300).mistake
    assert "cannot be read: File name too long" in line


def test_eval_leaves_out_unknown_classes_if_it_may(command, student, test_imgs):
    (test_imgs / "red").rename(test_imgs / "pink")
    ran = command("eval", student, "--target", test_imgs, "--ignore-unknown", "--json")
    assert ran.err.splitlines() == [
        "Left out 3 of 9 images: the student does not know the class pink."
    ]
    assert (ran.json["images"], set(ran.json["per_class"])) == (6, {"blue", "green"})
    for name in ("blue", "green"):
        (test_imgs / name).rename(test_imgs / f"dark {name}")
    ran = command("eval", student, "--target", test_imgs, "--ignore-unknown")
    assert (ran.code, "no labeled image" in ran.err) == (1, True)


def test_strange_names_are_printed_as_they_are(command, strange):
    student, images = strange
    ran = command("eval", student, "--target", images)
    assert all(name in ran.out for name in STRANGE)
    document = command("eval", student, "--target", images, "--json").json
    assert set(document["per_class"]) == set(STRANGE)
    shown = command("predict", student, images).out.splitlines()
    assert sorted({line.split("\t")[0] for line in shown}) == sorted(
        str(path) for path in images.rglob("*.png")
    )
    assert {line.split("\t")[1] for line in shown} <= set(STRANGE)
    (images / "[red]").rename(images / "[b] :dog:")
    line = command("eval", student, "--target", images).mistake
    assert "'[b] :dog:'" in line


def test_strange_names_survive_ranking_and_distilling(command, distil, strange, toy_zoo):
    _, images = strange
    before = snapshot(images)
    assert command("rank", "--target", images).code == 0
    ran = distil("--test", images, "--json")
    assert ran.json["labeled"] == 6
    config = json.loads(Path("student/config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == sorted(STRANGE)
    card = Path("student/README.md").read_text(encoding="utf-8")
    escaped = (r"\[red\]", ":cat: 🙂", 'it\'s "q" \\\\ ü')
    assert all(name in card for name in escaped)
    assert snapshot(images) == before
