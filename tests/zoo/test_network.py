"""Networks from files: what does not fit is refused, never loaded by half; no foreign code runs."""

import json
import os
import pickle
import shutil
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import _helpers

from tests.support.toys import build_teacher
from zoo.errors import TeacherBroken
from zoo.features.inference import embed
from zoo.teachers.card import Preprocessing, TeacherCard, sha256_of
from zoo.teachers.loading import Teacher, build_network

LOOK = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ARGS = {
    "test_vit": {"img_size": 32},
    "test_resnet": {"global_pool": "max"},
    "test_efficientnet": {"global_pool": "avgmax"},
}


def make(arch, classes=5, seed=3, **options) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(arch, num_classes=classes, **options).eval()


def put(folder, tensors, weights="model.safetensors"):
    """A file of these tensors, and its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / weights
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return sha256_of(path)


def describe(folder, arch, loader, classes=5, head=5, weights="model.safetensors", **changes):
    """The card of a folder, by the loader that is asked for."""
    args = changes.pop("args", ARGS[arch])
    config = {"architecture": arch, "num_classes": head, "model_args": args}
    shape = {"input_size": [3, 32, 32], "mean": LOOK.mean, "std": LOOK.std, "num_classes": head}
    shape |= {"classifier": "head" if arch == "test_vit" else "fc"}
    if arch == "test_efficientnet":
        shape["classifier"] = "classifier"
    if loader == "hf-hub":
        (folder / "config.json").write_text(json.dumps(config | {"pretrained_cfg": shape}))
    else:
        changes = {"model_args": args, "overlay": {"num_classes": head}} | changes
    card = TeacherCard(
        name="fly",
        domain="flies",
        source="hf-hub:owner/fly",
        network=arch,
        classes=classes,
        license="mit",
        data="noise",
        data_license="CC0",
        preprocessing=LOOK,
        loader=loader,
        weights=weights,
        sha256=sha256_of(folder / weights),
        folder=folder,
    )
    return replace(card, **changes)


def pictures():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


LOADERS = ("hf-hub", "overlay")


@pytest.fixture
def each(tmp_path, subtests):
    """Every combination of some values, as a case with a folder of its own."""

    def run(check, *values):
        for number, case in enumerate(product(*values)):
            with subtests.test(str(case)):
                (tmp_path / f"{number}").mkdir()
                check(tmp_path / f"{number}", *case)

    return run


def test_a_network_is_that_of_its_files(each):
    each(is_that_of_its_files, LOADERS, ARGS, ["model.safetensors", "pytorch_model.bin"])


def is_that_of_its_files(tmp_path, loader, arch, weights):
    giver = make(arch, **ARGS[arch])
    put(tmp_path, giver.state_dict(), weights)
    network = build_network(describe(tmp_path, arch, loader, weights=weights))
    with torch.no_grad():
        assert torch.equal(network(pictures()), giver(pictures()))
    assert not network.training


def test_features_are_the_networks_own_when_its_outputs_are_no_classes(each):
    each(has_its_own_features, LOADERS, ARGS)


def has_its_own_features(tmp_path, loader, arch):
    giver = make(arch, **ARGS[arch])
    put(tmp_path, giver.state_dict())
    card = describe(tmp_path, arch, loader, classes=0)
    network = build_network(card)
    with torch.no_grad():
        expected = giver.forward_head(giver.forward_features(pictures()), pre_logits=True)
        assert torch.allclose(network(pictures()), expected, atol=1e-5)
        pixels = (pictures() * 40 + 128).clamp(0, 255).to(torch.uint8)
        x = (pixels.float() / 255 - 0.5) / 0.5
        expected = giver.forward_head(giver.forward_features(x), pre_logits=True)
    found = embed(Teacher(card, network, torch.device("cpu")), pixels.numpy(), mixed=False)
    assert found.logits.shape == (3, 0)
    assert torch.allclose(torch.from_numpy(found.embeddings), expected, rtol=1e-4, atol=1e-5)


def lose(tensors):
    del tensors[next(name for name in tensors if name.endswith("conv1.weight") or "qkv" in name)]


def reshape(tensors):
    name = next(name for name in tensors if name.endswith("conv1.weight") or "qkv.weight" in name)
    tensors[name] = tensors[name][:1].clone()


BOGUS = {
    "nothing": lambda t: t.clear(),
    "another network": lambda t: (t.clear(), t.update(make("test_convnext").state_dict())),
    "a tensor less": lose,
    "a tensor more": lambda t: t.update({"extra.weight": torch.zeros(3)}),
    "another shape": reshape,
    "another prefix": lambda t: [t.update({f"net.{name}": t.pop(name)}) for name in list(t)],
}


def test_a_file_of_wrong_tensors_is_refused(each):
    each(refuses_tensors, LOADERS, ["test_vit", "test_resnet"], [5, 0], BOGUS)


def refuses_tensors(tmp_path, loader, arch, classes, kind):
    tensors = make(arch, **ARGS[arch]).state_dict()
    BOGUS[kind](tensors)
    put(tmp_path, tensors)
    with pytest.raises(TeacherBroken, match="timm cannot load") as caught:
        build_network(describe(tmp_path, arch, loader, classes=classes))
    assert "\n" not in str(caught.value)


def test_a_head_of_other_classes_is_never_left_random(each):
    each(refuses_head, LOADERS, ["test_vit", "test_resnet"], [0, 4], [5, 4, 0])


def refuses_head(tmp_path, loader, arch, head, classes):
    put(tmp_path, make(arch, **ARGS[arch]).state_dict())
    with pytest.raises(TeacherBroken):
        build_network(describe(tmp_path, arch, loader, classes=classes, head=head))


def test_arguments_that_would_load_by_half_are_refused(each):
    args = [{"num_classes": 7}, {"pretrained_strict": False}, {"features_only": True},
            {"checkpoint_path": "/etc/passwd"}]  # fmt: skip
    each(refuses_arguments, LOADERS, [5, 0], args)


def refuses_arguments(tmp_path, loader, classes, args):
    tensors = make("test_resnet").state_dict()
    lose(tensors)
    put(tmp_path, tensors)
    with pytest.raises((TeacherBroken, ValueError), match=next(iter(args))):
        build_network(describe(tmp_path, "test_resnet", loader, classes=classes, args=args))


def test_the_file_that_was_hashed_is_loaded_whatever_lies_beside_it(tmp_path):
    giver, other = make("test_resnet"), make("test_resnet", seed=4)
    put(tmp_path, giver.state_dict(), "pytorch_model.bin")
    put(tmp_path, other.state_dict(), "model.safetensors")
    card = describe(tmp_path, "test_resnet", "hf-hub", weights="pytorch_model.bin", args={})
    with torch.no_grad():
        assert torch.equal(build_network(card)(pictures()), giver(pictures()))


def test_a_card_cannot_name_a_file_elsewhere(tmp_path):
    giver, other = make("test_resnet"), make("test_resnet", seed=4)
    put(tmp_path / "other", other.state_dict())
    put(tmp_path / "fly", giver.state_dict())
    elsewhere = {"num_classes": 5, "file": str(tmp_path / "other/model.safetensors")}
    with pytest.raises(ValueError, match=r"overlay\.file: unknown key"):
        describe(tmp_path / "fly", "test_resnet", "overlay", args={}, overlay=elsewhere)


def test_weights_that_a_config_holds_itself_are_not_used(tmp_path):
    put(tmp_path, make("test_resnet").state_dict())
    card = describe(tmp_path, "test_resnet", "hf-hub", args={})
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"] |= {"state_dict": {"fc.bias": [1]}, "url": "https://nowhere/x.pth"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with torch.no_grad():
        assert torch.equal(build_network(card)(pictures()), make("test_resnet")(pictures()))


class Bomb:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def careless_timm(monkeypatch):
    """timm before 1.0.26: it runs whatever a pickle asks for."""
    whole = torch.load
    monkeypatch.setattr(
        _helpers,
        "_torch_load",
        lambda path, map_location="cpu", **_: whole(path, map_location, weights_only=False),
    )


def test_a_pickle_that_holds_code_is_refused_and_never_run(each, careless_timm):
    names = ["pytorch_model.bin", "weights.pt", "weights.pth", "weights"]
    each(refuses_pickle, LOADERS, names, [True, False])


def refuses_pickle(tmp_path, loader, weights, zipped):
    marker, path = tmp_path / "ran", tmp_path / weights
    tensors = make("test_resnet").state_dict() | {"bomb": Bomb(marker)}
    if zipped:
        torch.save(tensors, path)
    else:
        path.write_bytes(pickle.dumps(tensors))
    card = describe(tmp_path, "test_resnet", loader, weights=weights, args={})
    with pytest.raises(TeacherBroken, match="timm cannot load") as caught:
        build_network(card)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    pickle.loads(pickle.dumps(Bomb(marker)))  # noqa: S301
    assert marker.exists(), "the bomb of this test is none"


def test_a_pickle_under_the_name_of_safetensors_is_refused_and_never_run(tmp_path, careless_timm):
    marker = tmp_path / "ran"
    torch.save({"bomb": Bomb(marker)}, tmp_path / "model.safetensors")
    with pytest.raises(TeacherBroken, match="timm cannot load"):
        build_network(describe(tmp_path, "test_resnet", "hf-hub", args={}))
    assert not marker.exists()


def test_the_network_of_the_card_is_the_one_of_the_config(tmp_path):
    card = build_teacher(tmp_path / "fly", "fly")
    with pytest.raises(
        TeacherBroken, match="names the network 'test_resnet', the card 'resnet10t'"
    ):
        build_network(replace(card, network="resnet10t"))


def test_weights_of_half_precision_load_as_they_are_rounded(tmp_path):
    card = build_teacher(tmp_path / "fly", "fly")
    stored = load_file(tmp_path / "fly" / "model.safetensors")
    network = build_network(card)
    assert {
        value.dtype for value in network.state_dict().values() if value.is_floating_point()
    } == {torch.float32}
    assert torch.equal(network.state_dict()["fc.weight"], stored["fc.weight"].float())


def test_a_teacher_can_lie_behind_links_and_odd_names(tmp_path):
    card = build_teacher(tmp_path / "fly", "fly")
    for name in ("[a] b", "ü 🐜", "a:b#c?d@e", "model.safetensors"):
        place = tmp_path / "odd" / name
        place.mkdir(parents=True)
        for file in ("model.safetensors", "config.json"):
            (place / file).symlink_to(tmp_path / "fly" / file)
        assert build_network(replace(card, folder=place)) is not None
    shutil.rmtree(tmp_path / "fly")
    with pytest.raises(TeacherBroken, match=r"model\.safetensors: is missing"):
        build_network(replace(card, folder=place))
