"""Two processes teach the student that one process teaches."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.recipe import Recipe
from distill.training.batches import Batches
from distill.training.parallel import check_batches, shard_batch
from tests.support.forked_zoo import ForkedZoo, call_together
from tests.support.parallel_run import train_part
from tests.support.toys import build_teacher, paint_folder
from zoo.errors import StudentError
from zoo.system.distributed import SINGLE, Processes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("objective", "arch"), [("target", "mobilenetv3_small_050"), ("source", "test_resnet")]
)
def test_two_processes_teach_the_student_of_one(tmp_path, objective, arch):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    found = []
    for count in (1, 2):
        call_together(count, tmp_path, train_part, tmp_path, objective, arch)
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
    parts = [shard_batch(whole, Processes(rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert torch.equal(torch.cat([part.rows for part in parts]), whole.rows)
    sizes = [2, 3, 3] if strong else [2, 3]
    kinds = zip(*(part.images.split(sizes) for part in parts), strict=True)
    assert torch.equal(torch.cat([image for kind in kinds for image in kind]), whole.images)
    assert shard_batch(whole, SINGLE) is whole


def test_a_batch_that_cannot_be_split_evenly_is_one_line():
    check_batches(Recipe(labeled_batch=32, unlabeled_batch=64), Processes(0, 2))
    with pytest.raises(StudentError, match=r"32 labeled images .* 3 processes"):
        check_batches(Recipe(labeled_batch=32, unlabeled_batch=66), Processes(0, 3))


STUDENT = ("--arch", "test_resnet", "--start", "random", "--image-size", "32", "--updates", "3",
           "--device", "cpu", "--test", "imgs")  # fmt: skip


def test_the_command_under_torchrun_saves_one_student(tmp_path):
    paint_folder(tmp_path / "imgs", per_class=4, loose=6)
    words = ("distill", "--target", "imgs", "--baseline", "fixmatch", *STUDENT)
    said = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "--", "cli.zoo_app", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("Student: student") == 1
    assert (tmp_path / "student" / "model.safetensors").exists()


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
