"""Names that break lines, quote, look like options or command terminals."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.toys import build_teacher, paint
from tests.support.worlds import snapshot

NAMES = (
    "two\nlines",
    "-v",
    "--save",
    "\x1b[2Jclear",
    "a\t\"b\" 'c'",
    "[bold]x 🐜",
    "`rm` $HOME",
)


@pytest.fixture
def named(tmp_path):
    """Two images of each class, and a loose one, whose names are as odd."""
    folder = tmp_path / "two\nlines -v 🐜"
    for number, name in enumerate(NAMES):
        for index in range(2):
            color = (30 * number, 90, 200 - 20 * number)
            paint(folder / name / f"-{index}\n.png", color, 10 * number + index)
    paint(folder / "\x1b[31mred.png", (9, 9, 9), 99)
    return folder


def clean(ran):
    """A run that ended well and said nothing that a terminal obeys."""
    assert ran.code == 0, ran.err
    for text in (ran.out, ran.err):
        assert "\x1b" not in text
        assert "Traceback" not in text
    return ran


def test_every_command_takes_every_name(command, distil, named, toy_zoo):
    before = snapshot(named)
    clean(command("rank", "--target", named, "--report", "page.html"))
    assert json.loads(Path("ranking.json").read_text())["target"] == str(named)
    clean(distil("--test", named))
    config = json.loads(Path("student/config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == sorted(NAMES)
    for page in ("page.html", "student/report.html"):
        assert "\x1b" not in Path(page).read_text(encoding="utf-8")
    document = command("eval", "student", "--target", named, "--json").json
    assert set(document["per_class"]) == set(NAMES)
    ran = clean(command("eval", "student", "--target", named))
    assert "two\\nlines" in ran.out
    assert snapshot(named) == before


def test_the_model_card_keeps_its_headings(distil, named, toy_zoo):
    assert distil("--target", named, "--baseline", "transfer").code == 0
    lines = Path("student/README.md").read_text(encoding="utf-8").splitlines()
    (title,) = [line for line in lines if line.startswith("# ")]
    assert "two lines" in title


def test_predict_has_a_line_of_three_columns_for_every_image(command, named, tmp_path):
    build_teacher(tmp_path / "student", "student", labels=NAMES)
    lines = clean(command("predict", tmp_path / "student", named)).out.splitlines()
    assert len(lines) == 15
    for line in lines:
        path, label, chance = line.split("\t")
        assert path.endswith(".png")
        assert label.encode().decode("unicode_escape").encode("latin1").decode() in NAMES
        assert 0 <= float(chance) <= 1


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "--save"])
def test_a_mistake_with_an_odd_name_is_still_one_line(command, distil, tmp_path, toy_zoo, name):
    assert "\x1b" not in command("rank", "--target", tmp_path / name).mistake
    paint(tmp_path / "one" / name / "x.png", (1, 2, 3))
    assert "has one class" in distil("--target", tmp_path / "one").mistake
    (tmp_path / "one" / name / "x.png").write_bytes(b"x")
    assert "No readable image" in command("rank", "--target", tmp_path / "one").mistake


def test_unreadable_images_of_odd_names_are_one_line(command, named, toy_zoo):
    (named / "two\nlines" / "bad\n\x1b[31m.png").write_bytes(b"x")
    lines = clean(command("rank", "--target", named)).err.splitlines()
    assert len([line for line in lines if "unreadable" in line]) == 1
    assert not [line for line in lines if line.startswith(("lines", "."))]


def test_file_names_that_are_no_text_are_printed_all_the_same(command, tmp_path, monkeypatch):
    build_teacher(tmp_path / "student", "student")
    paint(tmp_path / "imgs" / "x.png", (1, 2, 3))
    folder = os.fsencode(tmp_path / "imgs")
    try:
        os.rename(folder + b"/x.png", folder + b"/\xff.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert "\\udcff.png" in command("predict", tmp_path / "student", tmp_path / "imgs").out
    (row,) = command("predict", tmp_path / "student", tmp_path / "imgs", "--json").json
    assert os.fsencode(row["path"]) == folder + b"/\xff.png"


def test_a_terminal_of_few_letters_gets_valid_json(command, named, tmp_path, capsys, monkeypatch):
    build_teacher(tmp_path / "student", "student", labels=NAMES)
    run = command("predict", tmp_path / "student", named, "--json").json
    sys.stdout.reconfigure(encoding="ascii")  # pyright: ignore
    again = command("predict", tmp_path / "student", named, "--json")
    assert again.out.isascii()
    assert again.json == run
    assert command("predict", tmp_path / "student", named).code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_folder_whose_name_is_not_utf_8_is_ranked_and_taught_from(command, distil, imgs, toy_zoo):
    odd = imgs.with_name(os.fsdecode(b"im\xffgs"))
    imgs.rename(odd)
    clean(distil("--target", odd, "--weighted"))
    assert json.loads(Path("student/ranking.json").read_text())["target"] == str(odd)
    clean(command("rank", "--target", odd, "--report", "page.html"))
    ran = clean(distil("--save", "again"))
    assert "ranked first" not in ran.err
    assert (Path("again") / "README.md").exists()
