"""Scores that are known are not computed again; any other input is another score."""

import numpy as np
import pytest

from selection import scoring
from selection.scoring import ScoreStore, rank, score_key
from zoo.features.store import Features

LABELS = np.arange(24) % 3
ZOO = {
    name: Features(
        np.random.default_rng(seed).normal(size=(24, 5)).astype(np.float32),
        np.zeros((24, 2), np.float32),
    )
    for seed, name in enumerate(["ant", "bee"])
}


@pytest.fixture
def store(tmp_path):
    return ScoreStore(tmp_path / "scores")


@pytest.fixture
def computed(monkeypatch):
    """How often a teacher was scored."""
    calls = []
    real = scoring._measure
    monkeypatch.setattr(scoring, "_measure", lambda *given: (calls.append(1), real(*given))[1])
    return calls


def test_a_second_ranking_is_the_first_and_scores_nobody(store, computed):
    first = rank(ZOO, LABELS, store=store)
    assert len(computed) == 2
    assert rank(ZOO, LABELS, store=store) == first == rank(ZOO, LABELS)
    assert len(computed) == 4  # those without a store


def test_a_new_teacher_is_scored_alone(store, computed):
    rank(ZOO, LABELS, store=store)
    more = ZOO | {"cat": Features(ZOO["ant"].embeddings + 1, ZOO["ant"].logits)}
    assert len(rank(more, LABELS, store=store).teachers) == 3
    assert len(computed) == 3


@pytest.mark.parametrize(
    "changes", [{"metric": "parc"}, {"metric": "probe"}, {"seed": 1}, {"resamples": 20}]
)
def test_every_option_that_makes_a_score_makes_another_entry(store, computed, changes):
    rank(ZOO, LABELS, store=store)
    assert rank(ZOO, LABELS, store=store, **changes) == rank(ZOO, LABELS, **changes)
    assert len(computed) == 6


def test_options_that_only_share_out_score_nobody_again(store, computed):
    rank(ZOO, LABELS, store=store)
    again = rank(ZOO, LABELS, store=store, power=1.0, top=1)
    assert again == rank(ZOO, LABELS, power=1.0, top=1)
    assert len(computed) == 4


def test_other_features_labels_or_scores_are_another_entry():
    one = Features(np.zeros((4, 6), np.float32), np.zeros((4, 2), np.float32))
    labels = np.array([0, 1, 0, 1])
    moved = Features(one.embeddings + 1, one.logits)
    louder = Features(one.embeddings, one.logits + 1)
    wider = Features(np.zeros((6, 4), np.float32), np.zeros((6, 1), np.float32))
    keys = [
        score_key(features, known, ["a"], scores, 0, 9)
        for features, known, scores in [
            (one, labels, {}), (moved, labels, {}), (louder, labels, {}), (wider, labels, {}),
            (one, 1 - labels, {}), (one, labels, {"agreement": 0.5}),
        ]
    ]  # fmt: skip
    assert len(set(keys)) == 6


def test_scores_of_another_version_of_the_store_are_computed_again(store, computed, monkeypatch):
    first = rank(ZOO, LABELS, store=store)
    monkeypatch.setattr(scoring, "SCORES_FORMAT", "another")
    assert rank(ZOO, LABELS, store=store) == first
    assert len(computed) == 4


def test_scores_under_the_name_of_another_key_are_computed_again(store, computed):
    first = rank(ZOO, LABELS, store=store)
    one, other = sorted(store.folder.iterdir())
    one.write_bytes(other.read_bytes())
    assert rank(ZOO, LABELS, store=store) == first
    assert len(computed) == 3


def test_a_damaged_entry_is_scored_again(store, computed):
    first = rank(ZOO, LABELS, store=store)
    for path in store.folder.iterdir():
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    assert rank(ZOO, LABELS, store=store) == first
    assert len(computed) == 4
    assert rank(ZOO, LABELS, store=store) == first
    assert len(computed) == 4


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, computed):
    (tmp_path / "file").write_text("in the way")
    store = ScoreStore(tmp_path / "file" / "scores")
    assert rank(ZOO, LABELS, store=store) == rank(ZOO, LABELS, store=store)
    assert len(computed) == 4
