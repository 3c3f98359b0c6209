"""Downloads from the Hub when all goes well, and when the line, the server or the disk do not."""

import hashlib
import json
import socket
import time
from dataclasses import replace

import pytest

from tests.support.hub_repositories import Fault, commit_of
from tests.support.hub_server import HubServer
from tests.support.hub_user import User, raw_repository
from tests.support.worlds import snapshot
from zoo.hub import retry as hub_retry
from zoo.hub.download import PIECE
from zoo.teachers.card import TeacherCard

NAME = "lab/net"
MB = 1 << 20


@pytest.fixture
def user(hub, tmp_path):
    return User(hub, tmp_path / "user")


@pytest.fixture
def net(hub):
    """Five megabytes of noise."""
    return raw_repository(hub.root, NAME, size=5 * MB)


def weights_of(folder):
    return (folder / "model.safetensors").read_bytes()


def test_a_teacher_is_pulled_once_pinned_and_kept_in_the_cache_of_the_hub(hub, net, user):
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.bytes_of(NAME) == weights_of(net)
    card = TeacherCard.load(user.folder(NAME))
    assert card.revision == commit_of(net)
    assert card.sha256 == hashlib.sha256(weights_of(net)).hexdigest()
    assert (card.bytes, card.license, card.network) == (5 * MB, "cc-by-4.0", "test_resnet")
    found = user.home / f"hub/models--lab--net/snapshots/{card.revision}/model.safetensors"
    assert found.read_bytes() == weights_of(net)
    assert not found.readlink().is_absolute()
    assert found.resolve().name == card.sha256
    hub.log.clear()
    before = snapshot(user.cache)
    assert user.pull_one(NAME) == ("here", "")
    assert (hub.requests, snapshot(user.cache)) == ([], before)


def test_a_killed_download_goes_on_where_it_ended(hub, user):
    net = raw_repository(hub.root, NAME, size=35 * MB)
    hub.faults[NAME] = Fault(bytes_per_second=25 * MB)
    with user.start("pull", NAME) as run:
        while not user.parts or user.parts[0].stat().st_size < 12 * MB:
            time.sleep(0.01)
            assert run.poll() is None
        run.kill()
    (part,) = user.parts
    here = part.stat().st_size
    assert 12 * MB <= here < 35 * MB
    hub.faults.clear()
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.ranges(NAME) == ["", f"bytes={here}-"]
    assert user.bytes_of(NAME) == weights_of(net)
    assert user.parts == []


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_taken_up_where_it_ended(hub, net, user, reset):
    hub.faults[NAME] = Fault(cut_after=2 * MB + 1000, reset=reset)
    assert user.pull_one(NAME) == ("pulled", "")
    first, then = user.ranges(NAME)
    assert first == ""
    start = int(then.removeprefix("bytes=").rstrip("-") or 0)
    # a reset may swallow what was on its way
    assert start % PIECE == 0
    assert start == 2 * MB or (reset and start < 2 * MB)
    assert user.bytes_of(NAME) == weights_of(net)


def test_a_line_that_always_breaks_still_brings_all_if_it_brings_something(hub, net, user):
    hub.faults[NAME] = Fault(cut_after=MB + 1000, times=99)
    assert user.pull_one(NAME) == ("pulled", "")
    asked = [f"bytes={number * MB}-" for number in (1, 2, 3, 4)]
    assert user.ranges(NAME) == ["", *asked]
    assert user.bytes_of(NAME) == weights_of(net)


def test_a_line_that_brings_nothing_is_a_clear_row_and_another_day_it_goes_on(hub, net, user):
    hub.faults[NAME] = Fault(cut_after=1000, times=99)
    status, reason = user.pull_one(NAME)
    assert (status, len(user.ranges(NAME))) == ("failed", 4)
    assert reason == "the connection broke: run the same command again to resume."
    assert not user.folder(NAME).exists()
    hub.faults.clear()
    assert user.pull_one(NAME) == ("pulled", "")


def test_an_overloaded_server_is_asked_again_and_then_reported(hub, net, user):
    hub.faults[NAME] = Fault(first_status=(429, 500, 503, 200, 503, 200, 502, 504))
    assert user.pull_one(NAME) == ("pulled", "")
    hub.faults["lab/other"] = Fault(first_status=(503,) * 9)
    raw_repository(hub.root, "lab/other")
    status, reason = user.pull_one("lab/other")
    assert (status, "overloaded (503)" in reason) == ("failed", True)
    assert reason.endswith("run the same command again later.")


