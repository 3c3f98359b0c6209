"""Teachers: what they say is right, said once, and a broken one fails alone."""

import errno
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from conftest import COLORS, build_teacher, paint
from safetensors.torch import load_file, save_file

from zoo.card import sha256_of
from zoo.decoding import decode_images
from zoo.errors import TeacherBroken
from zoo.features import FeatureStore
from zoo.images import read_images
from zoo.teacher import load_teacher, observe, preprocessing_of


def test_embeddings_are_the_input_of_the_classifier_and_logits_its_output(imgs, toy_zoo):
    images = read_images(imgs)
    seen = observe(toy_zoo, images)
    for card in toy_zoo:
        network = timm.create_model(f"local-dir:{card.folder}", pretrained=True).eval()
        pixels = torch.from_numpy(decode_images(images.paths, card.preprocessing))
        with torch.inference_mode():
            shown = (pixels.float() / 255 - 0.5) / 0.5
            embeddings = network.forward_head(network.forward_features(shown), pre_logits=True)
            logits = network(shown)
        said = seen.features[card.name]
        # bfloat16 where the CPU has it
        assert np.abs(said.embeddings - embeddings.numpy()).max() < 0.03 * embeddings.abs().max()
        assert np.abs(said.logits - logits.numpy()).max() < 0.03 * logits.abs().max()
    assert seen.forward_passes == 2 * len(images)


def test_a_second_look_asks_no_teacher_and_says_the_same(imgs, toy_zoo):
    first = observe(toy_zoo, read_images(imgs))
    second = observe(toy_zoo, read_images(imgs))
    assert second.forward_passes == 0
    for name, said in first.features.items():
        assert (said.embeddings == second.features[name].embeddings).all()
        assert (said.logits == second.features[name].logits).all()


def test_only_new_contents_are_shown_and_copies_get_the_same_rows(imgs, toy_zoo):
    before = observe(toy_zoo, read_images(imgs))
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "copy.png")
    paint(imgs / "green" / "new.png", COLORS["green"], 991)
    images = read_images(imgs)
    after = observe(toy_zoo, images)
    assert after.forward_passes == len(toy_zoo)
    at = {path.name + path.parent.name: row for row, path in enumerate(images.paths)}
    logits = after.features["ant"].logits
    assert (logits[at["copy.pngblue"]] == logits[at["0.pngred"]]).all()
    assert (before.features["ant"].logits[0] == logits[0]).all()


def test_rows_follow_the_order_of_the_images(imgs, toy_zoo):
    images = read_images(imgs)
    order = np.random.default_rng(0).permutation(len(images))
    straight = observe(toy_zoo, images.subset(order[:9]))
    mixed = observe(toy_zoo, images.subset(order))
    expected = observe(toy_zoo, images).features["bee"]
    assert (mixed.features["bee"].logits == expected.logits[order]).all()
    assert (straight.features["bee"].logits == expected.logits[order[:9]]).all()


def spoil(card, how):
    """Damage a teacher's folder; returns its card, true to the file again where it should be."""
    weights = card.folder / "model.safetensors"
    config = card.folder / "config.json"
    document = json.loads(config.read_text())
    if how == "missing":
        weights.unlink()
    elif how == "flipped":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(bytes(content))
    elif how == "unknown network":
        config.write_text(json.dumps(document | {"architecture": "no_such_net"}))
    elif how == "class count":
        return replace(card, labels=("a", "b"))
    elif how == "other network":
        config.write_text(json.dumps(document | {"architecture": "test_vit"}))
    elif how == "not a number":
        tensors = load_file(weights)
        tensors["fc.weight"] = torch.full_like(tensors["fc.weight"], float("nan"))
        save_file(tensors, weights)
        return replace(card, sha256=sha256_of(weights))
    elif how == "no folder":
        return replace(card, folder=None)
    return card


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("missing", "is missing"),
        ("flipped", "not the file of its card"),
        ("unknown network", "cannot load"),
        ("other network", "cannot load"),
        ("class count", "does not have the 2 classes"),
        ("not a number", "not finite"),
        ("no folder", "not on this machine"),
    ],
)
def test_a_broken_teacher_fails_alone_with_its_reason(imgs, toy_zoo, tmp_path, how, why):
    broken = spoil(build_teacher(tmp_path / "cow", "cow", seed=5), how)
    seen = observe([broken, *toy_zoo], read_images(imgs))
    assert list(seen.features) == ["ant", "bee"]
    assert list(seen.failures) == ["cow"]
    assert why in seen.failures["cow"]
    assert "\n" not in seen.failures["cow"]
    assert seen.forward_passes == 2 * 18
    again = observe([broken], read_images(imgs))
    assert again.failures.keys() == {"cow"}


def test_a_store_that_cannot_be_written_costs_a_note_and_nothing_else(imgs, toy_zoo, monkeypatch):
    expected = observe(toy_zoo, read_images(imgs)).features["ant"].logits

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FeatureStore, "write", fail)
    monkeypatch.setattr(FeatureStore, "read", lambda self, key, d: (np.zeros(len(d), bool), None))
    seen = observe(toy_zoo, read_images(imgs))
    assert (seen.features["ant"].logits == expected).all()
    (note,) = seen.notes
    assert "No space left" in note


def test_a_file_in_place_of_the_cache_costs_a_note_and_nothing_else(imgs, toy_zoo, tmp_path):
    (tmp_path / "file").write_text("x")
    seen = observe(toy_zoo, read_images(imgs), store=FeatureStore(tmp_path / "file"))
    assert seen.features.keys() == {"ant", "bee"}
    assert len(seen.notes) == 1


def test_finished_parts_are_kept_when_a_look_is_cut_short(imgs, toy_zoo, monkeypatch):
    monkeypatch.setattr("zoo.teacher.SHARD", 5)

    def stop(teacher, done, total):
        if done > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(toy_zoo[:1], read_images(imgs), progress=stop)
    assert observe(toy_zoo[:1], read_images(imgs)).forward_passes == 18 - 10


def test_the_store_is_in_the_user_s_cache_unless_given(imgs, toy_zoo, cache, tmp_path):
    observe(toy_zoo, read_images(imgs), store=FeatureStore(tmp_path / "own"))
    assert not list(cache.iterdir())
    observe(toy_zoo, read_images(imgs))
    assert {path.name for path in cache.iterdir()} == {"features"}


def test_a_loaded_teacher_is_in_evaluation_mode(toy_zoo):
    assert not load_teacher(toy_zoo[0]).network.training
    with pytest.raises(TeacherBroken):
        load_teacher(replace(toy_zoo[0], sha256="0" * 64))


def test_a_configuration_of_timm_becomes_a_preprocessing():
    config = {"input_size": [3, 48, 48], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}
    look = preprocessing_of(config | {"interpolation": "bicubic", "crop_pct": 0.9})
    assert (look.size, look.interpolation, look.crop_pct) == (48, "bicubic", 0.9)
    with pytest.raises(ValueError, match="3 x S x S"):
        preprocessing_of(config | {"input_size": [3, 48, 64]})
