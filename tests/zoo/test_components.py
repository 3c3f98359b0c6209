"""Principal components: all of them rebuild the images, and a few equal the first of all."""

import numpy as np
import pytest

from zoo.features import linear_probe
from zoo.features.linear_probe import decompose, find_widest


@pytest.mark.parametrize(("images", "width"), [(50, 7), (7, 50), (20, 20)])
def test_principal_coordinates_rebuild_the_distances_of_the_images(images, width):
    rows = np.random.default_rng(5).normal(size=(images, width)) + 9
    basis, values = decompose(rows)
    centerd = rows - rows.mean(axis=0)
    assert np.allclose((basis * values) @ basis.T, centerd @ centerd.T)
    assert np.allclose(basis.T @ basis, np.eye(len(values)))
    assert (np.diff(values) <= 0).all()
    assert len(values) == min(images - 1, width)


def test_principal_coordinates_know_neither_rotation_nor_order():
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(30, 8)) * np.arange(1, 9)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    order = rng.permutation(30)
    basis, _ = decompose(rows)
    assert np.allclose(decompose(rows @ rotation)[0], basis)
    assert np.allclose(decompose(rows[order])[0], basis[order])


def test_directions_of_rounding_noise_are_left_out():
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 20))
    rows += 1e-9 * rng.normal(size=rows.shape)
    assert decompose(rows)[0].shape == (40, 3)
    assert decompose(np.full((5, 4), 0.1))[0].shape[1] <= 1


SPECTRA = {
    "even": np.geomspace(2, 0.2, 600),
    "flat": np.ones(600),
    "steep": np.arange(1, 601) ** -1.0,
    "fast": np.geomspace(1, 1e-6, 600),
    "one far above": np.r_[1e3, np.geomspace(2, 0.2, 599)],
    "rank 20": np.repeat([1.0, 0.0], [20, 580]),
    "rank 50": np.repeat([1.0, 0.0], [50, 550]),
}


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA.keys())
@pytest.mark.parametrize("images", [580, 1500])
def test_a_few_coordinates_equal_the_first_of_all(spectrum, images):
    rows = np.random.default_rng(8).normal(size=(images, 600)) * spectrum
    left, values, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    basis, squares = decompose(rows, 32)
    count = min(32, int(np.sum(values > 1e-6 * values[0])))
    assert np.allclose(squares, values[:count] ** 2, rtol=1e-9, atol=0)
    signs = np.sign(np.sum(basis * left[:, :count], axis=0))
    if len(set(spectrum)) > 2:
        assert np.allclose(basis, left[:, :count] * signs, atol=1e-6)
    assert np.allclose(basis @ (basis.T @ left[:, :count]), left[:, :count], atol=1e-6)


def test_few_coordinates_come_from_the_search_and_not_from_the_whole_decomposition(monkeypatch):
    rows = np.random.default_rng(9).normal(size=(700, 512)) * np.geomspace(2, 0.2, 512)
    sides, whole = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda gram: sides.append(len(gram)) or whole(gram))
    decompose(rows, 32)
    assert max(sides) < 100


def test_a_search_that_does_not_end_gives_way_to_the_whole_decomposition(monkeypatch):
    rows = np.random.default_rng(10).normal(size=(700, 512))
    slow = decompose(rows)
    monkeypatch.setattr(linear_probe, "ROUNDS", 1)
    assert find_widest(rows.T @ rows, 32) is None
    basis, values = decompose(rows, 32)
    assert np.allclose(values, slow[1][:32])
    assert np.allclose(basis, slow[0][:, :32])
