"""Answers of a Hub that wants more than to be read: commits that are paths, bodies without end."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.toys import hub_card
from zoo.errors import HubError
from zoo.hub import client, download
from zoo.hub.download import PIECE
from zoo.system.json_files import LIMIT
from zoo.teachers.card import TeacherCard

COMMIT = "a" * 40
GOOD = {
    "id": "owner/cat-net",
    "sha": COMMIT,
    "siblings": [
        {"rfilename": "config.json", "size": 9},
        {"rfilename": "model.safetensors", "size": 9, "lfs": {"sha256": "b" * 64}},
    ],
    "cardData": {"license": "mit"},
}


@dataclass
class Answer:
    """What stands for an answer of the transport; its content may never end."""

    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    request: Any = None
    content: Iterator[bytes] | tuple[()] = ()
    url: str = "http://hub/x"
    sent: int = 0

    def iter_raw(self, size):
        for piece in self.content:
            self.sent += len(piece)
            yield piece

    def raise_for_status(self):
        pass


@pytest.fixture
def hub(monkeypatch):
    """Every request gets the answer that is set."""
    answers = []

    @contextmanager
    def stream(*_, **__):
        yield answers[-1]

    monkeypatch.setattr("zoo.hub.download.http_stream_backoff", stream)
    return answers


def describe(hub, **changes):
    hub.append(Answer(content=iter([json.dumps({**GOOD, **changes}).encode()])))
    return client.find_files(hub_card("cat"))


def endless():
    while True:
        yield bytes(PIECE)


def test_an_honest_description_is_read(hub):
    files = describe(hub)
    assert (files.repo, files.revision, files.license) == ("owner/cat-net", COMMIT, "mit")
    assert (files.names, files.sizes) == (("config.json", "model.safetensors"), (9, 9))
    assert files.sha256 == "b" * 64


OLD = [{"rfilename": "model.safetensors", "lfs": {"sha256": "../x"}}]
BAD = {
    "a commit that is a path": {"sha": "../../../../victim"},
    "a commit that is a branch": {"sha": "main"},
    "no commit": {"sha": None},
    "a long commit": {"sha": "a" * 41},
    "a repository elsewhere": {"id": "../../victim"},
    "a hash that is a path": {"siblings": OLD},
    "a size below 0": {"siblings": [{"rfilename": "config.json", "size": -1}]},
    "a huge size": {"siblings": [{"rfilename": "config.json", "size": 10**40}]},
    "no list": {"siblings": {"rfilename": "config.json"}},
    "a long name": {"siblings": [{"rfilename": "x" * 10**6}]},
    "a front matter of text": {"cardData": "mit"},
}


@pytest.mark.parametrize("kind", BAD)
def test_a_description_that_is_none_is_one_line_and_nothing_is_written(hub, kind, cache):
    with pytest.raises(HubError, match="is not an answer of a Hub") as caught:
        describe(hub, **BAD[kind])
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    assert not list(cache.rglob("*"))


@pytest.mark.parametrize(
    "stated", ["x" * 5_000_000, ["mit"] * 10_000, {"a": 1}, 3, None, "mit\ud800"]
)
def test_a_license_is_a_short_text(hub, stated):
    license = describe(hub, cardData={"license": stated}).license
    assert len(license.encode()) <= client.LICENSE


@pytest.mark.parametrize("revision", ["../../../victim", "main", "A" * 40, "a" * 39])
def test_a_card_is_pinned_to_a_commit_and_to_nothing_else(revision):
    with pytest.raises(ValueError, match="revision: expected 40 hex digits"):
        hub_card("cat", revision=revision)
    with pytest.raises(ValueError, match="revision: expected 40 hex digits"):
        TeacherCard.from_json({**hub_card("cat").to_json(), "revision": revision})


def test_a_description_without_end_is_read_to_its_limit(hub):
    hub.append(Answer(content=endless()))
    with pytest.raises(HubError, match="sends more than"):
        client.find_files(hub_card("cat"))
    assert hub[-1].sent <= LIMIT + PIECE


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
def test_an_encoded_answer_is_refused_before_it_is_read(hub, encoding, tmp_path):
    answer = Answer(headers={"Content-Encoding": encoding}, content=endless())
    hub.append(answer)
    with pytest.raises(HubError, match="in the encoding"):
        client.find_files(hub_card("cat"))
    with pytest.raises(HubError, match="in the encoding"):
        download._resume("http://hub/x", tmp_path / "x.part", 9, None)
    assert answer.sent == 0


@pytest.mark.parametrize("size", [3_000_000, None])
@pytest.mark.parametrize("begun", [0, 1_000_000])
def test_a_file_stops_at_the_size_that_was_stated(hub, tmp_path, size, begun, monkeypatch):
    monkeypatch.setattr(download, "UNSTATED", 4_000_000)
    part = tmp_path / "x.part"
    part.write_bytes(bytes(begun))
    hub.append(Answer(206 if begun else 200, content=endless()))
    with pytest.raises(HubError, match="sends more than"):
        download._resume("http://hub/x", part, size, None)
    assert part.stat().st_size <= (size or 4_000_000)


@pytest.mark.parametrize("tag", ["..", ".", "../x", "a/b", "", "a\\b", "a\nb", "x" * 300])
def test_a_tag_is_the_name_of_a_file(monkeypatch, tmp_path, tag):
    found = type("Found", (), {"etag": tag, "size": 5})
    monkeypatch.setattr("zoo.hub.download.get_hf_file_metadata", lambda *_: found)
    monkeypatch.setattr("zoo.hub.download.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="is not a Hub"):
        download.download("owner/net", "config.json", COMMIT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("begin", [b"blob 3\0", b""])
def test_a_small_file_has_the_hash_of_git_or_of_a_mirror(tmp_path, begin):
    (tmp_path / "x").write_bytes(b"abc")
    tag = hashlib.sha1(begin + b"abc", usedforsecurity=False).hexdigest()
    assert download._is_whole(tmp_path / "x", tag)
    assert not download._is_whole(tmp_path / "x", tag[::-1])


def test_a_config_of_gigabytes_is_not_downloaded(monkeypatch, tmp_path):
    found = type("Found", (), {"etag": "b" * 64, "size": 5 << 30})
    monkeypatch.setattr("zoo.hub.download.get_hf_file_metadata", lambda *_: found)
    with pytest.raises(HubError, match="not used"):
        download.download("owner/net", "config.json", COMMIT, most=LIMIT)