def test_wrong_bytes_are_not_used_and_the_next_pull_is_right(hub, net, user):
    hub.faults[NAME] = Fault(wrong_bytes=True)
    status, reason = user.pull_one(NAME)
    assert (status, "damaged" in reason, "run the same" in reason) == ("failed", True, True)
    assert not user.folder(NAME).exists()
    assert not [path for path in user.home.rglob("*") if path.is_file() and len(path.name) == 64]
    assert user.pull_one(NAME, HF_HUB_OFFLINE="1")[0] == "failed"
    hub.faults.clear()
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.bytes_of(NAME) == weights_of(net)


def test_a_wrong_byte_of_a_small_file_is_not_used_either(hub, net, user, monkeypatch):
    other = raw_repository(hub.root, "lab/other") / "config.json"
    other.write_text((net / "config.json").read_text().replace("0.5", "0.6"))
    known = hub.answer

    def answer(call):
        reply = known(call)
        wrong = call.method == "GET" and call.file == "config.json"
        return replace(reply, file=other) if wrong else reply

    monkeypatch.setattr(hub, "answer", answer)
    status, reason = user.pull_one(NAME)
    assert (status, "config.json arrived damaged" in reason) == ("failed", True)
    assert not user.folder(NAME).exists()
    monkeypatch.setattr(hub, "answer", known)
    assert user.pull_one(NAME) == ("pulled", "")


@pytest.mark.parametrize("size", ["-5", "many"])
def test_a_size_that_is_none_is_as_if_it_were_not_stated(hub, net, user, monkeypatch, size):
    known = hub.answer

    def answer(call):
        reply = known(call)
        stated = {"X-Linked-Size": size} if call.method == "HEAD" else {}
        return replace(reply, headers={**reply.headers, **stated})

    monkeypatch.setattr(hub, "answer", answer)
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.bytes_of(NAME) == weights_of(net)


@pytest.mark.parametrize(("here", "asked"), [(2 * MB, [f"bytes={2 * MB}-", ""]), (6 * MB, [""])])
def test_a_beginning_of_something_else_is_thrown_away(hub, net, user, here, asked):
    sha256 = hashlib.sha256(weights_of(net)).hexdigest()
    part = user.home / f"hub/models--lab--net/blobs/{sha256}.source-zoo.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(here))
    assert user.pull_one(NAME) == ("pulled", "")
    assert (user.ranges(NAME), user.parts) == (asked, [])
    assert user.bytes_of(NAME) == weights_of(net)


def test_two_processes_fetch_a_teacher_once(hub, net, user):
    hub.faults[NAME] = Fault(bytes_per_second=10 * MB)
    with user.start("pull", NAME) as one, user.start("pull", NAME) as other:
        said = [run.communicate(timeout=30) for run in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], said
    assert user.ranges(NAME) == [""]
    assert user.bytes_of(NAME) == weights_of(net)
    assert TeacherCard.load(user.folder(NAME)).revision == commit_of(net)


@pytest.mark.parametrize("what", ["model.safetensors", "config.json"])
def test_what_was_damaged_is_fetched_again_and_nothing_else(hub, net, user, what):
    user.pull_one(NAME)
    path = user.folder(NAME) / what
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    hub.log.clear()
    status, reason = user.pull_one(NAME, HF_HUB_OFFLINE="1")
    assert (status, "HF_HUB_OFFLINE" in reason, hub.requests) == ("failed", True, [])
    assert user.pull_one(NAME) == ("pulled", "")
    assert [call.file for call in hub.log if call.method == "GET" and call.file] == [what]
    assert path.read_bytes() == (net / what).read_bytes()
    assert user.pull_one(NAME) == ("here", "")


