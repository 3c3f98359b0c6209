"""Scores without labels: what they measure, against slow ones, and how a ranking uses them."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from selection import UNLABELED, rank
from selection.metrics.unlabeled import NEIGHBORS, agreement, clusters, confidence
from tests.support.toys import paint_folder
from zoo.errors import RankingError
from zoo.features.store import Features


def make_features(signal, seed=0, rows=60, classes=4):
    rng = np.random.default_rng(seed)
    embeddings = (
        rng.normal(size=(rows, 12)) + signal * np.eye(classes, 12)[np.arange(rows) % classes]
    )
    logits = embeddings[:, :classes] * signal
    return Features(embeddings.astype(np.float32), logits.astype(np.float32))


@pytest.fixture
def zoo():
    return {"good": make_features(4, 1), "fair": make_features(3, 2), "blind": make_features(0, 3)}


def test_agreement_is_the_mean_share_of_common_neighbors(zoo):
    def neighbors(features):
        unit = features.embeddings / np.linalg.norm(features.embeddings, axis=1, keepdims=True)
        near = unit @ unit.T - 9 * np.eye(len(unit))
        return [set(row[:NEIGHBORS]) for row in np.argsort(-near, axis=1)]

    sets = {name: neighbors(features) for name, features in zoo.items()}
    for name, score in agreement(zoo).items():
        others = [sets[other] for other in zoo if other != name]
        slow = [
            len(a & b) / NEIGHBORS
            for other in others
            for a, b in zip(sets[name], other, strict=True)
        ]
        assert score == pytest.approx(np.mean(slow), abs=1e-3)


def test_controls_are_scored_by_agreement_and_do_not_vote(zoo):
    controls = {f"noise{i}": make_features(0, 9 + i) for i in range(3)}
    scores = agreement(zoo, controls)
    assert {name: scores[name] for name in zoo} == agreement(zoo)
    for name, control in controls.items():
        assert scores[name] == agreement({name: control, **zoo})[name]
    ranking = rank(zoo, np.full(60, -1), metric="agreement", controls=controls)
    assert {row.name: row.score for row in ranking.teachers} == pytest.approx(scores)


def test_clusters_is_the_cosine_to_centers_beyond_that_of_shuffled_columns(zoo):
    def normalize(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def cohesion(rows):
        fit = KMeans(10, n_init=10, random_state=0).fit(normalize(rows))  # pyright: ignore
        return (normalize(rows) @ normalize(fit.cluster_centers_).T).max(axis=1).mean()

    for name, score in clusters(zoo).items():
        rows = zoo[name].embeddings - zoo[name].embeddings.mean(axis=0)
        shuffled = np.random.default_rng(0).permuted(rows, axis=0)
        assert score == pytest.approx(max(0, cohesion(rows) - cohesion(shuffled)), abs=0.05)


def test_confidence_is_0_for_flat_answers_and_1_for_certain_ones():
    flat = Features(np.eye(5, dtype=np.float32), np.zeros((5, 4), np.float32))
    sure = Features(np.eye(5, dtype=np.float32), 1e3 * np.eye(5, 4, dtype=np.float32)[:, :4])
    none = Features(np.eye(5, dtype=np.float32), np.zeros((5, 0), np.float32))
    scores = confidence(
        {"flat": flat, "sure": Features(sure.embeddings[:4], sure.logits[:4]), "none": none}
    )
    assert scores == pytest.approx({"flat": 0, "sure": 1, "none": 0})


@pytest.mark.parametrize("name", UNLABELED)
def test_each_score_puts_teachers_that_see_groups_above_one_that_does_not(zoo, name):
    scores = UNLABELED[name](zoo)
    assert min(scores["good"], scores["fair"]) > scores["blind"]
    assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("name", UNLABELED)
def test_a_ranking_by_it_needs_no_labels_and_says_that_it_is_weak(zoo, name):
    ranking = rank(zoo, np.full(60, -1), metric=name)
    assert ranking.teachers[-1].name == "blind"
    assert (ranking.labeled, ranking.classes) == (0, 0)
    assert "without labels" in " ".join(ranking.warnings)
    assert sum(ranking.weights().values()) == pytest.approx(1)


@pytest.mark.parametrize("name", UNLABELED)
@pytest.mark.parametrize(
    ("value", "reason"), [(0.5, "same for every image"), (np.nan, "not finite")]
)
def test_a_broken_teacher_is_a_row_and_changes_no_other_score(zoo, name, value, reason):
    broken = Features(np.full((60, 12), value, np.float32), zoo["good"].logits)
    ranking = rank({"broken": broken, **zoo}, np.full(60, -1), metric=name)
    rows = {row.name: row for row in ranking.teachers}
    assert rows["broken"].status == "failed"
    assert reason in rows["broken"].reason
    alone = {row.name: row.score for row in rank(zoo, np.full(60, -1), metric=name).teachers}
    assert {teacher: rows[teacher].score for teacher in zoo} == alone


@pytest.mark.parametrize("name", UNLABELED)
def test_a_single_image_ranks_nothing(zoo, name):
    alone = {teacher: features.rows(np.array([0])) for teacher, features in zoo.items()}
    with pytest.raises(RankingError, match=r"A single image .* Add more images"):
        rank(alone, np.array([-1]), metric=name)


def test_a_metric_that_needs_labels_is_refused_without_them(zoo):
    with pytest.raises(RankingError, match="No image is labeled"):
        rank(zoo, np.full(60, -1), metric="parc")


def test_a_flat_folder_ranks_by_agreement(command, tmp_path, toy_zoo):
    folder = paint_folder(tmp_path / "loose", per_class=0, loose=12)
    ran = command("rank", "--target", folder, "--json")
    assert ran.json["metric"] == "agreement"
    assert ran.json["labeled"] == 0
    assert "without labels" in ran.err
    assert command("rank", "--target", folder, "--metric", "clusters", "--json").json["metric"] == (
        "clusters"
    )
    assert "no labels" in command("distill", "--target", folder).mistake
