"""Observing: each image goes through each teacher once, whatever is known, new, damaged or full."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import zoo.features.inference
from tests.support.toys import COLORS, paint
from zoo.features import extraction as extraction_module
from zoo.features import inference as inference_module
from zoo.features.extraction import extract_features
from zoo.features.store import FeatureStore, feature_key
from zoo.images.decoding import decode_images
from zoo.images.folder import read_images
from zoo.system import tensors


@pytest.fixture
def shown(monkeypatch):
    """How many images went through a network, by teacher."""
    counts = {}
    whole = zoo.features.inference.embed

    def count(teacher, pixels, **options):
        counts[teacher.card.name] = counts.get(teacher.card.name, 0) + len(pixels)
        return whole(teacher, pixels, **options)

    monkeypatch.setattr(inference_module, "embed", count)
    return counts


def is_mapped(array):
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def same(one, other):
    assert one.features.keys() == other.features.keys()
    for name, features in one.features.items():
        assert np.allclose(features.embeddings, other.features[name].embeddings, atol=0.02)
        assert np.allclose(features.logits, other.features[name].logits, atol=0.02)


def test_more_images_than_a_batch_and_a_shard_keep_their_order(toy_zoo, images, monkeypatch):
    whole = extract_features(toy_zoo, images)
    monkeypatch.setattr(inference_module, "BATCH", 4)
    monkeypatch.setattr(extraction_module, "SHARD", 7)
    store = FeatureStore(images.root.parent / "other")
    same(extract_features(toy_zoo, images, store=store), whole)
    assert len(list((store.folder / feature_key(toy_zoo[0])).iterdir())) == 3


def test_a_run_that_resumes_decides_on_conversion_as_one_that_was_not_killed(
    toy_zoo, images, monkeypatch
):
    totals = []
    whole = zoo.features.inference.embed

    def embed(teacher, pixels, *, total=0, **options):
        totals.append(total)
        return whole(teacher, pixels, total=total, **options)

    store = FeatureStore(images.root.parent / "other")
    extract_features(toy_zoo, images.subset(np.arange(11)), store=store)
    monkeypatch.setattr(inference_module, "embed", embed)
    assert extract_features(toy_zoo, images, store=store).forward_passes == 14
    assert {*totals} == {18}


def test_images_that_do_not_fit_into_memory_at_once_come_in_rounds(toy_zoo, images, monkeypatch):
    whole = extract_features(toy_zoo, images)
    decoded, told = [], []

    def decode(paths, *rest, **more):
        decoded.append(len(paths))
        return decode_images(paths, *rest, **more)

    monkeypatch.setattr(extraction_module, "DECODED", 7 * 3 * toy_zoo[0].input.size ** 2)
    monkeypatch.setattr(extraction_module, "decode_images", decode)
    store = FeatureStore(images.root.parent / "other")
    seen = extract_features(toy_zoo, images, store=store, progress=lambda *said: told.append(said))
    same(seen, whole)
    assert set(decoded) == {7, 4}
    assert seen.forward_passes == whole.forward_passes
    assert [said[1:] for said in told if said[0] == "ant"] == [(7, 18), (14, 18), (18, 18)]
    assert extract_features(toy_zoo, images, store=store).forward_passes == 0


def test_a_second_look_shows_nothing_to_any_network(toy_zoo, images, shown):
    first = extract_features(toy_zoo, images)
    assert shown == {"ant": 18, "bee": 18}
    second = extract_features(toy_zoo, images)
    assert shown == {"ant": 18, "bee": 18}
    assert (first.forward_passes, second.forward_passes) == (36, 0)
    for name, features in first.features.items():
        assert np.array_equal(features.embeddings, second.features[name].embeddings)
        assert np.array_equal(features.logits, second.features[name].logits)


def test_only_new_images_are_shown_when_some_are_added_renamed_or_removed(toy_zoo, imgs, shown):
    extract_features(toy_zoo, read_images(imgs))
    paint(imgs / "blue" / "new.png", COLORS["blue"], 999)
    (imgs / "red" / "1.png").rename(imgs / "red" / "zz.png")
    (imgs / "red" / "0.png").unlink()
    later = read_images(imgs)
    seen = extract_features(toy_zoo, later)
    assert shown == {"ant": 19, "bee": 19}
    assert seen.forward_passes == 2
    fresh = extract_features(toy_zoo, later, store=FeatureStore(imgs.parent / "other"))
    same(seen, fresh)


def test_a_new_teacher_is_asked_alone(toy_zoo, images, shown):
    extract_features(toy_zoo[:1], images)
    seen = extract_features(toy_zoo, images)
    assert shown == {"ant": 18, "bee": 18}
    assert seen.forward_passes == 18


@pytest.mark.parametrize("lost", [{"preprocessing": None}, {"sha256": ""}])
def test_a_card_that_lacks_what_its_files_determine_is_named_as_that(toy_zoo, images, lost):
    ant, bee = toy_zoo
    outputs = extract_features([replace(ant, **lost), bee], images)
    assert outputs.features.keys() == {"bee"}
    assert outputs.failures["ant"].startswith(f"{ant.folder / 'card.json'} has no preprocessing")


def test_images_of_the_same_content_are_shown_once_and_get_the_same_rows(toy_zoo, imgs, shown):
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "copy.png")
    images = read_images(imgs)
    seen = extract_features(toy_zoo[:1], images)
    assert shown == {"ant": 18}
    rows = [i for i, d in enumerate(images.digests) if d == images.digests[-4]]
    assert len(rows) == 2
    embeddings = seen.features["ant"].embeddings
    assert len(embeddings) == 19
    assert np.array_equal(embeddings[rows[0]], embeddings[rows[1]])


def test_damaged_entries_are_asked_again_and_come_out_right(toy_zoo, images, shown):
    store = FeatureStore()
    first = extract_features(toy_zoo, images)
    for path in (store.folder / feature_key(toy_zoo[0])).iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    second = extract_features(toy_zoo, images)
    assert second.forward_passes == 18
    assert shown == {"ant": 36, "bee": 18}
    same(first, second)


def test_features_too_large_for_memory_lie_in_files_without_a_name(toy_zoo, imgs, monkeypatch):
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "copy.png")
    images = read_images(imgs)
    whole = extract_features(toy_zoo, images, store=FeatureStore(imgs.parent / "other"))
    monkeypatch.setattr(tensors, "LARGE", 1)
    store = FeatureStore()
    for seen in (extract_features(toy_zoo, images), extract_features(toy_zoo, images)):
        same(seen, whole)
        for features in seen.features.values():
            assert is_mapped(features.embeddings)
            assert is_mapped(features.logits)
    assert {path.suffix for path in store.folder.rglob("*") if path.is_file()} == {".safetensors"}


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.mkdir"])
def test_a_full_disk_costs_a_note_and_nothing_else(toy_zoo, images, monkeypatch, call):
    right = extract_features(toy_zoo, images, store=FeatureStore(images.root.parent / "other"))

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, fail)
    seen = extract_features(toy_zoo, images)
    same(seen, right)
    (note,) = seen.warnings
    assert "No space left on device" in note
    assert "\n" not in note


def test_a_file_in_place_of_the_cache_costs_a_note(toy_zoo, images, cache, monkeypatch):
    (cache / "file").write_text("x")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(cache / "file"))
    seen = extract_features(toy_zoo, images)
    assert list(seen.features) == ["ant", "bee"]
    assert len(seen.warnings) == 1
