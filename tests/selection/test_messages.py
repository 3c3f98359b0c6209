"""Sentences about a ranking: how to read its table, and warnings that it may mislead."""

from dataclasses import replace

import numpy as np
import pytest

from selection.scoring import rank
from tests.support.scoring_tasks import LABELS, make_features, make_ranking, make_zoo
from zoo.system.words import join_names


def change_rows(ranking, **changes):
    """The ranking with the same changes in every row."""
    return replace(ranking, teachers=tuple(replace(row, **changes) for row in ranking.teachers))


def test_a_good_ranking_needs_no_warning():
    assert rank(make_zoo(), LABELS, metric="knn").warnings == []


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
    one, other = replace(ranking, teachers=(control, *ranking.teachers)).warnings
    assert "No teacher scored above the control 'noise'" in one
    assert text in other


def test_no_teacher_above_chance_is_a_warning_and_one_above_is_none():
    ranking = change_rows(make_ranking([0.9, 0.5]), chance=0.9)
    (warning,) = ranking.warnings
    assert "No teacher scored above its permutation baseline" in warning
    assert change_rows(ranking, chance=0.8).warnings == []


def test_a_ranking_without_labels_suggests_to_use_or_make_labels():
    ranking = make_ranking([0.2, 0.1], metric="agreement", images=40)
    assert "Leave out --metric to rank by your 8 labels" in " ".join(ranking.warnings)
    assert "Label a few images" in " ".join(replace(ranking, labeled=0).warnings)


def test_few_images_without_labels_are_called_unreliable():
    ranking = make_ranking([0.2, 0.1], metric="agreement", images=19, labeled=0)
    assert "Only 19 images" in " ".join(ranking.warnings)
    assert "Only" not in " ".join(replace(ranking, images=20).warnings)


def test_the_permutation_baseline_counts_teachers_above_their_own():
    rows = make_ranking([0.9, 0.5, 0.3]).teachers
    chances = (0.2, 0.6, 0.1)
    rows = [replace(row, chance=chance) for row, chance in zip(rows, chances, strict=True)]
    control = replace(rows[0], name="noise", status="control", share=0.0, chance=0.99)
    told = " ".join(replace(make_ranking([1.0]), teachers=(*rows, control)).explanation)
    assert "all teachers together): 0.60; 2 of 3 teachers above their own." in told


def test_teachers_with_share_0_are_named_with_the_reason():
    zoo = {"far": make_features(0.2), "near": make_features(4), "good": make_features(3, seed=1)}
    controls = {"noise": make_features(2.5)}
    ranking = rank(zoo, LABELS, metric="linear_probe", controls=controls, top=1)
    told = " ".join(ranking.explanation)
    assert "Share 0, significantly worse than a control: far." in told
    assert "Share 0, left out by --top: good." in told
    reasons = {row.name: row.reason for row in ranking.teachers}
    assert reasons == {
        "near": "",
        "good": "left out by --top",
        "noise": "",
        "far": "significantly worse than a control",
    }


def test_teachers_that_score_nothing_are_named_as_such_unless_a_person_gave_them_a_share():
    ranking = make_ranking([0.4, 0.0, -0.1, -0.2], shares=[1, 0, 0, 1], metric="parc")
    assert ranking.explanation[-1] == "Share 0, no score above 0: b and c."
    edited = make_ranking([0.4, 0.3], shares=[1, 0], metric="parc")
    assert "Share 0" not in " ".join(edited.explanation)


def test_controls_are_explained_to_decide_only_where_they_do():
    ranking = rank(make_zoo(), LABELS, metric="parc", controls={"noise": make_features(0.5)})
    assert "baselines; significantly worse teachers get share 0." in " ".join(ranking.explanation)
    blind = rank(make_zoo(), LABELS, metric="clusters", controls={"noise": make_features(0.5)})
    assert blind.explanation[0] == "Controls are domain-agnostic baselines."


def test_warnings_and_explanation_go_with_the_json():
    ranking = rank(make_zoo(), LABELS, metric="hscore,knn")
    shown = ranking.to_json()
    assert shown["warnings"] == ranking.warnings
    assert shown["explanation"] == ranking.explanation
    assert "mean rank over hscore and knn; shares: by hscore" in shown["explanation"][0]
    assert "teachers that are significantly better by hscore, at 5 %" in shown["explanation"][1]


def test_names_are_joined_as_in_a_sentence():
    listed = [join_names([*"abc"][:count]) for count in range(4)]
    assert listed == ["", "a", "a and b", "a, b and c"]
    assert join_names([*"abcdefgh"], most=6) == "a, b, c, d, e, f and 2 more"
