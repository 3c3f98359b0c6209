"""Starts: which initial weights a student gets, and those of the Hub pinned and then offline."""

import json
import shutil
from dataclasses import replace

import pytest
import timm
import torch

from distill.student import create_student, find_arch
from tests.support.hub_repositories import Fault, commit_of, random_network, timm_repository
from tests.support.hub_server import HubServer
from tests.support.hub_user import User
from tests.support.toys import build_teacher
from zoo.errors import StudentError
from zoo.teachers import catalogue, starts
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.starts import Start, find_start, hub_start

ARCH, REPO = "test_resnet", "timm/test_resnet.r160_in1k"


@pytest.fixture
def embedded(tmp_path, toy_zoo, monkeypatch):
    """An embedded initial student of test_resnet; no package."""
    monkeypatch.setattr(catalogue, "STUDENTS", tmp_path / "students")
    return build_teacher(tmp_path / "students" / ARCH, ARCH, seed=1)


@pytest.fixture
def hub(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        timm_repository(hub.root, REPO, seed=6, size=160, label_names=None)
        yield hub


@pytest.fixture
def user(hub, tmp_path, monkeypatch, embedded):
    """This process has the same caches, and no network."""
    user = User(hub, tmp_path / "user")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(user.cache))
    user.names["zoo.teachers.catalogue.BUILTIN"] = str(catalogue.BUILTIN)
    user.names["zoo.teachers.catalogue.STUDENTS"] = str(embedded.folder.parent)
    return user


def first_layer(start):
    student = create_student(ARCH, 5, start=start)
    return student.network.state_dict()["conv1.0.weight"]


def test_a_start_of_the_hub_is_pulled_pinned_and_then_the_strongest_without_a_network(hub, user):
    assert find_start("auto", ARCH).origin == "embedded, trained on noise"
    (row,) = user.pull("--start", ARCH)
    assert (row["name"], row["status"], row["revision"]) == (
        REPO, "pulled", commit_of(hub.root / REPO),
    )  # fmt: skip
    for name in ("auto", "hub"):
        start = find_start(name, ARCH)
        assert start.origin == f"{REPO} on the Hub, commit {row['revision'][:12]}"
        assert start.sha256 == sha256_of(hub.root / REPO / "model.safetensors")
        card = start.card
        assert (card.license, card.data, card.data_license) == (
            "mit", "ImageNet-1k", "ImageNet terms",
        )  # fmt: skip
        assert start.preprocessing.size == 160
        wanted = random_network(ARCH, 3, 6).state_dict()["conv1.0.weight"]
        assert torch.equal(first_layer(name), wanted)
    assert find_start("builtin", ARCH).origin == "embedded, trained on noise"
    hub.log.clear()
    (row,) = user.pull("--start", ARCH)
    assert (row["status"], hub.requests) == ("here", [])


def test_hub_as_a_start_downloads_once(hub, user, imgs):
    words = ("distill", "--target", imgs, "--baseline", "transfer", "--arch", ARCH, "--start",
             "hub", "--image-size", 32, "--updates", 2)  # fmt: skip
    ran = user.zoo(*map(str, words), "--save", "one", "--dry-run")
    assert (ran.code, hub.requests) == (0, [])
    ran = user.zoo(*map(str, words), "--save", "one")
    assert ran.code == 0, ran.err
    commit, known = commit_of(hub.root / REPO), sha256_of(hub.root / REPO / "model.safetensors")
    line = f"Initial weights: {REPO} on the Hub, commit {commit[:12]} (SHA-256 {known[:12]})."
    assert line in ran.out
    report = json.loads((user.home.parent / "one/report.json").read_text())
    assert (report["start"]["sha256"], report["start"]["revision"]) == (known, commit)
    hub.log.clear()
    offline = user.zoo(*map(str, words), "--save", "two", HF_HUB_OFFLINE="1")
    assert (offline.code, hub.requests) == (0, [])
    weights = [
        (user.home.parent / name / "model.safetensors").read_bytes() for name in ["one", "two"]
    ]
    assert weights[0] == weights[1]


