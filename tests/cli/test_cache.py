"""`zoo cache`: what is shown, and that nothing but old files of the cache is deleted."""

import os
import time

import pytest


@pytest.fixture
def filled(cache, tmp_path):
    """An old file of 1000 bytes, a new one of 500, and things that are not the cache's."""
    for name, size, days in (("features/a/old", 1000, 40), ("runs/new", 500, 1)):
        path = cache / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(size))
        os.utime(path, (0, time.time() - days * 86400))
    foreign = cache / "mine.txt"
    foreign.write_text("mine")
    (tmp_path / "outside").write_text("mine")
    os.utime(tmp_path / "outside", (0, 0))
    (cache / "scores").mkdir()
    (cache / "scores" / "link").symlink_to(tmp_path / "outside")
    (cache / "index").symlink_to(tmp_path)
    return cache


def sizes(ran):
    return {part["name"]: part["bytes"] for part in ran.json["parts"] if part["files"]}


def test_the_size_of_each_part_is_shown_and_nothing_is_deleted(command, filled):
    shown = command("cache", "--json")
    assert sizes(shown) == {"features": 1000, "runs": 500}
    assert shown.json["folder"] == str(filled)
    out = command("cache").out
    assert "2 files, 0.0 MB, are in" in out
    assert (filled / "features/a/old").exists()


def test_prune_deletes_what_is_older_than_the_days(command, filled, tmp_path):
    assert sizes(command("cache", "--prune", "--days", 50, "--json")) == {}
    assert sizes(command("cache", "--prune", "--json")) == {"features": 1000}
    assert not (filled / "features/a").exists()
    assert (filled / "runs/new").exists()
    assert "1 files, 0.0 MB, were deleted" in command("cache", "--prune", "--days", 0).out
    assert sizes(command("cache", "--json")) == {}
    assert (filled / "mine.txt").exists()
    assert (tmp_path / "outside").exists()


def test_an_empty_cache_is_no_mistake_and_days_need_prune(command):
    assert "0 files" in command("cache").out
    assert command("cache", "--days", 3).code == 2


def test_a_data_set_is_deleted_as_a_whole_or_not_at_all(command, cache):
    for name, days in (("old", (40, 50)), ("half", (40, 1))):
        for number, age in enumerate(days):
            path = cache / "datasets" / name / "images" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(100))
            os.utime(path, (0, time.time() - age * 86400))
    assert sizes(command("cache", "--prune", "--json")) == {"datasets": 200}
    assert [path.name for path in (cache / "datasets").iterdir()] == ["half"]
    assert len([*(cache / "datasets").rglob("*.png")]) == 2


def test_nothing_behind_a_link_is_deleted(command, cache, tmp_path):
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    cache.mkdir(exist_ok=True)
    for name in ("features", "datasets"):
        (cache / name).symlink_to(tmp_path / "mine")
    assert command("cache", "--prune", "--days", 0).code == 0
    assert (tmp_path / "mine" / "empty").is_dir()
