"""Controls: features that know nothing of any domain, and how they stand in a ranking."""

import sys

import numpy as np
import pytest

from selection.pipeline import rank_images
from tests.support.toys import build_teacher, paint_folder
from zoo.features import controls as controls_module
from zoo.features.controls import NAMES, RANDOM, START, STATISTICS, extract_controls
from zoo.features.store import FeatureStore
from zoo.images.folder import read_images
from zoo.teachers import catalogue


@pytest.fixture
def world(tmp_path):
    return read_images(paint_folder(tmp_path / "imgs", per_class=4, loose=3))


def test_statistics_are_the_mean_and_deviation_of_each_cell_and_channel(world):
    from zoo.features.controls import _FORM, _describe
    from zoo.images.decoding import decode_images

    pixels = decode_images(world.paths, _FORM).astype(float)
    found = _describe(decode_images(world.paths, _FORM), "cpu").embeddings
    cell = pixels[:, 1, 16:32, 48:64]
    column = (1 * 4 + 1) * 4 + 3
    assert np.allclose(found[:, column], cell.mean(axis=(1, 2)), rtol=1e-4)
    assert np.allclose(found[:, 48 + column], cell.std(axis=(1, 2)), rtol=1e-3)


def test_controls_are_the_same_every_time_and_kept(world, monkeypatch):
    once = extract_controls(world)
    assert tuple(once) == NAMES
    assert not any(features.logits.size for name, features in once.items() if name != START)
    monkeypatch.setattr(controls_module, "decode_images", None)
    for slow in ("torch", "timm", "zoo.system.devices", "zoo.features.inference"):
        monkeypatch.setitem(sys.modules, slow, None)
    for name in (STATISTICS, RANDOM):
        assert np.array_equal(extract_controls(world)[name].embeddings, once[name].embeddings)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(world, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "write", full)
    assert tuple(extract_controls(world)) == NAMES


def test_a_ranking_shows_the_controls_without_place_or_share(world, tmp_path, monkeypatch):
    build_teacher(tmp_path / "zoo" / "ant", "ant")
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path / "zoo")
    ranking = rank_images(world)
    rows = {row.name: row for row in ranking.teachers}
    assert rows.keys() == {"ant", *NAMES}
    for name in NAMES:
        assert (rows[name].status, rows[name].share, rows[name].rank) == ("control", 0, None)