def test_what_lies_in_the_cache_of_the_hub_needs_no_network_unless_it_is_damaged(hub, net, user):
    user.pull_one(NAME)
    card = replace(TeacherCard.load(user.folder(NAME)), sha256="", license="unknown")
    card.save(user.folder(NAME))
    (user.folder(NAME) / "model.safetensors").unlink()
    hub.log.clear()
    assert user.pull_one(NAME, HF_HUB_OFFLINE="1") == ("pulled", "")
    (blob,) = (path for path in user.home.rglob("blobs/*") if len(path.name) == 64)
    (user.folder(NAME) / "model.safetensors").unlink()
    card.save(user.folder(NAME))
    blob.write_bytes(bytes(5 * MB))
    assert user.pull_one(NAME, HF_HUB_OFFLINE="1")[0] == "failed"
    assert hub.requests == []
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.bytes_of(NAME) == weights_of(net)


def test_a_server_that_is_down_costs_one_wait_for_all_teachers(hub, net, user):
    user.pull_one(NAME)
    refusing = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    rows = user.pull("lab/a", NAME, "lab/b", **refusing)
    assert [row["status"] for row in rows] == ["failed", "here", "failed"]
    assert rows[0]["reason"].startswith("http://127.0.0.1:9 cannot be reached: run the same")
    assert "was just unreachable" in rows[2]["reason"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        rows = user.pull("lab/a", "lab/b", "--dry-run", HF_ENDPOINT=url, HF_HUB_ETAG_TIMEOUT="1")
        assert time.monotonic() - begun < 30
    assert f"{url} cannot be reached" in rows[0]["reason"]
    assert "was just unreachable" in rows[1]["reason"]


def test_no_further_try_is_made_when_patience_is_at_its_end(monkeypatch):
    class ReadTimeout(Exception):
        """As the transport calls it."""

    clock = [0.0]

    def wait(seconds):
        clock[0] += seconds

    def call():
        wait(10)
        raise ReadTimeout

    monkeypatch.setattr(hub_retry.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(hub_retry.time, "sleep", wait)
    with pytest.raises(ReadTimeout):
        hub_retry.retry(call)
    assert 20 <= clock[0] <= 30


def test_a_full_disk_is_a_clear_row_and_then_it_goes_on(hub, net, user):
    user.limit = "ulimit -f 6144; "  # blocks of 512 bytes: 3 MB a file
    status, reason = user.pull_one(NAME)
    assert (status, "no space left in" in reason, "HF_HOME" in reason) == ("failed", True, True)
    user.limit = ""
    assert user.pull_one(NAME) == ("pulled", "")
    assert user.ranges(NAME) == ["", f"bytes={3 * MB}-"]
    assert user.bytes_of(NAME) == weights_of(net)


def test_a_cache_that_cannot_be_written_is_a_clear_row(hub, net, user, tmp_path):
    (tmp_path / "file").write_text("no folder")
    status, reason = user.pull_one(NAME, HF_HOME=str(tmp_path / "file"))
    assert (status, "cannot be written: set HF_HOME" in reason) == ("failed", True)
    user.cache.write_text("no folder")
    status, reason = user.pull_one(NAME)
    assert (status, reason.endswith("set SOURCE_ZOO_CACHE.")) == ("failed", True)


class Odd(HubServer):
    """A mirror: its tags are no hashes, and it knows no ranges."""

    tag = '"abc-5"'

    def answer(self, call):
        reply = super().answer(call)
        if reply.file:
            size = reply.file.stat().st_size
            kept = {"X-Repo-Commit": reply.headers["X-Repo-Commit"]}
            tag = {"ETag": self.tag.replace("abc", call.file[:1])} if self.tag else {}
            return replace(reply, status=200, headers=kept | tag, span=range(size))
        return reply


def test_a_mirror_with_other_tags_and_no_ranges_is_good_enough(tmp_path):
    with Odd(tmp_path / "hub") as hub:
        user = User(hub, tmp_path / "user")
        net = raw_repository(hub.root, NAME, size=2 * MB)
        hub.faults[NAME] = Fault(cut_after=MB + 1000)
        assert user.pull_one(NAME) == ("pulled", "")
        assert user.bytes_of(NAME) == weights_of(net)
        assert json.loads((user.folder(NAME) / "config.json").read_text())
        hub.tag = '"../../../abc"'
        raw_repository(hub.root, "lab/other")
        status, reason = user.pull_one("lab/other")
        assert (status, "check HF_ENDPOINT" in reason) == ("failed", True)
        hub.tag = ""
        assert user.pull_one("lab/other") == (status, reason)
