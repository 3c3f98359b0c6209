"""A student or teacher from an untrusted source: nothing runs, nothing is fetched, one line."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.student import load_network
from tests.support.hub_repositories import _Bomb as Bomb
from tests.support.toys import build_teacher, paint
from zoo.errors import StudentError, TeacherBroken
from zoo.teachers.card import sha256_of
from zoo.teachers.loading import build_network


@pytest.fixture
def student(tmp_path):
    """A folder in the layout of students."""
    return build_teacher(tmp_path / "student", "fly").folder


@pytest.fixture
def bomb(tmp_path):
    """A pickle that writes a file when it is unpickled without care, and that file."""
    torch.save({"bomb": Bomb(tmp_path / "ran")}, tmp_path / "bomb.pth")
    return tmp_path / "bomb.pth", tmp_path / "ran"


def change(folder, **entries):
    """Change entries of a config; those of `pretrained_cfg` are added."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["pretrained_cfg"] |= entries.pop("pretrained_cfg", {})
    path.write_text(json.dumps(config | entries))


EVIL = {
    "checkpoint": lambda bomb: {"model_args": {"checkpoint_path": bomb}},
    "a file of the registry": lambda bomb: {"model_args": {"pretrained_cfg": {"file": bomb}}},
    "an overlay": lambda bomb: {"model_args": {"pretrained_cfg_overlay": {"file": bomb}}},
    "pretrained": lambda bomb: {"model_args": {"pretrained": True}},
    "a cache": lambda bomb: {"model_args": {"cache_dir": bomb}},
    "a repository": lambda bomb: {"architecture": "hf-hub:evil/net"},
    "an alias of it": lambda bomb: {"architecture": "hf_hub:evil/net"},
    "a folder": lambda bomb: {"architecture": f"local-dir:{bomb}"},
    "a path": lambda bomb: {"architecture": "../../evil"},
    "nothing of timm": lambda bomb: {"architecture": "resnet_of_nowhere"},
    "a huge width": lambda bomb: {"model_args": {"stem_width": 10**9}},
    "a wide network": lambda bomb: {"model_args": {"channels": [8192, 8192, 8192, 8192]}},
    "a huge head": lambda bomb: {"num_classes": 10**8},
    "a huge image": lambda bomb: {"pretrained_cfg": {"input_size": [3, 100_000, 100_000]}},
    "a class": lambda bomb: {"model_args": {"act_layer": "os.system('true')"}},
    "several at once": lambda bomb: {"model_args": {"num_classes": 7}},
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_config_cannot_name_files_addresses_or_sizes(
    kind, student, bomb, command, tmp_path, monkeypatch
):
    change(student, label_names=[], **EVIL[kind](str(bomb[0])))
    if "num_classes" not in EVIL[kind](""):
        change(student, label_names=["a", "b", "c"])
    image = paint(tmp_path / "x.png", (1, 2, 3))
    assert str(student) in command("predict", student, image).mistake
    assert not bomb[1].exists()
    for words in (
        ("add", student, "--name", "fly", "--domain", "flies"),
        ("export", student, "--onnx"),
        ("eval", student, "--target", tmp_path),
    ):
        assert command(*words).code == 1
    assert not bomb[1].exists()


@pytest.mark.parametrize("entry", ["file", "url", "hf_hub_id", "state_dict", "source"])
def test_what_a_config_says_of_the_origin_of_weights_is_not_followed(student, bomb, entry):
    expected = load_network(student)[0].state_dict()
    value = {"fc.weight": [0]} if entry == "state_dict" else str(bomb[0])
    change(student, pretrained_cfg={entry: value, "hf_hub_filename": "x.bin", "custom_load": True})
    found = load_network(student)[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert not bomb[1].exists()


def test_weights_are_never_a_pickle(student, bomb):
    (student / "model.safetensors").write_bytes(bomb[0].read_bytes())
    change(student, sha256=sha256_of(student / "model.safetensors"))
    with pytest.raises(StudentError):
        load_network(student)
    assert not bomb[1].exists()


KINDS = (torch.int64, torch.int8, torch.bool, torch.uint8, torch.float8_e4m3fn)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", ["fc.weight", "fc.bias", "bn1.running_var"])
def test_weights_that_are_no_floats_are_refused(student, kind, name):
    path = student / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {name: tensors[name].to(kind)}, path, metadata={"format": "pt"})
    change(student, sha256=sha256_of(path))
    with pytest.raises(StudentError, match=f"{name} is of the type"):
        load_network(student)
    card = build_teacher(student.parent / "teacher", "fly")
    with pytest.raises(TeacherBroken, match=f"{name} is of the type"):
        build_network(replace(card, folder=student, sha256=sha256_of(path)))
