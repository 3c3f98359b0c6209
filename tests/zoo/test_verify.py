"""Verify: a whole teacher passes, and whatever is wrong with another one is found and said."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.toys import build_teacher
from zoo.errors import TeacherBroken
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.verify import measure, verify

ALL = ("hash", "load", "classes", "labels", "preprocessing", "outputs", "golden embedding",
       "golden logits")  # fmt: skip


@pytest.fixture(scope="session")
def _measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo") / "fly"
    card = measure(build_teacher(folder, "fly"))
    card.save(folder)
    return card


@pytest.fixture
def fly(_measured, tmp_path):
    """A teacher that may be spoiled, with golden embeddings and logits."""
    shutil.copytree(_measured.folder, tmp_path / "fly")
    return replace(_measured, folder=tmp_path / "fly")


def configure(card, change):
    path = card.folder / "config.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return card


def rework(card, change):
    """Other weights, and a card that is true of their hash."""
    path = card.folder / card.weights
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return replace(card, sha256=sha256_of(path), bytes=path.stat().st_size)


def flip(card):
    path = card.folder / card.weights
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    return card


def test_a_whole_teacher_passes_every_check(fly):
    verdict = verify(fly)
    assert (verdict.name, verdict.checks, verdict.problem) == ("fly", ALL, "")


def test_measuring_gives_the_parameters_and_two_embeddings(fly):
    bare = replace(fly, params=0, golden=(), golden_logits=())
    assert verify(bare).checks == ALL[:-2]
    card = measure(bare)
    tensors = load_file(fly.folder / "model.safetensors")
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert card.params == sum(t.numel() for n, t in tensors.items() if not n.endswith(buffers))
    assert [len(row) for row in card.golden] == [tensors["fc.weight"].shape[1]] * 2
    assert card.golden[0] != card.golden[1]
    assert [len(row) for row in card.golden_logits] == [3, 3]
    assert card.golden_logits[0] != card.golden_logits[1]
    assert replace(card, golden=(), golden_logits=(), params=0) == bare


def test_a_golden_embedding_survives_its_file(fly):
    again = TeacherCard.load(fly.folder)
    assert (again.golden, again.golden_logits) == (fly.golden, fly.golden_logits)
    assert verify(again).problem == ""


SPOILED = {
    "flipped byte": (flip, (), "is not the file of its card"),
    "lost weights": (
        lambda c: ((c.folder / c.weights).unlink(), c)[1],
        (),
        "model.safetensors: is missing",
    ),
    "lost config": (
        lambda c: ((c.folder / "config.json").unlink(), c)[1],
        (),
        "config.json does not exist",
    ),
    "not here": (lambda c: replace(c, folder=None), (), "not on this machine"),
    "classes of the card": (
        lambda c: replace(c, classes=4, labels=()),
        (),
        "3 classes, its card 4",
    ),
    "architecture": (
        lambda c: configure(c, lambda d: d.update(architecture="test_vit")),
        (),
        "names the network 'test_vit'",
    ),
    "unknown architecture": (
        lambda c: replace(configure(c, lambda d: d.update(architecture="nonet")), network="nonet"),
        (),
        "timm cannot load",
    ),
    "swapped labels": (
        lambda c: configure(c, lambda d: d.update(label_names=["b", "a", "c"])),
        ALL[:3],
        "the classes of config.json and card differ",
    ),
    "no labels": (
        lambda c: configure(c, lambda d: d.pop("label_names")),
        ALL[:3],
        "the classes of config.json and card differ",
    ),
    "mean": (
        lambda c: configure(c, lambda d: d["pretrained_cfg"].update(mean=[0.5, 0.5, 0.4])),
        ALL[:3],
        "the preprocessing of config.json and card differ",
    ),
    "std": (
        lambda c: configure(c, lambda d: d["pretrained_cfg"].update(std=[0.5, 0.5, 0.4])),
        ALL[:3],
        "the preprocessing of config.json and card differ",
    ),
    "interpolation": (
        lambda c: configure(c, lambda d: d["pretrained_cfg"].update(interpolation="bicubic")),
        ALL[:3],
        "the preprocessing of config.json and card differ",
    ),
    "not a number": (
        lambda c: rework(c, lambda t: t["conv1.0.weight"].fill_(float("nan"))),
        ALL[:5],
        "not finite",
    ),
    "other weights": (
        lambda c: rework(
            c,
            lambda t: t.update({n: torch.roll(v, 1, 0) for n, v in t.items() if v.ndim == 4}),
        ),
        ALL[:6],
        "differ from its card",
    ),
    "golden of another width": (
        lambda c: replace(c, golden=((1.0, 2.0), (3.0, 4.0))),
        ALL[:6],
        "differ from its card",
    ),
    "ragged golden": (
        lambda c: replace(c, golden=((1.0, 2.0), (3.0,))),
        ALL[:6],
        "differ from its card",
    ),
    "golden of no numbers": (
        lambda c: replace(c, golden=((float("nan"),) * 96,) * 2),
        ALL[:6],
        "differ from its card",
    ),
    "classifier of another teacher": (
        lambda c: rework(c, lambda t: t.update({"fc.weight": torch.roll(t["fc.weight"], 1, 0)})),
        ALL[:7],
        "differ from its card (golden logits",
    ),
    "golden logits of other classes": (
        lambda c: replace(c, golden_logits=((1.0, 2.0), (3.0, 4.0))),
        ALL[:7],
        "differ from its card (golden logits",
    ),
    "classifier of whole numbers": (
        lambda c: rework(c, lambda t: t.update({"fc.weight": t["fc.weight"].long()})),
        (),
        "fc.weight is of the type I64",
    ),
    "classifier of truth values": (
        lambda c: rework(c, lambda t: t.update({"fc.weight": t["fc.weight"] > 0})),
        (),
        "fc.weight is of the type BOOL",
    ),
    "classifier in eight bits": (
        lambda c: rework(
            c, lambda t: t.update({"fc.weight": t["fc.weight"].to(torch.float8_e4m3fn)})
        ),
        (),
        "fc.weight is of the type F8_E4M3",
    ),
    "other order of channels": (
        lambda c: replace(c, preprocessing=replace(c.input, channels="bgr")),
        ALL[:6],
        "differ from its card",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_what_is_wrong_ends_the_checks_and_is_said_in_one_line(fly, kind):
    spoil, passed, problem = SPOILED[kind]
    verdict = verify(spoil(fly))
    assert verdict.checks == passed
    assert problem in verdict.problem
    assert "\n" not in verdict.problem


def test_a_teacher_at_another_size_than_its_config_says_still_has_its_statistics(tmp_path):
    from distill.student import create_student, save_network
    from zoo.teachers.card import Preprocessing
    from zoo.teachers.collection import describe_folder

    look = Preprocessing(48, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = create_student("test_vit", 2, start="random", model_args={"img_size": 32}).network
    save_network(network, tmp_path, arch="test_vit", labels=("a", "b"), preprocessing=look,
                 license="mit")  # fmt: skip
    card = describe_folder(tmp_path, "fly", "flies")
    smaller = replace(card, model_args={"img_size": 32}, preprocessing=replace(look, size=32))
    assert verify(smaller).problem == ""
    configure(smaller, lambda d: d["pretrained_cfg"].update(mean=[0.5, 0.5, 0.4]))
    assert "the preprocessing of config.json and card differ" in verify(smaller).problem


def test_a_network_of_another_size_than_its_images_is_found(tmp_path):
    from distill.student import create_student, save_network
    from zoo.teachers.card import Preprocessing
    from zoo.teachers.collection import describe_folder

    look = Preprocessing(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    args = {"img_size": 32, "dynamic_img_size": False}
    network = create_student("test_vit", 2, start="random", model_args=args).network
    save_network(network, tmp_path, arch="test_vit", labels=("a", "b"), preprocessing=look,
                 license="mit")  # fmt: skip
    verdict = verify(describe_folder(tmp_path, "fly", "flies"))
    assert "fails on the images" in verdict.problem


def test_another_networks_weights_do_not_pass_for_these(fly, tmp_path):
    """The hash in the card is true, everything loads: only the golden embedding knows."""
    other = build_teacher(tmp_path / "gnat", "gnat", seed=9)
    shutil.copy(tmp_path / "gnat/model.safetensors", fly.folder / "model.safetensors")
    verdict = verify(replace(fly, sha256=other.sha256))
    assert verdict.checks == ALL[:6]
    assert "differ from its card" in verdict.problem


def test_rounding_passes(fly):
    rounded = replace(fly, golden=tuple(tuple(v * 1.005 for v in row) for row in fly.golden))
    assert verify(rounded).problem == ""


def test_a_teacher_used_for_its_features_is_checked_without_class_names(fly):
    card = measure(replace(fly, classes=0, labels=()))
    assert (card.golden, card.golden_logits) == (fly.golden, ())
    assert verify(card).checks == ALL[:-1]


def test_measuring_what_cannot_be_loaded_says_so(fly):
    with pytest.raises(TeacherBroken, match="not the file of its card"):
        measure(flip(fly))
