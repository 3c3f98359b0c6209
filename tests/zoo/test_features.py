"""The feature store: what it says is true, whatever happened to its files."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zoo.features import store as store_module
from zoo.features.store import Features, FeatureStore, feature_key
from zoo.system.files import cache_folder
from zoo.teachers.card import Preprocessing, TeacherCard

ROOT = Path(__file__).parents[2]
WRITER = """
import hashlib, sys
import numpy as np
from pathlib import Path
from zoo.features.store import Features, FeatureStore
store, start = FeatureStore(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
for number in range(start, start + int(sys.argv[3])):
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    row = np.full((1, 20000), number, np.float32)
    store.write("key", [digest], Features(row, row[:, :2]))
"""


def draw(images, seed=0, width=5, classes=3):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(images, width + classes)).astype(np.float32)
    digests = [f"{seed:02x}{i:062x}" for i in range(images)]
    return digests, Features(rows[:, :width], rows[:, width:])


def equal(one, other):
    same = np.array_equal(one.embeddings, other.embeddings)
    return same and np.array_equal(one.logits, other.logits)


def start_writer(folder, start, count):
    command = [sys.executable, "-c", WRITER, str(folder), str(start), str(count)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as said:
        said.readline()
    return process


def only_shard(store, key):
    (path,) = (store.folder / key).glob("*.safetensors")
    return path


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def test_rows_come_back_in_the_order_of_the_question(store):
    digests, features = draw(6)
    store.write("key", digests, features)
    order = np.array([4, 0, 5, 1])
    known, found = store.read("key", [digests[i] for i in order])
    assert known.all()
    assert equal(found, features.rows(order))


def test_rows_of_several_writes_are_joined_and_unknown_ones_are_told(store):
    first, second = draw(3, seed=1), draw(3, seed=2)
    store.write("key", *first)
    store.write("key", *second)
    asked = [second[0][2], "f" * 64, first[0][1], first[0][0]]
    known, found = store.read("key", asked)
    assert known.tolist() == [True, False, True, True]
    expected = [second[1].logits[2], first[1].logits[1], first[1].logits[0]]
    assert np.array_equal(found.logits[known], expected)
    assert not found.logits[1].any()


def test_nothing_is_known_at_first_nor_under_another_key(store):
    digests, features = draw(2)
    assert store.read("key", digests)[1] is None
    store.write("key", digests, features)
    known, found = store.read("other", digests)
    assert (known.any(), found) == (False, None)


def test_a_teacher_without_a_classifier_has_no_logits(store):
    digests, features = draw(4, classes=0)
    store.write("key", digests, features)
    assert store.read("key", digests)[1].logits.shape == (4, 0)


def test_no_flipped_bit_and_no_cut_is_ever_read_as_truth(store):
    digests, features = draw(2, width=2, classes=1)
    store.write("key", digests, features)
    path = only_shard(store, "key")
    whole = path.read_bytes()
    assert equal(store.read("key", digests)[1], features)
    for place in range(len(whole)):
        for mask in (0x01, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= mask
            path.write_bytes(damaged)
            known, found = store.read("key", digests)
            assert not known.any() or equal(found, features), place
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert not store.read("key", digests)[0].any(), length


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 4096, b"\x02\0\0\0\0\0\0\0{}"])
def test_garbage_beside_a_good_shard_does_not_hide_it(store, content):
    digests, features = draw(3)
    store.write("key", digests, features)
    (store.folder / "key" / "0.safetensors").write_bytes(content)
    (store.folder / "key" / "1.safetensors").mkdir()
    (store.folder / "key" / "2.safetensors").symlink_to("nowhere")
    assert equal(store.read("key", digests)[1], features)


def test_a_shard_copied_from_another_teacher_is_not_read(store):
    digests, features = draw(3)
    store.write("ant", digests, features)
    (store.folder / "bee").mkdir()
    shard = only_shard(store, "ant")
    (store.folder / "bee" / shard.name).write_bytes(shard.read_bytes())
    assert not store.read("bee", digests)[0].any()


def test_a_shard_of_another_version_of_the_store_is_not_read(store, monkeypatch):
    digests, features = draw(3)
    store.write("key", digests, features)
    monkeypatch.setattr(store_module, "STORE_FORMAT", "another")
    assert not store.read("key", digests)[0].any()


def test_shards_of_different_widths_do_not_break_a_reader(store):
    one, other = draw(2, seed=1), draw(2, seed=2, width=7)
    store.write("key", *one)
    store.write("key", *other)
    known, found = store.read("key", [*one[0], *other[0]])
    assert known.sum() == 2
    told = found.rows(np.flatnonzero(known))
    assert equal(told, one[1]) or equal(told, other[1])


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_full_disk_leaves_old_shards_and_no_scraps(store, monkeypatch, call):
    old, new = draw(2, seed=1), draw(2, seed=2)
    store.write("key", *old)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(OSError, match="No space"):
            store.write("key", *new)
    assert len(list((store.folder / "key").iterdir())) == 1
    known, found = store.read("key", [*old[0], *new[0]])
    assert known.tolist() == [True, True, False, False]
    assert equal(found.rows(np.flatnonzero(known)), old[1])


def test_a_file_where_the_store_should_be_knows_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner"):
        store = FeatureStore(folder)
        digests, features = draw(2)
        assert not store.read("key", digests)[0].any()
        with pytest.raises(OSError, match=r"exists|directory"):
            store.write("key", digests, features)


def test_two_processes_write_at_once_and_all_is_kept(store):
    import hashlib

    writers = [start_writer(store.folder, start, 15) for start in (0, 10)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(25)]
    known, found = store.read("key", digests)
    assert known.all()
    assert (found.embeddings == np.arange(25)[:, None]).all()
    assert len(list((store.folder / "key").glob("*.safetensors"))) == 25
    assert not list((store.folder / "key").glob("*.part"))


@pytest.mark.parametrize("wait", [0.005, 0.05])
def test_a_writer_killed_midway_leaves_only_true_rows(store, wait):
    import hashlib

    writer = start_writer(store.folder, 0, 100000)
    time.sleep(wait)
    writer.send_signal(signal.SIGKILL)
    writer.wait(60)
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]
    known, found = store.read("key", digests)
    written = int(known.sum())
    assert known[:written].all()
    if found is not None:
        assert (found.embeddings[known] == np.arange(written)[:, None]).all()
    again = draw(1, width=20000, classes=2)
    store.write("key", *again)
    assert equal(store.read("key", again[0])[1], again[1])


def test_the_key_holds_all_that_outputs_depend_on_and_nothing_else():
    look = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    card = TeacherCard("a", "b", "c", "n", 1, "l", "d", "e", look, sha256="0" * 64)
    base = feature_key(card)
    others = [
        replace(card, sha256="1" * 64),
        replace(card, network="m"),
        replace(card, classes=0),
        replace(card, loader="timm"),
        replace(card, model_args={"img_size": 32}),
        replace(card, overlay={"num_classes": 2}),
        *(
            replace(card, preprocessing=replace(look, **change))
            for change in [
                {"size": 40},
                {"mean": (0, 0.5, 0.5)},
                {"std": (1, 0.5, 0.5)},
                {"interpolation": "bicubic"},
                {"crop_pct": 0.9},
                {"crop_mode": "squash"},
                {"channels": "bgr"},
            ]
        ),
    ]
    assert len({feature_key(other) for other in others} | {base}) == 14
    same = replace(card, accuracy=0.5, domain="z", license="z", folder=Path("z"))
    assert feature_key(same) == base


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert FeatureStore().folder == tmp_path / "own" / "features"
    monkeypatch.delenv("SOURCE_ZOO_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "source-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~")) / ".cache" / "source-zoo"  # noqa: PTH111
    monkeypatch.setenv("SOURCE_ZOO_CACHE", "~nobody-of-this-name/cache")
    assert cache_folder() == Path("~nobody-of-this-name/cache")


def test_features_of_wrong_shape_are_a_programmers_mistake():
    row = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        Features(row[0], row)
    with pytest.raises(ValueError, match="2 embeddings, 1 logits"):
        Features(row, row[:1])