def test_a_start_that_cannot_be_downloaded_is_one_line(hub, user, imgs):
    hub.faults[REPO] = Fault(gated=True)
    (row,) = user.pull("--start", ARCH)
    assert row["status"] == "failed"
    shutil.rmtree(hub.root / REPO)
    words = ("--baseline", "transfer", "--arch", ARCH, "--start", "hub", "--image-size", "32")
    ran = user.zoo("distill", "--target", str(imgs), *words)
    assert REPO in ran.mistake


def test_a_dry_run_of_a_pull_counts_the_bytes_of_a_start(hub, user):
    (row,) = user.pull("--start", ARCH, "--dry-run")
    files = [hub.root / REPO / name for name in ("config.json", "model.safetensors")]
    assert (row["status"], row["bytes"]) == ("would pull", sum(f.stat().st_size for f in files))
    assert not user.folder(REPO).exists()


def test_pulled_weights_that_changed_are_not_used(hub, user):
    assert user.pull("--start", ARCH)[0]["status"] == "pulled"
    path = user.folder(REPO) / "model.safetensors"
    content = bytearray(path.read_bytes())
    path.unlink()
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StudentError, match=r"is not the file of its card.*zoo pull"):
        create_student(ARCH, 5, start="auto")


def test_no_start_for_an_architecture_is_one_line_with_every_way_out(command, imgs):
    words = ("--baseline", "transfer", "--arch", "resnet18", "--image-size", 32)
    line = command("distill", "--target", imgs, *words).mistake
    for way in ("zoo pull --start resnet18", "pip install 'source-zoo[imagenet]'",
                "--start FOLDER", "--start random"):  # fmt: skip
        assert way in line
    with pytest.raises(StudentError, match="on this machine") as caught:
        find_start("auto", "mobilenetv3_large_075")  # timm has no weights
    assert "zoo pull" not in str(caught.value)
    with pytest.raises(StudentError, match="timm has no weights"):
        find_start("hub", "mobilenetv3_large_075")
    assert "timm has no weights" in command("pull", "--start", "mobilenetv3_large_075").mistake
    assert "'nosuch'" in command("pull", "--start", "nosuch").mistake


def test_the_extra_is_the_start_of_its_architectures_and_embedded_ones_of_theirs():
    for number, size in enumerate((224, 240, 260)):
        start = find_start("auto", f"tf_efficientnet_lite{number}")
        assert start.preprocessing.size == size
        assert start.preprocessing.mean == start.preprocessing.std == (0.5, 0.5, 0.5)
        assert start.card.name == f"imagenet_lite{number}"
        assert start == find_start("builtin", start.card.network)
    start = find_start("auto", "mobilenetv3_small_100")
    known = TeacherCard.load(catalogue.STUDENTS / "mobilenetv3_small_100")
    assert (start.card, start.sha256) == (known, known.sha256)


def test_a_start_gives_its_own_classifier_only_to_as_many_classes(embedded):
    given = find_start("builtin", ARCH).state()
    same, fewer = (create_student(ARCH, count).network.state_dict() for count in (3, 2))
    assert torch.equal(same["fc.weight"], given["fc.weight"])
    assert fewer["fc.weight"].shape == (2, given["fc.weight"].shape[1])
    assert torch.equal(fewer["layer1.0.conv1.weight"], given["layer1.0.conv1.weight"])


def test_a_start_of_a_transformer_fits_students_of_another_size(tmp_path):
    folder = tmp_path / "vit"
    build_teacher(folder, "vit", arch="test_vit", size=160)
    student = create_student("test_vit", 2, start=str(folder), model_args={"img_size": 96})
    assert student.network(torch.zeros(2, 3, 96, 96)).shape == (2, 2)


