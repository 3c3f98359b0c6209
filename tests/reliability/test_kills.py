"""SIGKILL at random moments, and several runs at once: nothing lost, nothing half-written."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.forked_zoo import ForkedZoo
from tests.support.hub_repositories import Fault
from tests.support.hub_server import HubServer
from tests.support.hub_user import User, raw_repository
from tests.support.toys import build_teacher, paint_folder
from tests.support.worlds import snapshot, weights

STUDENT = ("distill", "--arch", "test_resnet", "--start", "random", "--image-size", 32)
SMALL = {"zoo.features.extraction.SHARD": 4}
"""Embeddings are stored every four images; other batches may round otherwise."""

OFTEN = {
    "distill.training.checkpoint.EVERY_SECONDS": 0.0,
    "distill.training.checkpoint.MAX_OVERHEAD": 1.0,
}


@pytest.fixture
def world(tmp_path):
    """Images and teachers of one's own; the folder and a maker of users with empty caches."""
    paint_folder(tmp_path / "imgs", per_class=6, loose=12)
    for number, name in enumerate(("ant", "bee", "cat")):
        build_teacher(tmp_path / "zoo" / name, name, seed=number)

    def user(name, **names):
        return ForkedZoo(tmp_path / name, tmp_path / f"{name}-cache", names)

    return tmp_path, user


def scores(user, name="ranking.json"):
    """What a ranking says, but for who was asked now and who before."""
    document = json.loads((user.home / name).read_text())
    return {key: value for key, value in document.items() if key != "forward_passes"}


def saved(user):
    """The weights of somebody's student."""
    return user.home / "student" / "model.safetensors"


def scraps(user):
    """What is half-written in somebody's folders."""
    return [*user.home.rglob("*.part"), *user.cache.rglob("*.part")]


def undisturbed(user, *words):
    """Run to a good end; the seconds that took."""
    began = time.monotonic()
    ran = user.zoo(*words)
    assert ran.code == 0, ran.err
    return time.monotonic() - began


def test_a_ranking_killed_at_random_moments_is_that_of_an_undisturbed_run(world):
    place, user = world
    rank = ("rank", "--target", place / "imgs", "--zoo", place / "zoo")
    whole, killed = user("whole", **SMALL), user("killed", **SMALL)
    before = snapshot(place / "imgs")
    undisturbed(whole, *rank)
    seconds = undisturbed(whole, *rank, "--seed", 1, "--save", "other.json")
    draw = np.random.default_rng(0)
    for _ in range(3):
        killed.start(*rank).killed(draw.uniform(0.2, 1) * seconds)
        if (killed.home / "ranking.json").exists():
            assert scores(killed) == scores(whole)
    assert killed.zoo(*rank).code == 0
    assert scores(killed) == scores(whole)
    assert killed.zoo(*rank, "--json").json["forward_passes"] == 0
    assert snapshot(place / "imgs") == before


def test_a_student_killed_at_random_moments_is_that_of_an_undisturbed_run(world):
    place, user = world
    distill = (*STUDENT, "--target", place / "imgs", "--zoo", place / "zoo", "--teacher", "ant",
               "--updates", 30, "--save", "student")  # fmt: skip
    whole, killed = user("whole"), user("killed", **OFTEN)
    before = snapshot(place / "imgs")
    seconds = undisturbed(whole, *distill)
    draw = np.random.default_rng(1)
    for _ in range(2):
        if not saved(killed).exists():
            killed.start(*distill).killed(draw.uniform(0.3, 0.9) * seconds)
    if not saved(killed).exists():
        undisturbed(killed, *distill)
    assert weights(killed.home / "student") == weights(whole.home / "student")
    told = [Path(user.home, "student", "metrics.jsonl").read_text() for user in (whole, killed)]
    assert told[0] == told[1]
    assert scraps(killed) == []
    assert list(killed.cache.glob("runs/*")) == []
    assert snapshot(place / "imgs") == before


def test_a_student_killed_while_it_is_saved_is_saved_by_the_same_command(world):
    place, user = world
    distill = (*STUDENT, "--target", place / "imgs", "--baseline", "transfer", "--updates", 3)
    stuck = user("here", **OFTEN, **{"distill.report.student_folder.student_page": Stuck()})
    running = stuck.start(*distill)
    while not list(stuck.home.glob("student/*.part/model.safetensors")):
        running.process.join(0.05)
        assert running.process.is_alive()
    assert running.killed(0)
    assert [path.suffix for path in (stuck.home / "student").iterdir()] == [".part"]
    again = user("here", **{"distill.training.loop.set_rate": Stuck()})  # no update is made again
    ran = again.zoo(*distill)
    assert ran.code == 0, ran.err
    assert scraps(again) == []
    assert list(again.cache.glob("runs/*")) == []


class Stuck:
    """Called, it does not come back."""

    def __call__(self, *_, **__):
        time.sleep(600)


def test_runs_at_once_on_one_cache_do_not_disturb_each_other(world):
    place, user = world
    on = ("--target", place / "imgs", "--zoo", place / "zoo")
    commands = [
        ("rank", *on),
        (*STUDENT, *on, "--teacher", "ant", "--teacher", "bee", "--updates", 12),
    ]
    alone, crowd = user("alone", **SMALL), user("crowd", **OFTEN, **SMALL)
    for words in commands:
        undisturbed(alone, *words)
    running = [crowd.start(*words) for words in [*commands, *commands]]
    for run in running:
        ran = run.end()
        assert ran.code == 0, ran.err
        assert "could not be" not in ran.err
    assert scores(crowd) == scores(alone)
    assert weights(crowd.home / "student") == weights(alone.home / "student")
    assert scraps(crowd) == []
    assert list(crowd.cache.glob("runs/*")) == []


def test_a_download_killed_again_and_again_comes_whole(tmp_path):
    size = 9_000_000
    with HubServer(tmp_path / "hub") as hub:
        user = User(hub, tmp_path / "user")
        net = raw_repository(hub.root, "lab/net", size=size)
        hub.faults["lab/net"] = Fault(bytes_per_second=6_000_000)
        draw, wanted = np.random.default_rng(2), 0.0
        for _ in range(3):
            wanted += draw.uniform(0.1, 0.3) * size
            with user.start("pull", "lab/net") as run:
                while not user.parts or user.parts[0].stat().st_size < wanted:
                    time.sleep(0.01)
                    assert run.poll() is None
                run.kill()
        hub.faults.clear()
        assert user.pull_one("lab/net") == ("pulled", "")
        assert user.bytes_of("lab/net") == (net / "model.safetensors").read_bytes()
        starts = [
            int(span.removeprefix("bytes=").rstrip("-") or 0) for span in user.ranges("lab/net")
        ]
        assert starts == sorted(starts)
        assert starts[-1] >= wanted
        assert [*user.parts, *user.cache.rglob("*.part")] == []
