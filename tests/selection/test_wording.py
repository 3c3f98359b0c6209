"""What people are told of a ranking: how to read its table, and why not to trust it."""

from dataclasses import replace

import numpy as np
import pytest

from selection.messages import name_all, read_table, warn
from selection.scoring import rank
from tests.selection.test_ranking import LABELS, make_features, make_ranking, make_zoo


def change_rows(ranking, **changes):
    """The ranking with the same changes in every row."""
    return replace(ranking, teachers=tuple(replace(row, **changes) for row in ranking.teachers))


def test_a_good_ranking_needs_no_warning():
    assert warn(rank(make_zoo(), LABELS, metric="knn")) == []


@pytest.mark.parametrize(
    ("metric", "labels", "text"),
    [
        ("nce", LABELS, "Scores by nce have no zero"),
        ("clusters", np.full(40, -1), "Ranked without labels, by clusters"),
    ],
)
def test_a_control_on_top_hides_no_other_warning(metric, labels, text):
    ranking = make_ranking([0.2, 0.1], metric=metric, labeled=int((labels >= 0).sum()))
    control = replace(ranking.teachers[0], name="noise", status="control", share=0.0)
    one, other = warn(replace(ranking, teachers=(control, *ranking.teachers)))
    assert "No teacher scored above the control 'noise'" in one
    assert text in other


def test_nobody_above_chance_is_a_warning_and_one_above_is_none():
    ranking = change_rows(make_ranking([0.9, 0.5]), chance=0.9)
    (told,) = warn(ranking)
    assert "No teacher scored above what labels dealt at random give" in told
    assert warn(change_rows(ranking, chance=0.8)) == []


def test_who_has_labels_is_told_to_use_them():
    ranking = make_ranking([0.2, 0.1], metric="agreement", images=40)
    assert "Leave out --metric to rank by your 8 labels" in " ".join(warn(ranking))
    assert "Label a few images" in " ".join(warn(replace(ranking, labeled=0)))


def test_few_images_without_labels_are_said_to_say_nothing():
    ranking = make_ranking([0.2, 0.1], metric="agreement", images=19, labeled=0)
    assert "Only 19 images" in " ".join(warn(ranking))
    assert "Only" not in " ".join(warn(replace(ranking, images=20)))


def test_chance_is_that_of_teachers_and_each_is_held_against_its_own():
    rows = make_ranking([0.9, 0.5, 0.3]).teachers
    chances = (0.2, 0.6, 0.1)
    rows = [replace(row, chance=chance) for row, chance in zip(rows, chances, strict=True)]
    control = replace(rows[0], name="noise", status="control", share=0.0, chance=0.99)
    told = " ".join(read_table(replace(make_ranking([1.0]), teachers=(*rows, control))))
    assert "parc is up to 0.60; 2 of 3 teachers are above their own chance" in told


def test_who_has_no_share_is_named_with_the_reason():
    zoo = {"far": make_features(0.2), "near": make_features(4), "good": make_features(3, seed=1)}
    controls = {"noise": make_features(1.8)}
    ranking = rank(zoo, LABELS, metric="parc", controls=controls, top=1)
    told = " ".join(read_table(ranking))
    assert "No share, clearly worse than a control: far." in told
    assert "No share, left out by --top: good." in told
    reasons = {row.name: row.reason for row in ranking.teachers}
    assert reasons == {
        "near": "",
        "good": "left out by --top",
        "noise": "",
        "far": "clearly worse than a control",
    }


def test_controls_are_said_to_decide_only_where_they_do():
    ranking = rank(make_zoo(), LABELS, metric="parc", controls={"noise": make_features(0.5)})
    assert "who is clearly worse has no share" in " ".join(read_table(ranking))
    blind = rank(make_zoo(), LABELS, metric="clusters", controls={"noise": make_features(0.5)})
    assert read_table(blind) == ["Controls know nothing of any domain."]


def test_the_words_go_with_the_json():
    ranking = rank(make_zoo(), LABELS, metric="hscore,knn")
    shown = ranking.to_json()
    assert shown["notes"] == ranking.notes == warn(ranking)
    assert shown["reading"] == ranking.reading == read_table(ranking)
    assert "mean rank over hscore and knn; shares: by hscore" in shown["reading"][0]


def test_names_are_joined_as_in_a_sentence():
    assert [name_all([*"abc"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