def test_random_weights_have_no_hash_and_the_size_that_the_network_is_made_for():
    start = find_start("random", ARCH)
    config = timm.get_pretrained_cfg(ARCH)
    assert config is not None
    assert (str(start), start.sha256, start.state()) == ("random", "", {})
    assert start.preprocessing.size == config.input_size[1]


def test_what_timm_trained_on_more_than_imagenet_is_not_called_imagenet():
    for arch, data in (("mobilenetv3_small_100", "ImageNet-1k"), ("vit_tiny_patch16_224", "tag")):
        start = hub_start(arch)
        assert start is not None
        assert data in start.card.data
        assert (start.card.data_license == "ImageNet terms") == (data == "ImageNet-1k")


def test_a_start_reads_as_its_origin_with_twelve_digits_of_its_hash(embedded):
    start = Start("a gift", embedded)
    assert str(start) == f"a gift (SHA-256 {embedded.sha256[:12]})"
    assert start.to_json()["sha256"] == embedded.sha256


@pytest.mark.parametrize(
    ("known", "chosen"),
    [
        ({}, {"auto": "mobilenetv3_large_100"}),
        (
            {"tf_efficientnet_lite0": ("builtin",)},
            {
                "auto": "tf_efficientnet_lite0",
                "builtin": "tf_efficientnet_lite0",
                "hub": "mobilenetv3_large_100",
                "random": "mobilenetv3_large_100",
            },
        ),
        (
            {"tf_efficientnet_lite0": ("builtin",), "mobilenetv3_large_100": ("hub", "builtin")},
            {"auto": "mobilenetv3_large_100", "builtin": "tf_efficientnet_lite0"},
        ),
    ],
    ids=["nothing strong", "the extra", "pulled and the extra"],
)
def test_without_a_name_the_student_is_what_has_strong_weights_here(known, chosen, monkeypatch):
    monkeypatch.setattr(starts, "local_starts", lambda: known)
    assert {start: find_arch("auto", start) for start in chosen} == chosen


def test_only_timms_own_weights_count_as_a_pulled_start(embedded):
    assert starts.local_starts()[ARCH] == ("builtin",)
    for repo, known in (("lab/other", ("builtin",)), (REPO, ("hub", "builtin"))):
        card = replace(embedded, name=repo, source=f"hf-hub:{repo}")
        shutil.copytree(embedded.folder, catalogue.pulled_folder(card))
        card.save(catalogue.pulled_folder(card))
        assert starts.local_starts()[ARCH] == known
        assert (find_start("auto", ARCH).card.repo == REPO) == ("hub" in known)


def test_a_pulled_teacher_of_a_tag_that_timm_does_not_know_hinders_no_start(embedded):
    card = replace(embedded, name="lab/x", source="hf-hub:lab/x", network=f"{ARCH}.bogus")
    shutil.copytree(embedded.folder, catalogue.pulled_folder(card))
    card.save(catalogue.pulled_folder(card))
    assert starts.local_starts() == {ARCH: ("builtin",)}
    with pytest.raises(StudentError, match="timm has no weights"):
        find_start("hub", card.network)


def test_a_folder_whose_card_says_random_is_not(embedded):
    replace(embedded, source="random").save(embedded.folder)
    start = find_start(str(embedded.folder), ARCH)
    assert (start.is_random, start.state().keys()) == (
        False,
        find_start("builtin", ARCH).state().keys(),
    )


@pytest.mark.parametrize("name", [".", "two\nlines", "x" * 201, "\udcff"])
def test_a_folder_of_initial_weights_may_have_any_name(embedded, tmp_path, monkeypatch, name):
    folder = tmp_path / "starts" / name
    shutil.copytree(embedded.folder, folder)
    (folder / "card.json").unlink()
    monkeypatch.chdir(tmp_path / "starts")
    assert find_start(name, ARCH).sha256 == embedded.sha256


def test_without_a_name_a_folder_of_initial_weights_chooses_its_own_network(embedded):
    assert find_arch("auto", str(embedded.folder)) == ARCH
