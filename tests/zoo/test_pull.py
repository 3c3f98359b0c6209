"""`zoo pull`: which teachers, at which commit, with which token; what it refuses, what it says."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.support.hub_repositories import Fault, commit_of
from tests.support.hub_server import refusal
from tests.support.hub_user import ROOT, User, raw_repository
from tests.support.toys import hub_card
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import list_cards

NAME = "lab/net"


@pytest.fixture
def user(hub, tmp_path):
    """Of a catalogue of three: cat and cow (default) and dog, whose repository does not exist."""
    user = User(hub, tmp_path / "user")
    cards = [
        hub_card("cat", default=True, domain="pets"),
        hub_card("cow", domain="farm animals", license="unknown", evidence="seen", classes=0),
        hub_card("dog", default=True, domain="pets"),
    ]
    user.catalogue(tmp_path / "catalogue.json", cards)
    raw_repository(hub.root, "owner/cat-net", size=300_000, seed=1)
    raw_repository(hub.root, "owner/cow-net", size=200_000, seed=2)
    return user


def test_pull_takes_names_domains_the_default_set_and_repositories(hub, user):
    raw_repository(hub.root, NAME)
    for words, wanted in {
        ("--domain", "FARM"): ["cow"],
        ("--default", "--domain", "pet"): ["cat", "dog"],
        ("cow", "cat", "cow"): ["cow", "cat"],
        (NAME, "owner/cow-net"): [NAME, "cow"],
        (NAME, "dog", "--default"): [NAME, "dog", "cat"],
        ("cat", "--domain", "farm"): ["cat", "cow"],
    }.items():
        rows = user.pull(*words, "--dry-run")
        assert [row["name"] for row in rows] == wanted
    assert "pets" in user.zoo("pull", "--domain", "fish").mistake
    odd, cow = user.pull("nonsense/na/me", "cow", "--dry-run")
    assert (odd["status"], odd["reason"]) == ("failed", "is not OWNER/NAME")
    assert (cow["name"], cow["status"]) == ("cow", "would pull")


def test_a_dry_run_fetches_no_file_and_says_the_bytes(hub, user):
    ran = user.zoo("pull", "cat", "cow", "dog", "--dry-run")
    assert (ran.code, ran.err) == (1, "")
    config = (hub.root / "owner/cat-net/config.json").stat().st_size
    rows = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert "would pull" in rows["cat"]
    assert commit_of(hub.root / "owner/cat-net")[:12] in rows["cat"]
    assert "not found" in rows["dog"]
    assert "0.5 MB, 2 of 3 teachers." in ran.out
    sizes = [row["bytes"] for row in user.pull("cat", "cow", "--dry-run")]
    assert sizes == [300_000 + config, 200_000 + config]
    assert not [path for _, path in hub.requests if "/resolve/" in path]
    assert not user.cache.exists()
    user.pull("cat")
    assert [row["bytes"] for row in user.pull("cat", "cow", "--dry-run")] == [0, 200_000 + config]


def test_a_teacher_that_fails_does_not_stop_the_others(hub, user):
    rows = user.pull("--default", "--zoo", "hub, owner/cow-net")
    assert [(row["name"], row["status"]) for row in rows] == [("cat", "pulled"), ("dog", "failed")]
    assert rows[0]["bytes"] == 300_000
    assert rows[1]["reason"] == f"not found at {hub.url}; if it is private, set HF_TOKEN."
    ran = user.zoo("pull", "dog", "cow")
    assert (ran.code, ran.err) == (1, "")
    (line,) = [line for line in ran.out.splitlines() if "dog" in line.split()[:1]]
    assert "not found" in line
    assert "0.2 MB, 1 of 2 teachers." in ran.out


def test_what_the_catalogue_knows_stays_and_the_rest_comes_with_the_files(hub, user):
    assert [row["status"] for row in user.pull("cow", "cat")] == ["pulled"] * 2
    cow, cat = (TeacherCard.load(user.folder(name)) for name in ("cow", "cat"))
    assert (cow.domain, cow.classes, cow.license, cow.evidence) == (
        "farm animals",
        0,
        "unknown",
        "seen",
    )
    assert (cat.classes, cat.license) == (2, "cc-by-4.0")
    shown = {row["name"]: row for row in user.zoo("list", "--zoo", "hub", "--json").json}
    assert [shown[name]["local"] for name in ("cat", "cow", "dog")] == [True, True, False]
    assert shown["cat"]["revision"] == commit_of(hub.root / "owner/cat-net")
    assert len(user.zoo("list", "--local", "--zoo", "hub", "--json").json) == 2


def test_a_pinned_commit_holds_and_one_that_vanished_is_a_clear_row(hub, user):
    net = raw_repository(hub.root, NAME, seed=1)
    user.pull_one(NAME)
    before, content = commit_of(net), user.bytes_of(NAME)
    raw_repository(hub.root, NAME, seed=2)
    after = commit_of(net)
    assert user.pull_one(NAME) == ("here", "")
    assert user.bytes_of(NAME) == content
    (user.folder(NAME) / "model.safetensors").write_bytes(b"damaged")
    status, reason = user.pull_one(NAME)
    assert (status, before[:12] in reason, str(user.folder(NAME)) in reason) == (
        "failed",
        True,
        True,
    )
    assert "no longer there" in reason
    shutil.rmtree(user.folder(NAME))
    assert user.pull_one(NAME) == ("pulled", "")
    assert TeacherCard.load(user.folder(NAME)).revision == after != before
    shutil.rmtree(net)
    assert user.pull_one(NAME) == ("here", ""), "what was pulled outlives its repository"


def test_a_commit_of_the_catalogue_that_is_gone_is_a_clear_row(hub, user, tmp_path):
    card = hub_card("cat", revision="0" * 40)
    user.catalogue(tmp_path / "catalogue.json", [card])
    assert user.pull_one("cat") == (
        "failed",
        "the commit 000000000000 that it is pinned to is no longer there.",
    )


def test_a_commit_that_only_the_hub_named_and_has_not_is_a_clear_row(hub, user, monkeypatch):
    raw_repository(hub.root, NAME)
    known = hub.answer

    def answer(call):
        gone = "/resolve/" in call.path
        return refusal(404, "RevisionNotFound", "no") if gone else known(call)

    monkeypatch.setattr(hub, "answer", answer)
    status, reason = user.pull_one(NAME)
    assert (status, "the commit that the Hub names is not there" in reason) == ("failed", True)


def test_a_renamed_repository_is_followed(hub, user):
    raw_repository(hub.root, "lab/new")
    hub.faults["lab/old"] = Fault(renamed_to="lab/new")
    assert user.pull_one("lab/old") == ("pulled", "")
    assert user.pull_one("lab/old") == ("here", "")
    assert TeacherCard.load(user.folder("lab/old")).source == "hf-hub:lab/old"


def test_private_and_gated_repositories_need_the_right_token(hub, user):
    for name, fault in {"private": Fault(), "gated": Fault(gated=True)}.items():
        raw_repository(hub.root, f"lab/{name}")
        hub.faults[f"lab/{name}"] = Fault(gated=fault.gated, token="mine")  # noqa: S106
    for token in ("", "theirs"):
        private, gated = user.pull("lab/private", "lab/gated", HF_TOKEN=token)
        assert private["reason"] == f"not found at {hub.url}; if it is private, set HF_TOKEN."
        asks = f"request access at {hub.url}/lab/gated, then set HF_TOKEN."
        assert gated["reason"] == asks
    rows = user.pull("lab/private", "lab/gated", HF_TOKEN="mine")  # noqa: S106
    assert [row["status"] for row in rows] == ["pulled", "pulled"]
    assert [row["status"] for row in user.pull("lab/private", "lab/gated")] == ["here", "here"]


def test_what_is_no_repository_of_timm_is_refused_before_its_weights_come(hub, user):
    for name in ("transformers", "empty", "old", "no-config", "no-look", "json", "labels", "half"):
        raw_repository(hub.root, f"lab/{name}")
    root = hub.root / "lab"
    said = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    (root / "transformers/config.json").write_text(json.dumps(said))
    (root / "empty/model.safetensors").unlink()
    (root / "old/model.safetensors").rename(root / "old/weights.h5")
    (root / "no-config/config.json").unlink()
    config = json.loads((root / "no-look/config.json").read_text())
    (root / "labels/config.json").write_text(json.dumps(config | {"label_names": ["a", "b", "c"]}))
    (root / "half/config.json").write_text(json.dumps(config | {"label_names": ["a", "\ud800"]}))
    del config["pretrained_cfg"]["mean"]
    (root / "no-look/config.json").write_text(json.dumps(config))
    (root / "json/config.json").write_text("[1, 2")
    wanted = {
        "transformers": "this is a transformers model",
        "empty": "holds no model.safetensors or pytorch_model.bin",
        "old": "holds no model.safetensors or pytorch_model.bin",
        "no-config": "holds no config.json",
        "no-look": "pretrained_cfg.mean: missing",
        "json": "is not valid",
        "labels": "label_names: expected 2, one per class, found 3",
        "half": "label_names[1]: expected text of whole characters",
    }
    rows = user.pull(*(f"lab/{name}" for name in wanted))
    for row, (name, reason) in zip(rows, wanted.items(), strict=True):
        assert row["name"] == f"lab/{name}"
        assert reason in row["reason"]
        assert len(row["reason"].splitlines()) == 1
        assert not user.folder(row["name"]).exists()
    fetched = {call.file for call in hub.log if call.method == "GET" and "/resolve/" in call.path}
    assert fetched == {"config.json"}


def test_without_a_network_what_is_here_is_here_and_the_rest_says_so(hub, user):
    user.pull("cat")
    hub.log.clear()
    cat, cow = user.pull("cat", "cow", HF_HUB_OFFLINE="1")
    assert (cat["status"], cow["status"], hub.requests) == ("here", "failed", [])
    says = "not complete on this machine, and HF_HUB_OFFLINE forbids downloads."
    assert cow["reason"] == says
    assert user.pull("cow", "--dry-run", HF_HUB_OFFLINE="1")[0]["reason"] == says


def test_pull_and_info_load_neither_torch_nor_timm(hub, user):
    code = (
        "import sys; from cli.zoo_app import main\n"
        "try: main()\nfinally: print(*sorted({'torch', 'timm'} & sys.modules.keys()))"
    )
    raw_repository(hub.root, NAME)
    for words in (["pull", NAME], ["info", NAME]):
        run = [sys.executable, "-c", code, *words]
        ran = subprocess.run(run, env=user.env, cwd=ROOT, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr, ran.stdout.splitlines()[-1]) == (0, "", "")
        assert "lab/net" in ran.stdout


def test_the_page_of_teachers_counts_the_catalogue():
    cards = list_cards("hub")
    default = [card for card in cards if card.default]
    gigabytes = [sum(card.bytes for card in some) / 1e9 for some in (default, cards)]
    own_terms = [card for card in cards if "-nc" in card.license or "non-com" in card.license]
    own_terms += [card for card in cards if card.license.startswith("dinov3")]
    page = " ".join((ROOT / "docs/teachers.md").read_text().split())
    for words in (
        f"{len(cards)} more teachers of {len({card.domain for card in cards})} domains",
        f"{len(default)} teachers of {len({card.domain for card in default})} domains",
        f"{gigabytes[0]:.1f} GB, of which one has {max(c.bytes for c in default) / 1e9:.1f} GB",
        f"the whole catalogue is {gigabytes[1]:.0f} GB",
        f"{sum(c.license == 'unknown' for c in cards)} of the {len(cards)} are `unknown`",
        f"and {len(own_terms)} others",
    ):
        assert words in page
