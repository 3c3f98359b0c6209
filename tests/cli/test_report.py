"""Report pages from the command line: `zoo distill`, `zoo rank --report`, and what `eval` shows."""

from pathlib import Path

import pytest

from distill.report import student_folder
from tests.support.page_samples import Page
from tests.support.toys import build_teacher, paint_folder
from tests.support.worlds import saved, snapshot


@pytest.fixture
def rank(command, imgs, toy_zoo):
    return lambda *words: command("rank", "--target", imgs, *words)


def test_distill_leaves_a_page_that_tells_how_to_repeat_it(distil, imgs, test_imgs, toy_zoo):
    words = ("--target", imgs, "--test", test_imgs, "--updates", 20, "--save", "a <b>")
    ran = distil(*words)
    assert f"Report: {Path('a <b>/report.html')}" in ran.out
    page = Page(Path("a <b>/report.html").read_text(encoding="utf-8"))
    assert page.keys[:3] == ["classes", "confusion", "calibration"]
    assert page.keys[-4:] == ["training", "teachers", "ranking", "again"]
    (line,) = [element.text for element in page.all("pre")]
    assert line.startswith("zoo distill --arch test_resnet ")
    assert line.endswith("--updates 20 --save 'a <b>'")
    report = saved("a <b>")
    assert (report["command"], len(report["digest"])) == (line, 64)
    assert report["digest"] in page.by_id("again").text
    assert f"{report['accuracy']:.1%} of 9 test images" in page.all("header")[0].text


def test_a_student_without_test_or_teachers_has_a_short_page(transfer):
    transfer()
    page = Page(Path("student/report.html").read_text(encoding="utf-8"))
    assert page.keys == ["training", "teachers", "again"]
    assert "Not evaluated." in page.all("header")[0].text


def test_a_page_that_fails_is_a_note_and_the_student_stays(transfer, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no ink")

    monkeypatch.setattr(student_folder, "student_page", fail)
    ran = transfer()
    assert (ran.code, "no ink" in ran.err) == (0, True)
    assert "Report:" not in ran.out
    assert Path("student/model.safetensors").exists()


def test_rank_writes_a_page_of_its_ranking(rank):
    shown = rank("--report", "r.html", "--json").json
    page = Page(Path("r.html").read_text(encoding="utf-8"))
    assert page.keys == ["ranking", "again"]
    assert all(row["name"] in page.by_id("ranking").text for row in shown["teachers"])
    assert "--report r.html --json" in page.by_id("again").text
    assert shown["digest"] in page.by_id("again").text


def test_no_report_is_written_unasked(rank):
    rank()
    assert [path.name for path in Path().iterdir()] == ["ranking.json"]


def test_a_page_is_never_written_among_the_images(rank, imgs, tmp_path):
    before = snapshot(tmp_path)
    line = rank("--report", imgs / "red" / "r.html").mistake
    assert "inside the image folder" in line
    assert "--report" in line
    assert snapshot(tmp_path) == before


def test_a_page_that_cannot_be_written_is_one_line_and_the_ranking_stays(rank):
    assert "Choose another --report" in rank("--report", "nowhere/r.html").mistake
    assert Path("ranking.json").exists()


def test_eval_shows_intervals_counts_calibration_and_what_is_confused(command, tmp_path):
    build_teacher(tmp_path / "student", "student", labels=("blue", "green", "red"), seed=4)
    target = paint_folder(tmp_path / "held_out", per_class=3, seed=7)
    words = ("eval", tmp_path / "student", "--target", target)
    shown, lines = command(*words, "--json").json, command(*words).out.splitlines()
    for row in shown["by_class"]:
        (line,) = [line for line in lines if line.split()[:1] == [row["name"]]][:1]
        numbers = (
            f"{row['accuracy']:.1%} {row['low']:.1%} to {row['high']:.1%} "
            f"{row['precision']:.1%} {row['f1']:.2f} {row['images']}"
        )
        assert line.split()[1:] == numbers.split()
    assert f"calibration error {shown['calibration']['error']:.1%}" in "\n".join(lines)
    names, counts = shown["classes"], shown["confusion"]
    pairs = {(names[i], names[j]): n for i, row in enumerate(counts) for j, n in enumerate(row)
             if i != j and n}  # fmt: skip
    assert pairs
    for (truth, said), count in pairs.items():
        assert f"{truth} predicted as {said}: {count} image{'s' * (count > 1)}." in lines
