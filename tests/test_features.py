"""The feature store: what was said once is never asked again, and nothing wrong is ever read."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zoo.card import Preprocessing, TeacherCard
from zoo.features import Features, FeatureStore, cache_folder, feature_key

LOOK = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CARD = TeacherCard("t", "d", "s", "", "net", ("a",), 1, 1, "0" * 64, "mit", "x", "CC0", LOOK)


def make(rows, seed=0):
    rng = np.random.default_rng(seed)
    return Features(
        rng.normal(size=(rows, 5)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32)
    )


def digests(count, start=0):
    return [f"{number:064x}" for number in range(start, start + count)]


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def test_rows_come_back_in_the_order_that_is_asked_for(store):
    said = make(6)
    store.write("k", digests(6), said)
    known, found = store.read("k", [digests(6)[4], "f" * 64, digests(6)[1]])
    assert known.tolist() == [True, False, True]
    assert (found.embeddings == said.embeddings[[4, 1]]).all()
    assert (found.logits == said.logits[[4, 1]]).all()


def test_several_entries_are_read_together(store):
    store.write("k", digests(3), make(3, 1))
    store.write("k", digests(3, start=3), make(3, 2))
    known, found = store.read("k", digests(6))
    assert known.all()
    assert (found.logits == np.concatenate([make(3, 1).logits, make(3, 2).logits])).all()


def test_another_teacher_and_an_empty_store_know_nothing(store):
    store.write("k", digests(2), make(2))
    for other in (store, FeatureStore(store.folder / "nowhere")):
        known, found = other.read("other", digests(2))
        assert not known.any()
        assert found is None


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "1" * 64},
        {"network": "other"},
        {"preprocessing": replace(LOOK, size=64)},
        {"preprocessing": replace(LOOK, mean=(0.4, 0.5, 0.5))},
        {"preprocessing": replace(LOOK, crop_pct=0.9)},
        {"name": "u"},
    ],
)
def test_a_key_changes_with_all_that_the_outputs_depend_on(change):
    assert feature_key(CARD) != feature_key(replace(CARD, **change))
    assert feature_key(CARD) == feature_key(replace(CARD, accuracy=0.3, license="other"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage", "empty", "header"])
def test_a_damaged_entry_is_not_read(store, damage):
    store.write("k", digests(4), make(4))
    (path,) = (store.folder / "k").glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 1
    elif damage == "header":
        at = content.index(digests(4)[2].encode()) + 60
        content[at] = ord("9")
    damaged = {"cut": content[:-7], "garbage": b"x" * 50, "empty": b""}.get(damage, content)
    path.write_bytes(bytes(damaged))
    known, _ = store.read("k", digests(4))
    assert not known.any()
    store.write("k", digests(4), make(4))
    assert store.read("k", digests(4))[0].all()


def test_an_entry_moved_from_another_teacher_is_not_read(store):
    store.write("k", digests(4), make(4))
    shutil.copytree(store.folder / "k", store.folder / "other")
    assert not store.read("other", digests(4))[0].any()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_no_trace(store, monkeypatch, failing):
    store.write("k", digests(2), make(2))

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        store.write("k", digests(2, start=5), make(2, 1))
    assert len(list((store.folder / "k").iterdir())) == 1
    assert store.read("k", digests(2))[0].all()


def _write_many(folder, start):
    for number in range(20):
        FeatureStore(folder).write("k", digests(5, start + number), make(5, start + number))


def test_processes_at_work_together_do_not_disturb_each_other(store):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_many, args=(store.folder, n)) for n in (0, 10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    known, found = store.read("k", digests(34))
    assert known.all()
    valid = {row.tobytes() for n in range(30) for row in make(5, n).logits}
    assert all(row.tobytes() in valid for row in found.logits)


def test_a_killed_process_leaves_only_whole_entries(store):
    code = (
        "import sys; sys.path[:0] = [sys.argv[2], sys.argv[3]]\n"
        "from pathlib import Path; import test_features as t\n"
        "n = 0\n"
        "while True:\n"
        "    t.FeatureStore(Path(sys.argv[1])).write('k', t.digests(500, n), t.make(500, n))\n"
        "    n += 500\n"
    )
    here = Path(__file__).parent
    words = [sys.executable, "-c", code, str(store.folder), str(here), str(here.parent)]
    with subprocess.Popen(words) as process:
        while not list(store.folder.glob("k/*.safetensors")):
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    known, found = store.read("k", digests(500))
    assert known.all()
    assert (found.logits == make(500, 0).logits).all()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("SOURCE_ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "source-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "source-zoo"


def test_features_of_unlike_shapes_are_a_programmers_mistake():
    with pytest.raises(ValueError, match="2 embeddings, 3 logits"):
        Features(np.zeros((2, 4), np.float32), np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        Features(np.zeros(2, np.float32), np.zeros((2, 4), np.float32))
