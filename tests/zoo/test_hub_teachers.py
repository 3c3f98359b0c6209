"""Teachers of the Hub at work: loaded right or refused, ranked, published, carried elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.support.hub_repositories import (
    CLIP_ARCH,
    CLIP_ARGS,
    bin_repository,
    clip_repository,
    commit_of,
    pickle_repository,
    random_network,
    timm_repository,
)
from tests.support.hub_user import User
from tests.support.toys import build_teacher, hub_card
from zoo.teachers import catalogue as catalogue_module
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.loading import build_network

LABELS = ("a", "b", "c")
LOOK = Preprocessing(32, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28), "bicubic")


@pytest.fixture
def user(hub, tmp_path, monkeypatch, toy_zoo):
    """Has a toy zoo; this process has the same caches, and no network."""
    user = User(hub, tmp_path / "user")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(user.cache))
    user.names["zoo.teachers.catalogue.BUILTIN"] = str(toy_zoo[0].folder.parent)
    user.catalogue(tmp_path / "catalogue.json", [])
    monkeypatch.setattr(catalogue_module, "CATALOGUE", tmp_path / "catalogue.json")
    return user


def pulled(user, name):
    assert user.pull_one(name) == ("pulled", "")
    return TeacherCard.load(user.folder(name))


def same(card, network):
    """Whether a card's network says what this one says."""
    image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.inference_mode():
        said, wanted = build_network(card)(image), network(image)
    return said.shape == wanted.shape and torch.allclose(said, wanted, rtol=1e-4, atol=1e-4)


def test_what_loads_says_what_its_source_says(hub, user, tmp_path, command):
    forms = {"list": list(LABELS), "by-number": {"0": "a", "2": "c", "1": "b"}}
    forms |= {"by-name": {"c": 2, "a": 0, "b": 1}, "none": None}
    for seed, (name, labels) in enumerate(forms.items()):
        timm_repository(hub.root, f"lab/{name}", label_names=labels, seed=seed)
    bin_repository(hub.root, "lab/bin", seed=4)
    clip_repository(hub.root, "lab/clip", seed=5)
    clip = hub_card(
        "clip",
        source="hf-hub:lab/clip",
        network=CLIP_ARCH,
        classes=16,
        preprocessing=LOOK,
        weights="open_clip_model.safetensors",
        loader="overlay",
        overlay={"num_classes": 16},
        model_args=CLIP_ARGS,
        evidence="seen",
    )
    user.catalogue(tmp_path / "catalogue.json", [clip])
    names = [f"lab/{name}" for name in (*forms, "bin")]
    assert {row["status"] for row in user.pull(*names, "clip")} == {"pulled"}
    cards = [TeacherCard.load(user.folder(name)) for name in names]
    assert [card.labels for card in cards] == [*[LABELS] * 3, (), LABELS]
    assert [card.weights for card in cards[3:]] == ["model.safetensors", "pytorch_model.bin"]
    for seed, card in enumerate(cards):
        assert same(card, random_network("test_resnet", 3, seed)), card.name
    card = TeacherCard.load(user.folder("clip"))
    assert (card.preprocessing, card.revision) == (LOOK, commit_of(hub.root / "lab/clip"))
    assert same(card, random_network(CLIP_ARCH, 16, 5, **CLIP_ARGS))
    rows = command("verify", *names, "clip", "--json").json
    assert [row["problem"] for row in rows] == [""] * 6
    assert rows[0]["checks"][-1] == "golden outputs saved"
    rows = command("verify", *names, "clip", "--json").json
    assert [row["checks"][-1] for row in rows] == ["golden logits"] * 6


def test_what_does_not_fit_is_refused_and_no_code_of_it_runs(hub, user, tmp_path, command, imgs):
    marker = tmp_path / "it ran"
    timm_repository(hub.root, "lab/strange", architecture="resnet_of_nowhere")
    timm_repository(hub.root, "lab/head", head=5)
    timm_repository(hub.root, "lab/more", label_names=None, num_classes=7)
    pickle_repository(hub.root, "lab/evil", marker=marker)
    names = [f"lab/{name}" for name in ("strange", "head", "more", "evil")]
    assert {row["status"] for row in user.pull(*names)} == {"pulled"}
    ran = command("verify", *names, "--json")
    problems = [row["problem"] for row in json.loads(ran.out)]
    for problem, reason in zip(
        problems,
        ("no network called", "size mismatch", "size mismatch", "weights_only"),
        strict=True,
    ):
        assert reason in problem
        assert len(problem.splitlines()) == 1
    assert ran.code == 1
    zoo = ",".join([*names, "builtin"])
    ranking = command("rank", "--target", imgs, "--zoo", zoo, "--json").json
    scored = {row["name"] for row in ranking["teachers"] if row["score"] is not None}
    assert scored & {*names, "ant", "bee"} == {"ant", "bee"}
    assert not marker.exists()


