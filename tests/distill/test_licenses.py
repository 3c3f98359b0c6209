"""A student states no more freedom than its teachers, their data and its start give."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from distill.report.model_card import (
    choose_license,
    license_lines,
    start_claims,
    teacher_claims,
)
from tests.support.toys import hub_card
from zoo.teachers.catalogue import find_card, list_cards
from zoo.teachers.licenses import KINDS, Claim, strictness
from zoo.teachers.starts import find_start

FREE = {"apache-2.0", "mit", "MIT", "CC0", "CC BY 4.0", "cc-by-4.0"}
"""All that is permissive among the licenses of the zoo, read by a person."""


def claims(*licenses):
    return [Claim(f"thing {number}", license) for number, license in enumerate(licenses)]


def table_of(lines):
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]


def test_of_all_licenses_in_the_zoo_only_these_are_permissive():
    cards = list_cards("all")
    stated = {card.license for card in cards} | {card.data_license for card in cards}
    assert len(stated) > 20
    assert {text for text in stated if Claim("", text).kind == "permissive"} == FREE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CC BY-SA 4.0", "share-alike"),
        ("gpl-3.0", "share-alike"),
        ("CC BY-NC (iNaturalist)", "non-commercial"),
        ("cc-by-nc-nd-4.0", "non-commercial"),
        ("owkin-non-commercial", "non-commercial"),
        ("research", "non-commercial"),
        ("ImageNet terms", "non-commercial"),
        ("competition terms", "non-commercial"),
        ("GTSRB terms", "terms of its own"),
        ("MIT, except for the images", "terms of its own"),
        ("CC BY 4.0 for the links; the images are others'", "terms of its own"),
        ("not published", "unknown"),
        ("other", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_license_is_of_the_kind_that_a_reader_would_choose(text, kind):
    assert Claim("", text).kind == kind


def test_from_free_to_strict_the_order_is_that_of_the_page():
    order = ["CC0", "mit", "BSD-3-Clause", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "GTSRB terms",
             "cc-by-nc-4.0", "research", "competition terms", "unknown"]  # fmt: skip
    ranks = [strictness(claim) for claim in claims(*order)]
    assert ranks == sorted(ranks)
    kinds = list(dict.fromkeys(KINDS.values()))
    assert kinds[0] == "permissive"
    assert kinds[-2:] == ["non-commercial", "unknown"]


@pytest.mark.parametrize(
    ("licenses", "chosen"),
    [
        (["mit"], "mit"),
        (["MIT", "CC0"], "mit"),
        (["CC BY 4.0", "apache-2.0", "mit"], "cc-by-4.0"),
        (["cc0", "CC0-1.0"], "cc0-1.0"),
        (["mit", "cc-by-sa-4.0"], "other"),
        (["mit", "research"], "other"),
        (["mit", "dinov3-license"], "other"),
        (["mit", ""], "other"),
        ([], "other"),
    ],
)
def test_the_strictest_is_stated_if_all_are_permissive_and_other_if_not(licenses, chosen):
    assert choose_license(claims(*licenses)) == chosen
    assert choose_license(claims(*reversed(licenses))) == chosen


def test_the_section_names_the_strictest_and_what_makes_it_so():
    lines = license_lines(claims("mit", "research", "unknown", "mit"))
    text = "\n".join(lines)
    assert "The strictest license is unknown (unknown), of thing 2." in text
    assert "set to `other`" in text
    assert table_of(lines) == [
        ["unknown", "unknown", "thing 2"],
        ["research", "non-commercial", "thing 1"],
        ["mit", "permissive", "thing 0; thing 3"],
    ]
    assert "the model's is `apache-2.0`" in "\n".join(license_lines(claims("mit", "apache-2.0")))
    assert "no license was chosen yet" in "\n".join(license_lines([]))


def test_a_teacher_counts_with_its_weights_and_its_data():
    cards = [hub_card("cat"), hub_card("dog", license="cc-by-nc-4.0", data="pets")]
    found = [(claim.what, claim.license) for claim in teacher_claims(["dog", "cat"], cards)]
    assert found == [
        ("dog", "cc-by-nc-4.0"),
        ("pets (data of dog)", "CC0"),
        ("cat", "mit"),
        ("noise (data of cat)", "CC0"),
    ]
    assert choose_license(teacher_claims(["cat"], cards)) == "mit"
    assert choose_license(teacher_claims(["cat", "dog"], cards)) == "other"
    assert choose_license(teacher_claims(["cat", "stranger"], cards)) == "other"


def test_what_an_embedded_teacher_started_from_counts_too():
    cards = list_cards()
    mri = find_card("brain_mri", cards)
    assert (mri.license, mri.data_license) == ("apache-2.0", "CC0")
    found = teacher_claims(["brain_mri"], cards)
    assert "mini-ImageNet (data of objects, initial weights of teachers)" in {
        claim.what for claim in found
    }
    assert choose_license(found) == "other"
    both = teacher_claims(["objects", "brain_mri"], cards)
    assert len([claim for claim in both if "mini-ImageNet" in claim.what]) == 1
    elsewhere = replace(mri, source="hf-hub:owner/mri")
    assert choose_license(teacher_claims(["brain_mri"], [elsewhere])) == "other"
    alone = replace(mri, base="")
    assert choose_license(teacher_claims(["brain_mri"], [alone])) == "apache-2.0"


def test_a_base_without_a_card_counts_as_unknown():
    mri = replace(find_card("brain_mri", list_cards()), base="builtin/nosuch")
    claim = teacher_claims(["brain_mri"], [mri])[-1]
    assert (claim.what, claim.license) == ("nosuch, initial weights of teachers", "unknown")


def test_initial_weights_count_as_on_their_card():
    assert start_claims(find_start("random", "mobilenetv3_small_100")) == []
    embedded = start_claims(find_start("builtin", "mobilenetv3_small_100"))
    assert [claim.license for claim in embedded] == [
        "apache-2.0",
        "ImageNet terms, research only for some",
    ]
    assert choose_license(start_claims(find_start("hub", "resnet18"))) == "other"


def test_a_folder_to_start_from_counts_as_its_card_or_else_as_unknown(toy_zoo, tmp_path):
    folder = toy_zoo[0].folder
    assert choose_license(start_claims(find_start(str(folder), "test_resnet"))) == "mit"
    shutil.copytree(folder, tmp_path / "s")
    (tmp_path / "s/card.json").unlink()
    bare = start_claims(find_start(str(tmp_path / "s"), "test_resnet"))
    assert [claim.license for claim in bare] == ["mit", "unknown"]


def head_of(folder):
    """The licenses that a student's model card and config state."""
    card = Path(folder, "README.md").read_text(encoding="utf-8")
    (line,) = [line for line in card.splitlines() if line.startswith("license: ")]
    config = json.loads(Path(folder, "config.json").read_text())
    return line.removeprefix("license: "), config["pretrained_cfg"]["license"]


def test_a_distilled_student_states_what_its_teachers_and_its_start_allow(distil, imgs, toy_zoo):
    words = ("--target", imgs, "--teacher", "ant", "--zoo", "builtin")
    assert distil(*words, "--save", "free").code == 0
    assert head_of("free") == ("mit", "mit")
    assert distil(*words, "--start", "free", "--save", "bound").code == 0
    assert head_of("bound") == ("other", "other")
    assert distil("--target", imgs, "--baseline", "transfer", "--save", "own").code == 0
    assert head_of("own") == ("other", "other")
