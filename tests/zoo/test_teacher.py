"""Teachers: what they say of images is what timm says, each image once, each failure alone."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.support.toys import build_teacher, paint
from zoo.errors import ImagesError, TeacherBroken
from zoo.features import inference as inference_module
from zoo.features.extraction import extract_features
from zoo.features.inference import normalize
from zoo.features.store import FeatureStore, feature_key
from zoo.images.decoding import decode_images
from zoo.images.folder import read_images
from zoo.system import devices
from zoo.teachers.card import Preprocessing, TeacherCard, sha256_of
from zoo.teachers.loading import load_teacher


@pytest.fixture
def images(imgs):
    return read_images(imgs)


def ask_timm(card, images):
    """The slow way, in float32: one image at a time through timm's own functions."""
    network = timm.create_model(f"local-dir:{card.folder}", pretrained=True).eval()
    look = card.preprocessing
    embeddings, logits = [], []
    for pixels in decode_images(images.paths, look):
        x = torch.from_numpy(pixels)[None].float() / 255
        x = (x - torch.tensor(look.mean)[:, None, None]) / torch.tensor(look.std)[:, None, None]
        with torch.no_grad():
            maps = network.forward_features(x)  # pyright: ignore
            embeddings.append(network.forward_head(maps, pre_logits=True)[0].numpy())  # pyright: ignore
            logits.append(network(x)[0].numpy())
    return np.stack(embeddings), np.stack(logits)


def rework(card, folder, change):
    """A copy of a teacher with other weights and a card that is true of them."""
    shutil.copytree(card.folder, folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    return replace(card, name=folder.name, sha256=sha256_of(path), folder=folder)


def reconfigure(card, folder, **entries):
    shutil.copytree(card.folder, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))
    return replace(card, name=folder.name, folder=folder)


@pytest.mark.parametrize(("native", "tolerance"), [(False, 1e-4), (True, 0.03)])
def test_embeddings_and_logits_are_those_of_timm(toy_zoo, images, monkeypatch, native, tolerance):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: native)
    seen = extract_features(toy_zoo, images)
    for card in toy_zoo:
        embeddings, logits = ask_timm(card, images)
        found = seen.features[card.name]
        assert found.embeddings.dtype == found.logits.dtype == np.float32
        assert found.logits.shape == (len(images), len(card.labels))
        for got, slow in ((found.embeddings, embeddings), (found.logits, logits)):
            assert np.abs(got - slow).max() <= tolerance * np.abs(slow).max()
    assert seen.forward_passes == 2 * len(images)
    assert (seen.failures, seen.warnings) == ({}, ())


def test_teachers_of_different_geometry_see_their_own_size(toy_zoo, images, tmp_path):
    big = build_teacher(tmp_path / "big", "big", size=48, seed=5)
    seen = extract_features([*toy_zoo, big], images)
    assert list(seen.features) == ["ant", "bee", "big"]
    embeddings, _ = ask_timm(big, images)
    difference = np.abs(seen.features["big"].embeddings - embeddings).max()
    assert difference <= 0.03 * np.abs(embeddings).max()


def test_loading_draws_no_weights_that_the_file_replaces(toy_zoo):
    before = torch.get_rng_state()
    load_teacher(toy_zoo[0])
    assert torch.equal(torch.get_rng_state(), before)


def flip(card, folder):
    shutil.copytree(card.folder, folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    return replace(card, folder=folder)


def lose(card, folder, name):
    shutil.copytree(card.folder, folder)
    (folder / name).unlink()
    return replace(card, folder=folder)


def block(card, folder):
    shutil.copytree(card.folder, folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    return replace(card, folder=folder)


BROKEN = {
    "flipped byte": (flip, "not the file of its card"),
    "wrong sha": (lambda c, f: replace(c, sha256="0" * 64), "not the file of its card"),
    "no weights": (lambda c, f: lose(c, f, "model.safetensors"), "is missing"),
    "folder as weights": (block, "not a regular file"),
    "no config": (lambda c, f: lose(c, f, "config.json"), "config.json does not exist"),
    "unknown network": (
        lambda c, f: replace(reconfigure(c, f, architecture="nonet"), network="nonet"),
        "timm cannot load",
    ),
    "other network": (lambda c, f: reconfigure(c, f, architecture="test_vit"), "names the network"),
    "other classes": (lambda c, f: replace(c, labels=(), classes=2), "has 3 classes, its card 2"),
    "no folder": (lambda c, f: replace(c, folder=None), "not on this machine"),
    "nan": (
        lambda c, f: rework(c, f, lambda w: w["fc.weight"].fill_(float("nan"))),
        "not finite",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_teacher_is_a_failure_of_one_line_and_the_others_go_on(
    toy_zoo, images, tmp_path, kind
):
    spoil, reason = BROKEN[kind]
    broken = replace(spoil(toy_zoo[0], tmp_path / "broken"), name="broken")
    seen = extract_features([broken, toy_zoo[1]], images)
    assert list(seen.features) == ["bee"]
    assert list(seen.failures) == ["broken"]
    assert reason in seen.failures["broken"]
    assert "\n" not in seen.failures["broken"]
    assert seen.forward_passes == 18
    assert not FeatureStore().read(feature_key(broken), images.digests)[0].any()


def test_a_network_that_cannot_take_the_images_is_a_failure_too(toy_zoo, images, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes differ\nand much more")

    monkeypatch.setattr(inference_module, "normalize", fail)
    seen = extract_features(toy_zoo, images)
    assert seen.failures["ant"] == "'ant' fails on the images: shapes differ"


def test_an_image_that_changed_since_reading_is_never_kept_under_its_old_digest(toy_zoo, images):
    paint(images.paths[0], (1, 2, 3), 999)
    with pytest.raises(ImagesError, match="changed while it was in use"):
        extract_features(toy_zoo, images)
    assert not FeatureStore().read(feature_key(toy_zoo[0]), images.digests)[0].any()


def test_observing_writes_nothing_among_the_images(toy_zoo, images):
    before = {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in images.root.rglob("*")}
    extract_features(toy_zoo, images)
    assert {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in images.root.rglob("*")} == before


def test_progress_counts_up_to_the_unknown_images_of_each_teacher(toy_zoo, images):
    said = []
    extract_features(toy_zoo, images, progress=lambda *what: said.append(what))
    assert [what for what in said if what[1] == what[2]] == [("ant", 18, 18), ("bee", 18, 18)]
    said.clear()
    extract_features(toy_zoo, images, progress=lambda *what: said.append(what))
    assert said == []


def test_a_loaded_teacher_is_ready_to_evaluate(toy_zoo):
    teacher = load_teacher(toy_zoo[0])
    assert not any(module.training for module in teacher.network.modules())
    assert teacher.card == TeacherCard.load(toy_zoo[0].folder)
    with pytest.raises(TeacherBroken, match="not on this machine"):
        load_teacher(replace(toy_zoo[0], folder=None))


def test_normalized_images_have_the_mean_taken_off_by_channel():
    shape = {"input_size": [3, 8, 8], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 4]}
    look = Preprocessing.of_timm(shape)
    ones = normalize(torch.ones(2, 3, 8, 8), look)
    assert torch.allclose(ones[1, :, 3, 3], torch.tensor([0.9, 0.4, 0.175]))


@pytest.mark.parametrize("size", [[1, 8, 8], [3, 8, 16]])
def test_preprocessing_that_is_not_square_rgb_is_refused(size):
    with pytest.raises(ValueError, match="is not 3 x S x S"):
        Preprocessing.of_timm({"input_size": size, "mean": [0, 0, 0], "std": [1, 1, 1]})
