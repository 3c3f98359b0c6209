"""Ranking under torchrun: two processes share the teachers, one speaks, the ranking is the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toys import build_teacher, paint_folder
from zoo.system.distributed import Processes, join

ROOT = Path(__file__).parents[2]


def test_the_parts_of_all_processes_are_the_whole():
    items = [*range(11)]
    parts = [Processes(rank, 3).own(items) for rank in range(3)]
    assert sorted(sum(parts, [])) == items  # noqa: RUF017
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_without_torchrun_there_is_one_process():
    with join() as processes:
        assert processes == Processes(0, 1)
        assert processes.is_first
        assert processes.own([1, 2]) == [1, 2]
        processes.wait()


@pytest.mark.parametrize("count", [1, 2])
def test_a_ranking_by_two_processes_is_that_of_one(tmp_path, count):
    paint_folder(tmp_path / "imgs", per_class=4, loose=2)
    for seed, name in enumerate(("ant", "bee", "cat")):
        build_teacher(tmp_path / "zoo" / name, name, seed=seed)
    words = ["rank", "--target", tmp_path / "imgs", "--zoo", tmp_path / "zoo", "--json"]
    runner = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SOURCE_ZOO_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, *runner, "-m", "cli.zoo_app", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=env,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    shown = json.loads(run.stdout)
    folders = [*(tmp_path / "cache" / "features").iterdir()]
    assert sum(not folder.name.startswith(("control", "initial")) for folder in folders) == 3
    assert [*tmp_path.glob("*.json")] == [tmp_path / "ranking.json"]
    alone = subprocess.run(
        [sys.executable, "-m", "cli.zoo_app", *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=env | {"SOURCE_ZOO_CACHE": str(tmp_path / "other")},
    )
    expected = json.loads(alone.stdout)
    assert shown["teachers"] == expected["teachers"]
    assert shown["forward_passes"] == expected["forward_passes"] == 3 * 14
    told = "No teacher scored above"
    assert run.stderr.count(told) == alone.stderr.count(told) > 0
