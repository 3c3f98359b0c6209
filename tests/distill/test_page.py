"""Report pages: one file, nothing from elsewhere, all escaped, and the numbers of the run."""

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.recipe import Recipe
from distill.report.figures import draw_curves
from distill.report.ranking_page import ranking_page, ranking_verdict
from distill.report.student_page import calibration_verdict, student_page
from tests.support.page_samples import (
    HISTORY,
    NASTY,
    Page,
    make_evaluation,
    make_ranking,
    make_report,
)
from tests.support.toys import hub_card

ALL = [
    "classes",
    "confusion",
    "calibration",
    "mistakes",
    "training",
    "teachers",
    "ranking",
    "again",
]


@pytest.fixture
def page(images, toy_zoo):
    """The page of a tested student with teachers."""
    ranking = make_ranking().to_json()
    report = make_report(list(images.paths))
    return make_page(report, cards=toy_zoo, ranking=ranking)


def make_page(report, *, cards=(), ranking=None, history=HISTORY):
    return student_page(report, history=history, cards=cards, ranking=ranking, sha256="5" * 64)


def test_a_page_loads_nothing_and_runs_nothing(page):
    assert len(page.encode()) < 2_000_000
    read = Page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {
        e.name for e in read.elements
    }
    for element in read.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.name, name)
            if name in ("src", "srcset", "poster", "data", "xlink:href"):
                assert (value or "").startswith(("data:image/jpeg;base64,", "#")), value
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = read.all("meta")[1].attributes
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_every_name_is_text_and_never_a_tag(page):
    read = Page(page)
    assert not {"i", "imgs", "warning", "file"} & {element.name for element in read.elements}
    headers = [element.text for element in read.all("th")]
    for name in NASTY:
        assert headers.count(name) >= 3  # by class, and both sides of the matrix
    assert "zoo distill --target '<imgs>'" in [element.text for element in read.all("pre")]
    assert "a <warning>" in [element.text for element in read.all("p")]