def test_a_flipped_byte_is_named_and_healed(hub, user, command, imgs):
    timm_repository(hub.root, "lab/net")
    card = pulled(user, "lab/net")
    path = user.folder("lab/net") / card.weights
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    ran = command("verify", "lab/net", "--json")
    (row,) = json.loads(ran.out)
    assert (ran.code, row["checks"]) == (1, [])
    assert row["problem"].endswith("`zoo pull lab/net` downloads it again.")
    ranking = command("rank", "--target", imgs, "--zoo", "builtin,lab/net", "--json").json
    (row,) = [row for row in ranking["teachers"] if row["name"] == "lab/net"]
    assert (row["score"], "zoo pull lab/net" in row["reason"]) == (None, True)
    assert user.pull_one("lab/net") == ("pulled", "")
    assert command("verify", "lab/net").code == 0


def test_rank_pulls_what_it_is_told_and_without_a_network_ranks_what_is_here(
    hub, user, command, imgs
):
    timm_repository(hub.root, "lab/net", seed=3)
    words = ["rank", "--target", imgs, "--json", "--save", user.home.parent / "ranking.json"]
    ran = user.zoo(*words, "--zoo", "lab/net, builtin,lab/absent")
    assert user.folder("lab/net").exists()
    offline = command(*words, "--zoo", "lab/net,lab/other,builtin").json
    for rows, lost, why in (
        (ran.json["teachers"], "lab/absent", "not found at"),
        (offline["teachers"], "lab/other", "HF_HUB_OFFLINE"),
    ):
        by_name = {row["name"]: row for row in rows}
        assert {"ant", "bee", "lab/net", lost} <= by_name.keys()
        assert (by_name[lost]["score"], why in by_name[lost]["reason"]) == (None, True)
        assert all(by_name[name]["score"] is not None for name in ("ant", "bee", "lab/net"))


def test_a_student_is_pushed_pulled_and_verified_and_nothing_private_leaves(
    hub, user, transfer, command, tmp_path
):
    transfer()
    student = Path("student").absolute()
    assert (student / "report.json").exists()
    assert "--license" in user.zoo("push", student, "me/pets", HF_TOKEN="mine").mistake  # noqa: S106
    refused = user.zoo("push", student, "me/pets", "--license", "cc-by-4.0").mistake
    assert refused.endswith("publishing needs a write token of the Hub: set HF_TOKEN.")
    assert hub.requests == []
    words = ("push", student, "me/pets", "--license", "cc-by-4.0")
    ran = user.zoo(*words, HF_TOKEN="mine")  # noqa: S106
    assert (ran.code, ran.out, ran.err) == (0, f"{hub.url}/me/pets\n", "")
    there = hub.root / "me/pets"
    assert {path.name for path in there.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert (there / "README.md").read_text().startswith("---\nlicense: cc-by-4.0\n")
    config = json.loads((there / "config.json").read_text())
    assert config["pretrained_cfg"]["license"] == "cc-by-4.0"
    for body in [call.body for call in hub.log]:
        assert not any(word in body for word in (str(tmp_path).encode(), b"report.json"))
    for path in there.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    card = pulled(user, "me/pets")
    assert (card.license, card.labels) == ("cc-by-4.0", ("blue", "green", "red"))
    assert (user.folder("me/pets") / card.weights).read_bytes() == (
        student / card.weights
    ).read_bytes()
    assert command("verify", "me/pets").code == 0


def test_a_pushed_teacher_keeps_its_license_and_a_repository_of_another_is_refused(
    hub, user, tmp_path
):
    card = build_teacher(tmp_path / "own", "own")
    ran = user.zoo("push", card.folder, "me/own", "--private", HF_TOKEN="mine")  # noqa: S106
    assert ran.code == 0, ran.err
    (made,) = [call for call in hub.log if call.path == "/api/repos/create"]
    assert json.loads(made.body)["visibility"] == "private"
    assert pulled(user, "me/own").license == "mit"
    ran = user.zoo("push", card.folder, "not/a/name", HF_TOKEN="mine")  # noqa: S106
    assert "Repo id must be" in ran.mistake


def test_a_pack_and_an_own_zoo_need_neither_hub_nor_caches(hub, user, command, imgs):
    timm_repository(hub.root, "lab/net", seed=3)
    place = user.home.parent / "packed"
    ran = user.zoo("pack", place, "--teachers", "lab/net, ant", "--zoo", "builtin,lab/net")
    assert (ran.code, "2 teachers" in ran.out) == (0, True), ran.err
    own = user.home.parent / "mine"
    words = ("add", "lab/net", "--name", "net", "--domain", "noise", "--zoo", own)
    assert user.zoo(*words).code == 0
    lost = user.zoo("pack", own.parent / "p", "--teachers", "lab/absent", "--zoo", "lab/absent")
    assert "is not available to be packed: not found" in lost.mistake
    weights = own / "net/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ran = user.zoo("verify", "net", "--zoo", own, "--json")
    assert f"remove {own / 'net'} and add the teacher again" in ran.out
    ran = user.zoo("pull", "net", "--zoo", own, "--json")
    assert (
        ran.code,
        f"{own / 'net'} is damaged or differs from its card: remove it" in ran.out,
    ) == (1, True)
    weights.write_bytes(content)
    shutil.rmtree(user.home)
    shutil.rmtree(user.cache)
    for zoo, names in ((place, {"ant", "lab/net"}), (own, {"net"})):
        assert command("verify", "--zoo", zoo).code == 0
        ranking = command("rank", "--target", imgs, "--zoo", zoo, "--json").json
        assert {row["name"] for row in ranking["teachers"] if row["score"] is not None} >= names
