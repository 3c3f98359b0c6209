"""`zoo eval` and `zoo predict`: students in use."""

import json
from pathlib import Path

import pytest

from distill.evaluation.evaluate import predict
from distill.evaluation.metrics import wilson
from distill.student import load_network
from tests.support.toys import COLORS, build_teacher, paint, paint_folder
from tests.support.worlds import snapshot
from zoo.images.folder import read_images

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
        assert list(row) == ["path", "label", "probability"]
        chances = expected[Path(row["path"])]
        assert row["label"] == classes[chances.argmax()]
        assert row["probability"] == pytest.approx(float(chances.max()), abs=0.02)


def test_predict_shows_people_three_columns_between_tabs(command, student, imgs):
    ran = command("predict", student, imgs / "loose0.png")
    (line,) = ran.out.splitlines()
    path, label, probability = line.split("\t")
    assert path == str(imgs / "loose0.png")
    assert label in COLORS
    assert 1 / 3 <= float(probability) <= 1


def test_predict_names_unreadable_images_on_stderr(command, student, imgs, tmp_path):
    broken = imgs / "red" / "broken.png"
    broken.write_bytes(b"no image")
    ran = command("predict", student, imgs, "--json")
    assert len(ran.json) == 18
    assert f"Skipped {broken}: " in ran.err
    assert "No readable image" in command("predict", student, broken).mistake
    assert "does not exist" in command("predict", student, tmp_path / "none").mistake


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
