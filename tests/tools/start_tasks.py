"""Tuning tasks to measure initial students on: images of the source sets that none learns from.

python -m tests.tools.start_tasks --data SOURCES [--size S] START ... prints the accuracy in % of
the frozen probe with 10 labels a class, mean over three draws of labels. A START is an architecture
(its start on this machine) or ARCH=FOLDER of a student.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distill.student import create_student, student_preprocessing
from zoo.features.inference import in_batches, to_input
from zoo.features.linear_probe import fit_ridge, ridge_leave_one_out, standardize
from zoo.images.decoding import decode_images
from zoo.teachers.card import Preprocessing
from zoo.teachers.starts import IMAGENET, find_start

TASKS = ("aerial", "cartoons", "clothing", "textures", "sketches", "seedlings", "groceries", "food",
         "objects", "hot_rolled_steel")  # fmt: skip
"""Sets to measure on: a fifth of each class, 500 images at most, is never learned from."""


def held_out(data: Path, domain: str) -> dict[Path, int]:
    """Images of a tuning task that no student learns from, and their classes.

    A fifth of each class, by a fixed seed; of `food` and `objects` 20 random classes. Classes of
    fewer than 15 images are no part of a task: 10 have to be left to learn from.
    """
    if domain not in TASKS:
        return {}
    draw = np.random.default_rng([7, TASKS.index(domain)])
    folders = sorted(path for path in (data / domain).iterdir() if path.is_dir())
    if domain in ("food", "objects"):
        folders = [folders[i] for i in sorted(draw.choice(len(folders), 20, replace=False))]
    files = {folder: sorted(folder.iterdir()) for folder in folders}
    files = {folder: found for folder, found in files.items() if len(found) >= 15}
    each = 500 // len(files)
    return {
        found[i]: label
        for label, found in enumerate(files.values())
        for i in draw.permutation(len(found))[: min(each, len(found) // 5)]
    }


def embed(name: str, pixels: torch.Tensor, size: int) -> NDArray[np.float64]:
    """phi(x) of images [N, 3, S, S] uint8, by an architecture's start or ARCH=FOLDER."""
    arch, _, folder = name.partition("=")
    student = create_student(arch, 2, start=folder or "auto").eval()
    preprocessing = student_preprocessing(find_start(folder or "auto", arch), size)

    def forward(batch: torch.Tensor) -> torch.Tensor:
        return student.embed(to_input(batch, preprocessing, torch.device("cpu"))).double()

    with torch.inference_mode():
        return torch.cat(list(in_batches(forward, pixels, 32))).numpy()


def measure(data: Path, names: list[str], size: int, draws: int = 3, labels: int = 10) -> None:
    """Print the accuracy of the frozen probe of each start on each task."""
    print(f"{'':18}", *(f"{name.split('=')[0][:22]:>22}" for name in names), flush=True)
    rows = []
    for task in TASKS:
        hidden = held_out(data, task)
        folders = sorted({path.parent for path in hidden})
        shown = [path for folder in folders for path in sorted(folder.iterdir())]
        shown = [path for path in shown if path not in hidden]
        pool = np.array([folders.index(path.parent) for path in shown])
        chosen = [
            np.concatenate(
                [
                    np.random.default_rng([draw, c]).permutation(np.flatnonzero(pool == c))[:labels]
                    for c in range(len(folders))
                ]
            )
            for draw in range(draws)
        ]
        needed = np.unique(np.concatenate(chosen))
        paths = [shown[i] for i in needed] + list(hidden)
        look = Preprocessing(size, IMAGENET.mean, IMAGENET.std, "bicubic")
        pixels = torch.from_numpy(decode_images(paths, look))
        truth = np.array(list(hidden.values()))
        accuracies = []
        for name in names:
            features = standardize(embed(name, pixels, size))
            tests = features[len(needed) :]
            for taught in chosen:
                known = features[np.searchsorted(needed, taught)]
                _, strength = ridge_leave_one_out(known, pool[taught])
                weights, intercept = fit_ridge(known, pool[taught], strength)
                found = (tests @ weights + intercept).argmax(1)
                accuracies.append(100 * (found == truth).mean())
        rows.append(np.reshape(accuracies, (len(names), draws)).mean(1))
        print(f"{task:18}", *(f"{value:22.1f}" for value in rows[-1]), flush=True)
    print(f"{'mean':18}", *(f"{value:22.1f}" for value in np.mean(rows, axis=0)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("starts", nargs="+")
    options = parser.parse_args()
    measure(options.data, options.starts, options.size)
