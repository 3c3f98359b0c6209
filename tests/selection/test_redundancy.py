"""Teachers that say the same: their weight is shared, and a set of few leaves them out."""

import numpy as np
import pytest

from selection import rank
from selection.shares import SHARPNESS, choose, compare, divide
from zoo.features.store import Features


def draw(seed, rows=50, width=6):
    embeddings = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return Features(embeddings, np.zeros((rows, 0), np.float32))


def turn(features, seed=9):
    """The same teacher, its features rotated and scaled."""
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    return Features((3 * features.embeddings @ rotation).astype(np.float32), features.logits)


ZOO = {"one": draw(0), "same": turn(draw(0)), "other": draw(1)}


def test_a_rotated_copy_is_the_same_and_noise_is_not():
    table = compare(ZOO)
    assert np.allclose(table, table.T)
    assert np.allclose(np.diag(table), 1)
    assert table[0, 1] == pytest.approx(1, abs=1e-5)
    rows = [features.embeddings - features.embeddings.mean(axis=0) for features in ZOO.values()]
    one, other = rows[0] @ rows[0].T, rows[2] @ rows[2].T
    slow = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    assert table[0, 2] == pytest.approx(slow, abs=1e-6)


def test_two_copies_weigh_as_much_as_one():
    shares = divide({"one": 0.4, "same": 0.4, "other": 0.2}, ZOO)
    near = compare(ZOO)[0, 2] ** SHARPNESS
    slow = np.array([0.4 / (2 + near), 0.4 / (2 + near), 0.2 / (1 + 2 * near)])
    assert [*shares.values()] == pytest.approx([*(slow / slow.sum())], abs=1e-5)


def test_the_second_choice_is_not_the_copy_of_the_first():
    shares = {"one": 0.5, "same": 0.4, "other": 0.1}
    assert choose(shares, ZOO, 1) == {"one": 1.0}
    assert choose(shares, ZOO, 2).keys() == {"one", "other"}
    assert choose(shares, ZOO, 9).keys() == ZOO.keys()


def test_top_gives_shares_to_so_many_teachers():
    labels = np.arange(50) % 2
    signal = np.eye(2, 6)[labels].astype(np.float32) * 3
    zoo = {
        name: Features(features.embeddings + signal, features.logits)
        for name, features in {**ZOO, "fourth": draw(5)}.items()
    }
    for top in (1, 2, 3):
        ranking = rank(zoo, labels, metric="knn", power=1, top=top)
        assert sum(row.share > 0 for row in ranking.teachers) == top
        assert sum(row.share for row in ranking.teachers) == pytest.approx(1)
    assert sum(row.share > 0 for row in rank(zoo, labels, metric="knn", power=1).teachers) == 4
