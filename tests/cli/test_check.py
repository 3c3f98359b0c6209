"""`zoo check`: the library's findings as JSON, a page, a label file and a few lines."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from selection import check_images
from tests.support.toys import COLORS, paint, paint_folder
from tests.support.worlds import snapshot


@pytest.fixture
def check(command, imgs, toy_zoo):
    return lambda *words: command("check", "--target", imgs, *words)


def test_it_shows_and_saves_what_the_library_finds(check, imgs):
    before = snapshot(imgs)
    shown = check("--json").json
    assert shown == json.loads(Path("check.json").read_text(encoding="utf-8"))
    assert shown == json.loads(json.dumps(check_images(imgs).to_json()))
    assert snapshot(imgs) == before
    assert (shown["images"], shown["labeled"]) == (18, 12)
    assert set(shown["teachers"]) <= {"ant", "bee"}


def test_people_see_a_few_lines_and_a_page(check, imgs):
    ran = check()
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("12 labeled of 18 images, 3 classes; a probe on ")
    assert lines[-1] == "Look at them: check.html"
    page = Path("check.html").read_text(encoding="utf-8")
    assert "Labels by class" in page
    assert "zoo check --target" in page


def test_copies_and_leaks_are_found_and_shown(check, imgs, test_imgs, tmp_path):
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "<b>.png")
    shutil.copy(imgs / "red" / "1.png", test_imgs / "red")
    shown = check("--test", test_imgs, "--json").json
    (copies,) = [group for group in shown["copies"] if group["kind"] == "bytes"]
    assert copies["contradicts"]
    assert {Path(path).name for path in copies["paths"]} == {"0.png", "<b>.png"}
    equal = [leak for leak in shown["leaks"] if leak["kind"] == "bytes"]
    assert [(Path(leak["test"]).name, leak["path"]) for leak in equal] == [
        ("1.png", str(imgs / "red" / "1.png"))
    ]
    page = Path("check.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert page.count("data:image/jpeg;base64,") >= 4
    assert check("--json").json["leaks"] is None


def test_equal_test_images_are_all_leaks_of_a_training_image_in_another_format(
    check, imgs, test_imgs
):
    Image.open(imgs / "red" / "1.png").save(test_imgs / "red" / "one.bmp")
    shutil.copy(test_imgs / "red" / "one.bmp", test_imgs / "red" / "two.bmp")
    leaks = check("--test", test_imgs, "--json").json["leaks"]
    same = {Path(leak["test"]).name for leak in leaks if leak["kind"] == "pixels"}
    assert same == {"one.bmp", "two.bmp"}


def test_suggestions_are_unlabeled_images_and_a_file_to_fill_in(check, command, imgs):
    ran = check("--suggest", 3, "--save-labels", "labels.csv")
    assert "labels.csv; fill in its column label" in ran.out
    lines = Path("labels.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 3 + 12
    assert [line.split(",")[1] for line in lines[1:4]] == [""] * 3
    assert all(line.startswith("loose") for line in lines[1:4])
    filled = [line.replace(",,", ",red,", 1) for line in lines[1:4]]
    Path("filled.csv").write_text("\n".join([lines[0], *filled, *lines[4:]]), encoding="utf-8")
    shown = check("--labels", "filled.csv", "--json").json
    assert shown["counts"] == {"blue": 4, "green": 4, "red": 7}
    line = check("--save-labels", "labels.csv").mistake
    assert "labels.csv exists already, and may hold labels" in line


def test_the_label_file_names_images_whose_names_are_not_utf8(check, command, imgs):
    folder = os.fsencode(imgs)
    try:
        os.rename(folder + b"/red/0.png", folder + b"/red/\xff.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert check("--suggest", 2, "--save-labels", "labels.csv").code == 0
    assert b"red/\xff.png,red," in Path("labels.csv").read_bytes()
    shown = check("--labels", "labels.csv", "--json").json
    assert shown["counts"] == {"blue": 4, "green": 4, "red": 4}


def test_images_without_labels_are_checked_and_suggested_too(command, toy_zoo, tmp_path):
    loose = paint_folder(tmp_path / "loose", per_class=0, loose=8)
    ran = command("check", "--target", loose, "--suggest", 2, "--json")
    shown = ran.json
    assert (shown["labeled"], shown["accuracy"], shown["label_errors"]) == (0, None, [])
    assert len(shown["suggestions"]) == 2
    assert shown["suggestions"][0]["guess"] == ""


def test_images_are_suggested_where_every_label_is_doubted(command, toy_zoo, tmp_path):
    swapped = paint_folder(tmp_path / "swapped", per_class=0, loose=3)
    for number, (one, other) in enumerate([("red", "blue"), ("blue", "red")]):
        paint(swapped / "one" / f"{number}.png", COLORS[one], 90)
        paint(swapped / "two" / f"{number}.png", COLORS[other], 90)
    shown = command("check", "--target", swapped, "--suggest", 2, "--json").json
    assert len(shown["label_errors"]) == shown["labeled"] == 4
    assert len(shown["suggestions"]) == 2


def test_small_and_unreadable_images_are_named(check, imgs):
    for number in range(4):
        paint(imgs / "red" / f"large{number}.png", COLORS["red"], number, size=(900, 800))
        paint(imgs / "blue" / f"large{number}.png", COLORS["blue"], 9 + number, size=(900, 800))
        for more in range(4):
            paint(imgs / f"large{number}{more}.png", COLORS["green"], 50 + 4 * number + more,
                  size=(900, 800))  # fmt: skip
    (imgs / "red" / "broken.png").write_bytes(b"x")
    shown = check("--json").json
    assert {side for _, side in shown["small"]} == {20}
    assert shown["unreadable"] == [[str(imgs / "red" / "broken.png"), "it is not an image"]]


def test_its_files_are_refused_before_any_work(check, imgs, test_imgs):
    assert "lies inside the image folder" in check("--save", imgs / "check.json").mistake
    assert "lies inside" in check("--save-labels", imgs / "labels.csv").mistake
    assert "lies inside" in check("--test", test_imgs, "--report", test_imgs / "a.html").mistake
    Path("mine.json").write_text("{}")
    assert "is not a file of findings of source-zoo" in check("--save", "mine.json").mistake
    Path("mine.html").write_text("<p>")
    assert "is not a page of source-zoo" in check("--report", "mine.html").mistake
    assert check("--save", "same", "--report", "same").code == 2
    assert not Path("check.json").exists()


def test_the_ranking_in_the_folder_is_used_if_it_is_of_these_images(check, command, imgs):
    assert command("rank", "--target", imgs, "--top", 1).code == 0
    (kept,) = [
        row["name"]
        for row in json.loads(Path("ranking.json").read_text())["teachers"]
        if row["share"]
    ]
    assert list(check("--json").json["teachers"]) == [kept]
