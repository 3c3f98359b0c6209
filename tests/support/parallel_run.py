"""A tiny training run of one of several processes, for test_parallel.py."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import distill.training.loop
import distill.training.losses
import distill.training.targets
from distill.recipe import Recipe
from distill.training.loop import train
from distill.training.targets import Objective
from zoo import Features, read_images
from zoo.system.distributed import join


def train_part(folder: Path, objective: Objective, arch: str, start: str) -> None:
    """Train on the images in the folder; the first process saves weights and losses there."""
    torch.set_num_threads(1)
    for module in (distill.training.loop, distill.training.losses):
        vars(module)["autocast"] = lambda device: torch.autocast(device.type, enabled=False)
    images = read_images(folder / "imgs")
    rng = np.random.default_rng(0)
    features = {
        name: Features(*(rng.normal(size=(len(images), 5)).astype(np.float32) for _ in range(2)))
        for name in ("ant", "bee")
    }
    distill.training.targets.GROUP_CLASSES = 5  # one head an update, the same in every process
    recipe = Recipe(
        updates=2,
        labeled_batch=8,
        unlabeled_batch=8,
        learning_rate=1e-4,
        pseudo_label_threshold=0.3,
    )
    with join() as processes:
        trained = train(
            images, recipe, arch=arch, features=features, shares={"ant": 0.6, "bee": 0.4},
            objective=objective, start=start, image_size=32, processes=processes,
            checkpoints=folder / "runs",
        )  # fmt: skip
        if processes.is_first:
            weights = {k: v.contiguous() for k, v in trained.network.state_dict().items()}
            save_file(weights, folder / f"{processes.count}-{objective}-{arch}.safetensors")
            (folder / f"{processes.count}.txt").write_text(str(trained.history[-1]))