def test_a_page_is_accessible(page):
    read = Page(page)
    assert read.all("html")[0].attributes["lang"] == "en"
    assert len(read.all("h1")) == len(read.all("main")) == len(read.all("nav")) == 1
    assert all(element.attributes["alt"] for element in read.all("img"))
    assert all(element.attributes["aria-label"] for element in read.all("svg"))
    assert len(read.all("svg")) == 2
    tables = read.all("table")
    assert len(read.all("caption")) == len(tables) == len({c.text for c in read.all("caption")})
    assert all(element.attributes["scope"] in ("col", "row") for element in read.all("th"))
    ids = [element.attributes["id"] for element in read.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in read.elements:
        for name in ("aria-labelledby", "href", "xlink:href"):
            if (value := element.attributes.get(name)) and not value.startswith("https://"):
                assert value.removeprefix("#") in ids


def test_the_sections_are_those_with_data(page, images, toy_zoo):
    assert Page(page).keys == ALL
    bare = make_report(method="transfer", teachers={}, objective=None)
    read = Page(make_page(bare, history=HISTORY[:1]))
    assert read.keys == ["training", "teachers", "again"]
    assert "No teachers." in read.by_id("teachers").text
    assert "too short" in read.by_id("training").text
    assert not read.all("svg")


def test_the_verdict_of_a_tested_student_is_its_accuracy_method_and_teachers(page):
    result = make_evaluation([Path("x")] * 18)
    top = Page(page).all("header")[0].text.replace("\u00a0", " ")
    assert (
        f"Accuracy {result.accuracy:.1%} of 18 test images (95 % interval {result.low:.1%}" in top
    )
    assert "method weighted" in top
    assert "ant (75%) and bee (25%)" in top


def test_the_summary_has_the_accuracy_of_the_soft_labels(page):
    assert "soft labels" not in Page(page).all("header")[0].text
    top = Page(make_page(make_report(soft_label_accuracy=0.75))).all("header")[0].text
    assert "soft labels: 75.0% of 8 labeled images" in top


def test_the_curves_name_the_pseudo_labels_and_the_decay_of_the_soft_labels():
    history = [{"update": n, "rate": 0.1, "target": 1.0, "fixmatch": 0.5} for n in (10.0, 20.0)]
    text = Page(make_page(make_report(), history=history)).by_id("training").text
    assert "the student's pseudo-labels (FixMatch)" in text
    assert "weight of the soft labels (target) decays linearly to 0%" in text
    steady = make_report(recipe=Recipe(soft_label_decay=0))
    assert "decays" not in Page(make_page(steady, history=history)).by_id("training").text
    assert "decays" not in Page(make_page(make_report())).by_id("training").text


def test_the_summary_of_an_untested_student_has_the_command_to_evaluate_it():
    top = Page(make_page(make_report())).all("header")[0].text
    assert "Not evaluated." in top
    assert "zoo eval 'my student' --target FOLDER" in top


def test_the_confusion_matrix_has_the_counts_by_row(page, images):
    result = make_evaluation(list(images.paths))
    table = re.search(r'<table class="matrix">.*?</table>', page, re.DOTALL)
    cells = [int(cell.text) for cell in Page(table[0] if table else "").all("td")]
    assert np.array_equal(np.array(cells).reshape(4, 4), result.confusion)


def test_many_classes_are_left_to_the_json(images):
    names = [f"class {number}" for number in range(40)]
    result = make_evaluation(list(images.paths) * 20, names)
    page = make_page(make_report(classes=tuple(names), evaluation=result))
    assert '<table class="matrix">' not in page
    assert "The matrix of all 40 classes is in report.json" in page
    label, predicted, count = result.confused[0]
    assert f"{label} is predicted as {predicted}: {count} of 360" in page


def test_mistakes_are_small_pictures_of_the_test_images(page, images):
    result = make_evaluation(list(images.paths))
    pictures = Page(page).all("img")
    assert len(pictures) == len(result.mistakes) == 12
    for picture, mistake in zip(pictures, result.mistakes, strict=True):
        alt = picture.attributes["alt"] or ""
        assert mistake.path.rpartition("/")[2] in alt
        shown = Image.open(BytesIO(b64decode((picture.attributes["src"] or "").partition(",")[2])))
        assert shown.format == "JPEG"
        assert max(shown.size) <= 96


def test_a_mistake_without_its_image_is_still_listed(images, tmp_path):
    page = make_page(make_report([tmp_path / "gone.png"] * 18))
    assert not Page(page).all("img")
    assert page.count("image not found") == 12


def test_the_page_states_that_no_image_was_misclassified(images):
    result = make_evaluation(list(images.paths), ["only"])
    read = Page(make_page(make_report(classes=("only",), evaluation=result)))
    assert "mistakes" not in read.keys
    assert "No image was misclassified" in read.by_id("confusion").text


def test_overconfidence_is_stated_only_beyond_noise():
    result = make_evaluation([Path("x")] * 18)
    middle, error = result.accuracy, result.calibration
    assert error
    sure = calibration_verdict(result, replace(error, confidence=1.0))
    assert f"overconfident by {100 * (1 - middle):.1f} points" in sure
    assert "underconfident" in calibration_verdict(result, replace(error, confidence=0.0))
    assert "no significant difference" in calibration_verdict(
        result, replace(error, confidence=middle)
    )


def test_teachers_have_share_source_and_both_licenses(toy_zoo):
    teachers = {"cat": 0.5, "ant": 0.3, "bee": 0.2}
    cat = hub_card("cat", revision="c0ffee" * 6 + "c0ff")
    page = make_page(make_report(teachers=teachers), cards=[*toy_zoo, cat])
    text = Page(page).by_id("teachers").text
    for words in ("50.0%", "builtin:ant", "mit", "noise", "license: CC0", "commit c0ffeec0ffee"):
        assert words in text
    (hub,) = [a for a in Page(page).all("a") if "://" in (a.attributes["href"] or "")]
    assert hub.attributes["href"] == "https://huggingface.co/owner/cat-net"


def test_the_ranking_has_intervals_chance_controls_and_the_shares_that_taught(page):
    part = Page(page).by_id("ranking").text
    for words in ("0.8000.70", "0.70 to 0.90", "rank 1, ants", "control", "failed: broken <file>"):
        assert words in part.replace("0.800 ", "0.800")
    assert "all teachers together): 0.41" in part
    assert "75.0%" in part
    nearest = make_page(make_report(teachers={"bee": 1.0}), ranking=make_ranking().to_json())
    assert "100.0%" in Page(nearest).by_id("ranking").text
    assert "75.0%" not in Page(nearest).by_id("ranking").text


def test_the_last_section_has_command_hashes_seed_and_versions(page):
    text = Page(page).by_id("again").text
    for words in ("zoo distill", "5" * 64, "d1" * 32, "/data/<imgs>", "torch ", "source-zoo "):
        assert words in text
    assert "command" not in Page(make_page(make_report(command=""))).by_id("again").text


def test_curves_are_short_however_long_the_run(toy_zoo):
    long = [{**HISTORY[0], "update": n, "labels": 1 / n} for n in range(1, 20_000)]
    drawn = draw_curves(long, "curves")
    assert len(drawn) < 60_000
    assert 'id="curves-' in drawn
    assert "#0102" not in drawn
    assert "var(--series-2)" in drawn


def test_a_ranking_has_a_page_of_its_own():
    ranking = make_ranking().to_json()
    page = ranking_page(ranking, command="zoo rank --target '<x>'", notes=["", "a <note>"])
    read = Page(page)
    assert read.keys == ["ranking", "again"]
    text = read.all("main")[0].text.replace("\u00a0", " ")
    for words in (
        "ant is the closest of 2 teachers: linear_probe 0.800 (95 % interval 0.70 to 0.90).",
        "ant (75%) and bee (25%)",
        "a <note>",
        "zoo rank --target '<x>'",
        "d1" * 32,
    ):
        assert words in text
    assert len([p for p in read.all("p") if p.attributes.get("class") == "note"]) == 1


def test_teachers_of_the_first_place_share_the_verdict():
    ranking = make_ranking().to_json()
    for row in ranking["teachers"][:2]:
        row["rank"] = 1
    assert ranking_verdict(ranking).endswith("tied for rank 1: ant and bee.")
    for row in ranking["teachers"]:
        row |= {"rank": None, "low": None, "high": None}
    assert ranking_verdict(ranking) == "ant is the closest of 2 teachers: linear_probe 0.800."


def test_scores_that_are_logarithms_lie_on_their_line(toy_zoo):
    ranking = make_ranking().to_json()
    for row in ranking["teachers"]:
        for name in ("score", "low", "high", "chance"):
            row[name] = row[name] and row[name] - 5
    places = re.findall(r"left:(-?[\d.]+)%", ranking_page(ranking, command=""))
    assert len(places) == 9
    assert all(0 <= float(place) <= 100 for place in places)


def test_what_is_no_html_is_escaped_and_what_no_page_can_hold_is_replaced():
    page = make_page(make_report(notes=("a\x00b\udc80c <&>", "d"), target='"<&>'))
    assert '<p class="note">a\ufffdb\ufffdc &lt;&amp;&gt;</p>' in page
    assert '<td class="text">&#34;&lt;&amp;&gt;</td>' in page
    assert "<title>test_resnet for 4 classes - student report</title>" in page
    page.encode()


@pytest.mark.parametrize("address", ["javascript:alert(1)", "builtin:ant", "data:text/html,x"])
def test_only_addresses_of_the_web_are_links(address):
    def links(source):
        card = replace(hub_card("cat"), source=source)
        page = Page(make_page(make_report(teachers={"cat": 1.0}), cards=[card]))
        assert source in page.by_id("teachers").text
        return [a.attributes for a in page.all("a") if "rel" in a.attributes]

    assert links(address) == []
    assert links('https://a.b/?c="') == [{"href": 'https://a.b/?c="', "rel": "noreferrer"}]
