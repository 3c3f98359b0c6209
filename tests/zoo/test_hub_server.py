"""The fixture Hub, by what the real huggingface_hub and timm make of it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tests.support.hub_repositories import (
    CLIP_ARCH,
    CLIP_ARGS,
    bin_repository,
    clip_repository,
    commit_of,
    demo,
    pickle_repository,
    random_network,
    timm_repository,
)
from tests.support.hub_server import Fault

NAME = "lab/net"
WRITTEN_AT_ONCE = 10 * 1024 * 1024
"""Bytes that huggingface_hub collects before it writes any: what is less cannot be resumed."""

PRELUDE = """
import json
import huggingface_hub as hf

def error_of(call, *words, **options):
    try:
        return "none", str(call(*words, **options))
    except Exception as error:
        return type(error).__name__, str(error)

def say(value):
    print(json.dumps(value))
"""

FETCH = f"say(error_of(hf.hf_hub_download, {NAME!r}, 'model.bin'))"


@pytest.fixture
def files(hub):
    """A repository of two files, without torch."""
    folder = hub.root / NAME
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\ntags:\n- timm\n- birds\n---\nHello.\n")
    (folder / "model.bin").write_bytes(np.random.default_rng(0).bytes(100_000))
    return folder


@pytest.fixture
def client(hub, tmp_path):
    """Runs code in a process of the real client; returns what it says."""

    def run(code, token=None):
        ran = subprocess.run(
            [sys.executable, "-c", PRELUDE + dedent(code)],
            env=hub.environment(tmp_path / "home", token) | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run


def test_it_lists_describes_and_snapshots_repositories(hub, files, client):
    (hub.root / "other" / "thing").mkdir(parents=True)
    sha = commit_of(files)
    said = client(
        f"""
        info = hf.model_info({NAME!r}, files_metadata=True)
        say({{
            "listed": [one.id for one in hf.list_models()],
            "by author": [one.id for one in hf.list_models(author="other")],
            "by search": [one.id for one in hf.list_models(search="NET")],
            "by tags": [one.id for one in hf.list_models(filter=["timm", "license:mit"])],
            "by another tag": [one.id for one in hf.list_models(filter="fish")],
            "card": [info.sha, info.card_data.license, info.tags, info.gated],
            "sizes": {{
                one.rfilename: [one.size, one.lfs and one.lfs.size] for one in info.siblings
            }},
            "files": hf.list_repo_files({NAME!r}),
            "folder": hf.snapshot_download({NAME!r}, revision={sha!r}),
            "wrong": len(hf.HfApi().verify_repo_checksums({NAME!r}).mismatches),
        }})
        """
    )
    assert said["listed"] == [NAME, "other/thing"]
    assert (said["by author"], said["by search"]) == (["other/thing"], [NAME])
    assert (said["by tags"], said["by another tag"]) == ([NAME], [])
    assert said["card"] == [sha, "mit", ["timm", "birds", "license:mit"], False]
    readme = (files / "README.md").stat().st_size
    assert said["sizes"] == {"README.md": [readme, None], "model.bin": [100_000, 100_000]}
    assert (said["files"], said["wrong"]) == (["README.md", "model.bin"], 0)
    assert Path(said["folder"]).name == sha
    assert Path(said["folder"], "model.bin").read_bytes() == (files / "model.bin").read_bytes()


def test_another_content_is_another_commit_and_the_old_one_is_gone(hub, files, client):
    before = commit_of(files)
    (files / "README.md").write_text("---\nlicense: mit\ntags:\n- timm\n- birds\n---\nHullo.\n")
    assert len(before) == 40
    assert commit_of(files) != before
    error, _ = client(f"say(error_of(hf.model_info, {NAME!r}, revision={before!r}))")
    assert error == "RevisionNotFoundError"


def test_what_is_missing_or_forbidden_raises_the_errors_of_the_client(hub, files, client):
    hub.faults["lab/private"] = Fault(token="mine")  # noqa: S106
    hub.faults["lab/gated"] = Fault(gated=True, token="mine")  # noqa: S106
    for name in ("private", "gated"):
        (hub.root / "lab" / name).mkdir()
        (hub.root / "lab" / name / "config.json").write_text("{}")
    code = f"""
        get, info = hf.hf_hub_download, hf.model_info
        say([
            error_of(info, "lab/nothing"),
            error_of(get, "lab/nothing", "config.json"),
            error_of(get, {NAME!r}, "README.md", revision="v2"),
            error_of(get, {NAME!r}, "README.md", revision="0" * 40),
            error_of(get, {NAME!r}, "config.json"),
            error_of(get, "lab/gated", "config.json"),
            error_of(info, "lab/gated"),
            error_of(get, "lab/private", "config.json"),
            error_of(info, "lab/private"),
        ])
        """
    missing = ["RepositoryNotFoundError"] * 2
    missing += ["RevisionNotFoundError"] * 2 + ["RemoteEntryNotFoundError"]
    hidden = ["GatedRepoError", "none", *["RepositoryNotFoundError"] * 2]
    for token, status in ((None, "401"), ("theirs", "40")):
        said = client(code, token)
        assert [name for name, _ in said] == missing + hidden, said
        assert status in said[5][1]
    assert "Access to model lab/gated is restricted" in said[5][1]
    assert "not in the authorized list" in said[5][1]
    said = client(code, token="mine")  # noqa: S106
    assert [name for name, _ in said] == [*missing, *["none"] * 4], said


def test_a_download_that_is_cut_goes_on_where_it_was_written(hub, files, client):
    content = np.random.default_rng(1).bytes(WRITTEN_AT_ONCE + 500_000)
    (files / "model.bin").write_bytes(content)
    hub.faults[NAME] = Fault(cut_after=WRITTEN_AT_ONCE + 1000)
    error, path = client(FETCH)
    ranges = [call.range for call in hub.log]
    assert (error, ranges) == ("none", ["", "", f"bytes={WRITTEN_AT_ONCE}-"])
    assert Path(path).read_bytes() == content


def test_a_small_download_that_is_cut_starts_anew(hub, files, client):
    hub.faults[NAME] = Fault(cut_after=50_000)
    error, path = client(FETCH)
    asked = [(call.method, call.range) for call in hub.log]
    assert (error, asked) == ("none", [("HEAD", ""), ("GET", ""), ("GET", "")])
    assert Path(path).read_bytes() == (files / "model.bin").read_bytes()


def test_a_reset_connection_is_an_error_once(hub, files, client):
    hub.faults[NAME] = Fault(cut_after=50_000, reset=True)
    assert client(FETCH)[0] == "ReadError"
    assert client(FETCH)[0] == "none"


def test_wrong_bytes_of_the_right_size_go_unnoticed_by_the_client(hub, files, client):
    hub.faults[NAME] = Fault(wrong_bytes=True)
    error, path = client(FETCH)
    content = (files / "model.bin").read_bytes()
    got = Path(path).read_bytes()
    assert (error, len(got), got[:-1]) == ("none", len(content), content[:-1])
    assert got != content


def test_a_killed_download_is_made_good_by_the_next(hub, files, client, tmp_path):
    hub.faults[NAME] = Fault(bytes_per_second=50_000)
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + FETCH], env=hub.environment(tmp_path / "home")
    ) as first:
        while "GET" not in [method for method, _ in hub.requests]:
            time.sleep(0.05)
            assert first.poll() is None
        time.sleep(0.3)
        first.kill()
    assert list((tmp_path / "home").rglob("*.incomplete"))
    hub.faults.clear()
    error, path = client(FETCH)
    assert error == "none"
    assert Path(path).read_bytes() == (files / "model.bin").read_bytes()


def test_too_many_requests_and_a_failing_server_are_asked_again(hub, files, client):
    hub.faults[NAME] = Fault(first_status=(429, 500, 200, 429))
    assert client(FETCH)[0] == "none"
    assert [method for method, _ in hub.requests] == ["HEAD", "HEAD", "HEAD", "GET", "GET"]


def test_a_renamed_repository_is_followed(hub, files, client):
    hub.faults["lab/old"] = Fault(renamed_to=NAME)
    fetch = 'hf.hf_hub_download("lab/old", "model.bin")'
    name, path = client(f'say([hf.model_info("lab/old").id, {fetch}])')
    assert name == NAME
    assert Path(path).read_bytes() == (files / "model.bin").read_bytes()


def test_a_folder_is_pushed_changed_and_pulled(hub, client, tmp_path):
    mine = tmp_path / "mine"
    (mine / "sub").mkdir(parents=True)
    (mine / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (mine / "sub" / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    code = f"""
        api = hf.HfApi()
        url = api.create_repo("me/pushed", exist_ok=True)
        done = api.upload_folder(repo_id="me/pushed", folder_path={str(mine)!r})
        say([url.repo_id, done.oid, hf.snapshot_download("me/pushed", revision=done.oid)])
        """
    name, sha, folder = client(code, token="mine")  # noqa: S106
    pushed = hub.root / "me" / "pushed"
    assert (name, sha) == ("me/pushed", commit_of(pushed))
    for file in ("README.md", "sub/model.safetensors"):
        assert (mine / file).read_bytes() == (pushed / file).read_bytes()
        assert (mine / file).read_bytes() == Path(folder, file).read_bytes()
    (mine / "README.md").write_text("other")
    (pushed / "sub" / "model.safetensors").touch()
    assert client(code, token="mine")[1] == commit_of(pushed) != sha  # noqa: S106
    last = [call.body for call in hub.log if "/commit/" in call.path][-1]
    assert b"README.md" in last
    assert b"safetensors" not in last, "what is there already was sent again"
    assert client("say(error_of(hf.create_repo, 'me/more'))")[0] == "HfHubHTTPError"
    assert not (hub.root / "me" / "more").exists()


def test_timm_loads_every_layout_and_no_foreign_code(hub, client, tmp_path):
    import torch

    marker = tmp_path / "it ran"
    labels = {"a": 0, "b": 1, "c": 2}
    plain = timm_repository(hub.root, "lab/plain", seed=1, label_names=labels)
    bin_repository(hub.root, "lab/bin", seed=2, labels=("x", "y"))
    clip_repository(hub.root, "lab/clip", seed=3)
    timm_repository(hub.root, "lab/strange", architecture="resnet_of_nowhere")
    timm_repository(hub.root, "lab/head", head=5)
    evil = pickle_repository(hub.root, "lab/evil", marker=marker)
    said = client(
        f"""
        import timm, torch
        image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
        def load(name, **options):
            return timm.create_model(name, pretrained=True, **options).eval()
        clip = {{"hf_hub_id": "lab/clip", "hf_hub_filename": "open_clip_model.safetensors"}}
        clip = {{"pretrained_cfg_overlay": {{**clip, "num_classes": 16}}, **{CLIP_ARGS!r}}}
        models = [load("hf-hub:lab/plain@{commit_of(plain)}"), load("hf-hub:lab/bin")]
        models.append(load({CLIP_ARCH!r}, num_classes=16, **clip))
        with torch.inference_mode():
            said = [model(image)[0].tolist() for model in models]
        bad = [error_of(load, "hf-hub:lab/" + name) for name in ("strange", "head", "evil")]
        say([said, models[0].pretrained_cfg["label_names"], bad])
        """
    )
    networks = [random_network("test_resnet", 3, 1), random_network("test_resnet", 2, 2)]
    networks.append(random_network(CLIP_ARCH, 16, 3, **CLIP_ARGS))
    image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.inference_mode():
        for network, got in zip(networks, said[0], strict=True):
            torch.testing.assert_close(torch.tensor(got), network(image)[0], rtol=1e-4, atol=1e-4)
    assert said[1] == labels
    assert "Unknown model (resnet_of_nowhere)" in said[2][0][1]
    assert "size mismatch" in said[2][1][1]
    assert "weights_only=True blocked loading" in said[2][2][1]
    assert not marker.exists()
    torch.load(evil / "pytorch_model.bin", weights_only=False)
    assert marker.exists(), "the bomb is a dud: nothing was shown"


def test_the_demo_makes_repositories_of_every_layout(tmp_path):
    demo(tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*m*el.*"))
    assert found == [
        "demo/ants/model.safetensors",
        "demo/bees-bin/pytorch_model.bin",
        "demo/clip/open_clip_model.safetensors",
        "demo/gated/model.safetensors",
    ]
