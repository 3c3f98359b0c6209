"""Two processes teach the student that one process teaches."""

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.recipe import Recipe
from distill.training.batches import Batches
from distill.training.parallel import check_batches, shard_batch
from tests.support.forked_zoo import ForkedZoo, call_together, ranks
from tests.support.parallel_run import train_part
from tests.support.toys import build_teacher, paint_folder, rank_three
from zoo.errors import StudentError
from zoo.system.distributed import Processes
from zoo.system.tensors import read_tensors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("objective", "arch", "start"),
    [
        ("target", "mobilenetv3_small_050", "random"),
        ("source", "test_resnet", "random"),
        ("target", "mobilenetv3_small_100", "builtin"),  # its batch norms keep their statistics
    ],
)
def test_two_processes_teach_the_student_of_one(tmp_path, objective, arch, start):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    found = []
    for count in (1, 2):
        call_together(count, tmp_path, train_part, tmp_path, objective, arch, start)
        weights = load_file(tmp_path / f"{count}-{objective}-{arch}.safetensors")
        found.append((weights, ast.literal_eval((tmp_path / f"{count}.txt").read_text())))
    (one, losses), (two, others) = found
    assert losses == pytest.approx(others, rel=1e-3)
    # Adam steps by the sign of a gradient: where that is rounding, a weight is a step of 1e-4 off
    apart = [(value.float() - two[name].float()).abs().flatten() for name, value in one.items()]
    assert torch.cat(apart).mean() < 2e-5
    assert torch.cat(apart).max() < 1e-3
    assert not list((tmp_path / "runs").glob("*"))


def draw_batch(strong):
    pixels = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(20) % 4
    recipe = Recipe(labeled_batch=4, unlabeled_batch=6)
    return Batches(pixels, labels, recipe, unlabeled=True, strong=strong)[3]


@pytest.mark.parametrize("strong", [True, False])
def test_the_parts_of_a_batch_are_its_images_each_kind_in_order(strong):
    whole = draw_batch(strong)
    parts = [shard_batch(whole, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert torch.equal(torch.cat([part.rows for part in parts]), whole.rows)
    sizes = [2, 3, 3] if strong else [2, 3]
    kinds = zip(*(part.images.split(sizes) for part in parts), strict=True)
    assert torch.equal(torch.cat([image for kind in kinds for image in kind]), whole.images)
    assert shard_batch(whole, 0, 1) is whole


def test_a_batch_that_cannot_be_split_evenly_is_one_line():
    check_batches(Recipe(labeled_batch=32, unlabeled_batch=64), Processes(0, 2))
    with pytest.raises(StudentError, match=r"32 labeled images .* 3 processes"):
        check_batches(Recipe(labeled_batch=32, unlabeled_batch=66), Processes(0, 3))


STUDENT = ("--arch", "test_resnet", "--start", "random", "--image-size", "32", "--updates", "3",
           "--device", "cpu", "--test", "imgs")  # fmt: skip


def test_two_agents_of_torchrun_save_one_student(tmp_path):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    words = ("distill", "--target", "imgs", "--baseline", "fixmatch", *STUDENT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node",
             "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", place, "-m", "--", "cli.zoo_app",
             *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT),
                 "SOURCE_ZOO_CACHE": str(tmp_path / f"cache{number}")},
        )
        for number in range(2)
    ]  # fmt: skip
    said = [agent.communicate(timeout=300) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert sum(out.count("Student: student") for out, _ in said) == 1
    assert (tmp_path / "student" / "model.safetensors").exists()


def nodes(place, **names):
    """Two machines with a cache of their own, which see one folder."""
    return [ForkedZoo(place / "work", place / f"cache{number}", names) for number in range(2)]


def start(machines, *words):
    """The command on all machines, in the order of their ranks."""
    return [
        machine.start(*words, environment=environment)
        for machine, environment in zip(machines, ranks(len(machines)), strict=True)
    ]


def test_machines_with_caches_of_their_own_run_no_teacher_twice(tmp_path):
    words = rank_three(tmp_path)
    alone = ForkedZoo(tmp_path / "alone", tmp_path / "alone-cache").zoo(*words)
    machines = nodes(tmp_path)
    first, second = [run.end() for run in start(machines, *words)]
    assert first.json == alone.json
    assert first.json["forward_passes"] == 3 * 14
    assert (second.code, second.out) == (0, "")
    for machine in machines:
        assert machine.zoo(*words).json["forward_passes"] == 0


def test_a_lost_machine_ends_the_run_in_a_line_and_another_first_one_resumes(tmp_path):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    words = ("distill", "--target", tmp_path / "imgs", "--baseline", "fixmatch", *STUDENT[:-2],
             "--updates", 40)  # fmt: skip
    often = {
        "distill.training.checkpoint.EVERY_SECONDS": 0.0,
        "distill.training.checkpoint.MAX_OVERHEAD": 1.0,
    }
    machines = nodes(tmp_path, **often)
    first, second = start(machines, *words)
    while not [*tmp_path.glob("cache0/runs/*.safetensors")]:
        first.process.join(0.05)
        assert first.process.is_alive()
    assert second.killed(0)
    ended = first.end()
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("Error: Another process of torchrun ended")
    (file,) = tmp_path.glob("cache0/runs/*.safetensors")
    done = int(read_tensors(file)[1]["updates"])
    assert 0 < done < 40
    # the one without a checkpoint comes first, and makes the other updates alone
    again = [run.end() for run in start(machines[::-1], *words, "--save", "again")]
    assert [ran.code for ran in again] == [0, 0]
    whole = ForkedZoo(tmp_path / "work", tmp_path / "cache2")
    assert whole.together(2, *words, "--save", "whole").code == 0
    weights = [load_file(tmp_path / "work" / name / "model.safetensors")
               for name in ("again", "whole")]  # fmt: skip
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])


def test_a_comparison_under_torchrun_is_made_once_and_goes_on_from_its_file(tmp_path):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    for seed, name in enumerate(("ant", "bee")):
        build_teacher(tmp_path / "zoo" / name, name, seed=seed)
    words = ("compare", "--target", "imgs", "--zoo", "zoo", *STUDENT)
    user = ForkedZoo(tmp_path, tmp_path / "cache")
    ran = user.together(2, *words, "--method", "transfer")
    assert ran.code == 0, ran.err
    assert ran.out.count("Best method: transfer") == 1
    first = json.loads((tmp_path / "comparison.json").read_text())["cells"]
    assert user.together(2, *words).code == 0
    second = json.loads((tmp_path / "comparison.json").read_text())["cells"]
    methods = ("probe", "transfer", "fixmatch", "nearest", "weighted")
    places = ("0", "0/1", "0/2")  # three seeds
    assert second.keys() == {f"{name}/{place}" for name in methods for place in places}
    assert second["transfer/0"] == first["transfer/0"]
