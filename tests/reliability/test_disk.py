"""Real full disks and read-only folders: nothing lost, nothing half-written, one line each."""

import os
import subprocess
from pathlib import Path

import pytest

from distill.training import checkpoint, loop
from selection.pipeline import RankingJob
from tests.support.toys import paint_folder
from tests.support.worlds import snapshot, weights


@pytest.fixture
def mount():
    """Mount something over a folder until the test is over; skipped where that is not allowed."""
    places = []

    def mount(kind, folder, *options):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, kind, folder], capture_output=True, text=True)  # noqa: S607
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        places.append(folder)
        return folder

    try:
        yield mount
    finally:
        for place in reversed(places):
            subprocess.run(["umount", "--lazy", place], check=True)  # noqa: S607


@pytest.fixture
def small_disk(mount, tmp_path):
    """A disk of so many kilobytes; at the name `disk` if not said otherwise."""

    def make(kilobytes, name="disk"):
        return mount("tmpfs", tmp_path / name, "-t", "tmpfs", "-o", f"size={kilobytes}k")

    return make


@pytest.fixture
def read_only(mount):
    """Nobody, not even root, can write into a folder any more."""

    def make(folder):
        return mount(folder, folder, "-o", "bind,ro")

    return make


@pytest.fixture
def kept_often(monkeypatch):
    """The state of a run is written after every update."""
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "MAX_OVERHEAD", 1e9)


def grow(disk):
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)  # noqa: S607


def fill(disk, leave):
    """Fill a disk up to so many bytes."""
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - leave))


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def ones(ran):
    """The lines on stderr, of a run that came to a good end."""
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    return ran.err.splitlines()


def test_a_full_cache_costs_time_and_no_result(
    ranked, distil, command, small_disk, monkeypatch, kept_often, tmp_path
):
    right = ranked()
    assert distil("--save", "right").code == 0
    disk = small_disk(20)
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(disk))
    ran = command("rank", "--target", right["target"], "--json")
    assert ran.json["teachers"] == right["teachers"]
    (line,) = [line for line in ones(ran) if "could not be saved" in line]
    assert "No space left on device" in line
    assert str(disk) in line
    lines = ones(distil())
    assert len([line for line in lines if "The checkpoint " in line]) == 1
    assert weights() == weights("right")
    assert not list(disk.rglob("*.part"))


def test_a_full_disk_for_the_student_is_one_line_and_the_training_is_not_lost(
    distil, imgs, toy_zoo, small_disk, kept_often, monkeypatch
):
    words = ("--target", imgs, "--teacher", "ant", "--updates", 4)
    assert distil(*words, "--save", "whole").code == 0
    disk = small_disk(100)
    line = distil(*words, "--save", disk / "student").mistake
    assert "could not be saved" in line
    assert "No space left on device" in line
    assert files(disk) == []
    grow(disk)
    asked = []
    monkeypatch.setattr(loop, "set_rate", lambda *_: asked.append(1))
    assert distil(*words, "--save", disk / "student").code == 0
    assert asked == []
    assert weights(disk / "student") == weights("whole")


def test_a_full_disk_leaves_the_old_student_whole(transfer, small_disk):
    disk = small_disk(4000)
    assert transfer("--save", disk / "s").code == 0
    fill(disk, leave=100_000)
    before = snapshot(disk / "s")
    line = transfer("--save", disk / "s", "--overwrite", "--seed", 1).mistake
    assert "No space left on device" in line
    after = snapshot(disk / "s")
    before.pop(disk / "s")
    after.pop(disk / "s")  # something was in it for a while
    assert after == before
    (disk / "filler").unlink()
    assert transfer("--save", disk / "s", "--overwrite", "--seed", 1).code == 0


def test_a_full_disk_leaves_the_old_ranking_whole(command, imgs, toy_zoo, small_disk):
    disk = small_disk(100)
    assert command("rank", "--target", imgs, "--save", disk / "r.json").code == 0
    old = (disk / "r.json").read_bytes()
    fill(disk, leave=0)
    line = command("rank", "--target", imgs, "--seed", 1, "--save", disk / "r.json").mistake
    assert "No space left on device" in line
    assert ((disk / "r.json").read_bytes(), files(disk)) == (old, ["filler", "r.json"])


def test_truncated_and_swapped_entries_of_the_cache_are_asked_again(ranked, cache):
    right = ranked()
    ant, bee = (next(cache.glob(f"features/{name}-*/*")) for name in ("ant", "bee"))
    content = ant.read_bytes()
    ant.write_bytes(bee.read_bytes())
    bee.write_bytes(content)
    assert ranked() == right
    for path in cache.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    assert ranked() == right


def test_a_read_only_cache_costs_a_note_and_stays_as_it_is(
    command, distil, imgs, toy_zoo, read_only, cache, kept_often
):
    assert command("rank", "--target", imgs, "--metric", "knn").code == 0
    paint_folder(imgs, per_class=5, loose=6, seed=3)  # what the cache does not know
    before = snapshot(cache)
    read_only(cache)
    lines = ones(command("rank", "--target", imgs))
    assert len([line for line in lines if "Read-only file system" in line]) == 1
    lines = ones(distil("--target", imgs))
    assert len([line for line in lines if "The checkpoint " in line]) == 1
    assert snapshot(cache) == before


def test_read_only_images_are_all_that_is_needed(command, distil, imgs, toy_zoo, read_only):
    read_only(imgs)
    assert command("rank", "--target", imgs).code == 0
    assert distil().code == 0
    assert command("eval", "student", "--target", imgs).code == 0
    assert command("predict", "student", imgs).code == 0


@pytest.mark.parametrize("words", [
    ("rank", "--target", "../imgs"),
    ("rank", "--target", "../imgs", "--save", "new.json", "--report", "page.html"),
    ("distill", "--target", "../imgs", "--baseline", "transfer", "--arch", "test_resnet",
     "--start", "random", "--image-size", 32, "--updates", 1),
    ("demo",),
])  # fmt: skip
def test_a_read_only_folder_to_work_in_is_one_line(command, imgs, toy_zoo, read_only, words):
    here = Path().absolute()
    read_only(here)
    os.chdir(here)  # again: below the mount lies the old one
    line = command(*words).mistake
    assert "Read-only file system" in line or "No permission to write" in line
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            OSError(5, "Input/output error", "/data/x"),
            "Input/output error (/data/x): free some space",
        ),
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB: free some space"),
    ],
)
def test_a_disk_or_a_machine_that_fails_where_nobody_expects_it_is_one_line(
    command, imgs, toy_zoo, monkeypatch, error, says
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(RankingJob, "run", fail)
    assert says in command("rank", "--target", imgs).mistake
