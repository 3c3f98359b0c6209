"""`zoo distill --ranking FILE`, `--lr` and `--batch-size`."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def saved(command, imgs, toy_zoo):
    """A ranking in a file of its own, whose shares were edited: all of it is bee's."""
    assert command("rank", "--target", imgs, "--save", "mine.json").code == 0
    document = json.loads(Path("mine.json").read_text())
    for row in document["teachers"]:
        row["share"] = float(row["name"] == "bee")
    Path("mine.json").write_text(json.dumps(document))
    return "mine.json"


def test_a_ranking_of_any_name_is_used_with_and_without_target(distil, imgs, saved):
    assert distil("--ranking", saved, "--json").json["teachers"] == {"bee": 1.0}
    words = ("--target", imgs, "--ranking", saved, "--save", "two", "--json")
    assert distil(*words).json["teachers"] == {"bee": 1.0}


def test_a_ranking_of_other_images_or_another_zoo_is_refused(distil, imgs, test_imgs, saved):
    assert "other images" in distil("--target", test_imgs, "--ranking", saved).mistake
    words = ("--target", imgs, "--ranking", saved, "--zoo", "all")
    assert "another zoo" in distil(*words).mistake
    assert "absent.json" in distil("--ranking", "absent.json").mistake
    assert distil("--ranking", saved, "--baseline", "transfer", "--target", imgs).code == 2


def test_learning_rate_and_batch_size_are_those_of_the_recipe(transfer):
    assert transfer("--lr", 0.005, "--batch-size", 4).code == 0
    recipe = json.loads(Path("student/report.json").read_text())["recipe"]
    found = [recipe[name] for name in ("learning_rate", "labeled_batch", "unlabeled_batch")]
    assert found == [0.005, 4, 8]
    assert transfer("--lr", 2, "--save", "two").code == 2
    assert transfer("--batch-size", 1, "--save", "two").code == 2
    assert transfer("--batch-size", 10**9, "--save", "two").code == 2


def test_what_a_baseline_does_not_use_is_said(distil, imgs, toy_zoo):
    words = ("--target", imgs, "--baseline")
    ran = distil(*words, "probe", "--lr", 0.005)
    assert (ran.code, "--batch-size and --flip change nothing" in ran.err) == (0, True)
    assert "change nothing" in distil(*words, "probe", "--flip", "--overwrite").err
    assert "change nothing" not in distil(*words, "transfer", "--lr", 0.005, "--save", "two").err
    for option in (("--license", "permissive"), ("--zoo", "all")):
        refused = distil(*words, "transfer", *option)
        assert (refused.code, "--license choose teachers" in refused.err) == (2, True)
