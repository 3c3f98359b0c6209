"""Neighbors by a plain product and by FAISS against scikit-learn and a literal loop."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from selection import index as index_module
from selection.index import find_nearest


@pytest.fixture(autouse=True, params=["a plain product", "FAISS"])
def _each_way(request, monkeypatch):
    if request.param == "FAISS":
        monkeypatch.setattr(index_module, "PLAIN", 0)


def draw_rows(images, width, seed=0):
    return np.random.default_rng(seed).normal(size=(images, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("images", "width", "k"), [(40, 6, 1), (40, 6, 5), (12, 30, 11), (2, 1, 1)]
)
def test_neighbors_equal_those_of_scikit_learn(images, width, k):
    rows = draw_rows(images, width)
    slow = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(rows)
    assert np.array_equal(find_nearest(rows, k), slow.kneighbors(return_distance=False))


def test_the_length_of_a_row_does_not_matter():
    rows = draw_rows(30, 5)
    stretched = rows * np.random.default_rng(1).uniform(1e-3, 1e3, size=(30, 1)).astype(np.float32)
    assert np.array_equal(find_nearest(rows, 3), find_nearest(stretched, 3))


@pytest.mark.parametrize("k", [1, 3])
def test_an_image_is_not_its_own_neighbor_among_many_duplicates(k):
    rows = np.repeat(draw_rows(3, 8), 20, axis=0)
    found = find_nearest(rows, k)
    assert found.shape == (60, k)
    assert not (found == np.arange(60)[:, None]).any()
    assert (found // 20 == np.arange(60)[:, None] // 20).all()
    assert all(len(set(row)) == k for row in found.tolist())


def test_a_row_of_zeros_has_neighbors_too():
    rows = draw_rows(5, 3)
    rows[2] = 0
    assert find_nearest(rows, 4).shape == (5, 4)
    assert sorted(find_nearest(rows, 4)[2].tolist()) == [0, 1, 3, 4]


@pytest.mark.parametrize("k", [0, 5, 6])
def test_more_neighbors_than_there_are_others_are_refused(k):
    with pytest.raises(ValueError, match="have no"):
        find_nearest(draw_rows(5, 3), k)


def test_many_images_have_nearly_all_their_neighbors_and_the_same_ones_again(monkeypatch):
    rows = draw_rows(3000, 12)
    monkeypatch.setattr(index_module, "PLAIN", 10_000)
    exact = find_nearest(rows, 8)
    monkeypatch.setattr(index_module, "PLAIN", 0)
    found = find_nearest(rows, 8)
    both = [len({*a} & {*b}) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert np.mean(both) / 8 > 0.97
    assert np.array_equal(find_nearest(rows, 8), found)
