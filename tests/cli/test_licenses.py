"""`--license permissive`: weights and data both, in every command that chooses teachers."""

import json
from dataclasses import replace

import pytest
import yaml  # of the extra `docs`

from tests.support.toys import build_teacher
from tests.support.worlds import TINY
from zoo.errors import TeacherNotFound
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import licensed_zoo, list_cards


@pytest.fixture
def mixed(tmp_path):
    """Three teachers: free, of free weights and research data, of weights for research."""
    terms = {"free": ("mit", "CC0"), "data": ("mit", "research"), "net": ("cc-by-nc-4.0", "CC0")}
    for seed, (name, (license, data)) in enumerate(terms.items()):
        card = build_teacher(tmp_path / "mixed" / name, name, seed=seed)
        assert card.folder
        replace(card, license=license, data_license=data).save(card.folder)
    return tmp_path / "mixed"


def test_a_zoo_of_a_license_has_those_whose_weights_and_data_have_it(mixed):
    assert [card.name for card in list_cards(licensed_zoo(str(mixed), "permissive"))] == ["free"]
    assert len(list_cards(licensed_zoo(str(mixed), None))) == 3


@pytest.mark.parametrize("base", ["builtin/objects", "builtin/nosuch"])
def test_initial_weights_without_such_a_license_count_as_in_a_model_card(mixed, base):
    replace(TeacherCard.load(mixed / "free"), base=base).save(mixed / "free")
    with pytest.raises(TeacherNotFound, match="weights, data and initial weights: leave out"):
        list_cards(licensed_zoo(str(mixed), "permissive"))


def test_list_shows_both_licenses_and_filters_by_both(command, mixed):
    out = command("list", "--zoo", mixed).out
    assert "mit; data: research" in out
    shown = command("list", "--zoo", mixed, "--license", "permissive", "--json").json
    assert [card["name"] for card in shown] == ["free"]


def test_rank_leaves_the_others_out_and_distill_does_too(command, distil, imgs, mixed, toy_zoo):
    words = ("--target", imgs, "--zoo", mixed, "--license", "permissive", "--json")
    assert [row["name"] for row in command("rank", *words).json["teachers"]] == ["free"]
    report = distil(*words).json
    assert list(report["teachers"]) == ["free"]
    report = distil("--target", imgs, "--zoo", mixed, "--json", "--save", "any").json
    assert report["teachers"].keys() - {"free"}


def test_compare_leaves_the_others_out(command, imgs, mixed, toy_zoo):
    words = ("compare", "--target", imgs, "--zoo", mixed, "--dry-run", "--json", *TINY)
    passes = command(*words, "--license", "permissive").json["forward_passes"]
    every = command(*words).json
    assert passes < every["forward_passes"]


def test_a_zoo_without_such_a_teacher_is_one_line(command, imgs, mixed):
    for name in ("free", "data"):
        card = json.loads((mixed / name / "card.json").read_text())
        (mixed / name / "card.json").write_text(json.dumps({**card, "data_license": "research"}))
    line = command("rank", "--target", imgs, "--zoo", mixed, "--license", "permissive").mistake
    assert f"No teacher of --zoo {mixed} has a permissive license" in line


def test_the_model_card_has_what_the_hub_shows(distil, imgs, test_imgs, toy_zoo, tmp_path):
    assert distil("--target", imgs, "--test", test_imgs).code == 0
    text = (tmp_path / "here" / "student" / "README.md").read_text()
    entries = yaml.safe_load(text.split("---")[1])
    result = json.loads((tmp_path / "here" / "student" / "report.json").read_text())["evaluation"]
    (model,) = entries["model-index"]
    (found,) = model["results"]
    values = {metric["type"]: metric["value"] for metric in found["metrics"]}
    assert values["accuracy"] == pytest.approx(result["accuracy"], abs=1e-4)
    assert (entries["library_name"], "base_model" in entries) == ("timm", False)
    if entries["license"] == "other":
        assert entries["license_name"]
