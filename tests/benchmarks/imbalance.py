"""Recall of a class with few labels: 57 labels of one class and 3 of another, or 30 of both.

python -m tests.benchmarks.imbalance --data TUNING, where TUNING is a folder by make_tuning.py. Two
classes of each task are told apart; the unlabeled images and the test images are even. `without`
trains as if labels were even: no offsets of the probes, labeled images drawn alike.
"""

import argparse
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from distill.training import head, targets
from zoo import extract_features, list_cards, read_images

TASKS = ("aerial", "brain_mri", "cartoons", "sketches", "textures")
METHODS = ("probe", "transfer", "fixmatch", "weighted")
LABELS = {"57 : 3": (57, 3), "30 : 30": (30, 30)}
ARCH, SIZE = "mobilenetv3_small_100", 112


def read_pair(folder, part, classes):
    """Images of two classes, numbered 0 and 1; the more frequent class is cut to the other."""
    images = read_images(folder / part)
    rows = [np.flatnonzero(images.labels == images.classes.index(name)) for name in classes]
    least = min(map(len, rows))
    draw = np.random.default_rng(0)
    rows = [draw.permutation(each)[:least] for each in rows]
    pair = images.subset(np.concatenate(rows))
    return replace(pair, labels=np.repeat([0, 1], least), classes=tuple(classes))


def hide(images, counts):
    """The images with so many labels of each class."""
    labels = np.full(len(images), -1)
    for label, count in enumerate(counts):
        rows = np.flatnonzero(images.labels == label)
        labels[np.random.default_rng(1).permutation(rows)[:count]] = label
    return replace(images, labels=labels)


def recalls(images, test, method, balanced):
    """Recall of each class in % by a student of a method."""
    recipe = Recipe(
        updates=0 if method == "probe" else 200,
        fixmatch_weight=float(method == "fixmatch"),
        flip=True,
    )
    features, shares = {}, {}
    if method == "weighted":
        cards = [card for card in list_cards() if card.name.startswith("imagenet_lite")]
        features = extract_features(cards, images).features
        shares = {card.name: 1 / len(cards) for card in cards}
    with ExitStack() as stack:
        if not balanced:
            recipe = replace(recipe, class_balance=0.0)
            for module in (head, targets):
                stack.enter_context(
                    patch.object(module, "fit_offsets", lambda scores, _: np.zeros(scores.shape[1]))
                )
            stack.enter_context(
                patch(
                    "distill.training.loop.log_prior", lambda _, classes, __: torch.zeros(classes)
                )
            )
        trained = train(images, recipe, arch=ARCH, features=features, shares=shares,
                        image_size=SIZE)  # fmt: skip
    confusion = np.array(
        evaluate(trained.network, test, test.classes, trained.preprocessing).confusion
    )
    return 100 * confusion.diagonal() / confusion.sum(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = defaultdict(list)
    for task in TASKS:
        folder = options.data / task
        names = sorted(path.name for path in (folder / "train").iterdir())
        classes = np.random.default_rng(5).permutation(names)[:2].tolist()
        pool, test = (read_pair(folder, part, classes) for part in ("train", "test"))
        for (named, counts), method in product(LABELS.items(), METHODS):
            for balanced in (True, False) if counts[0] != counts[1] else (True,):
                row = recalls(hide(pool, counts), test, method, balanced)
                found[named, method, balanced].append(row)
                print(task, named, method, balanced, row.round(), flush=True)
    print("\n| labels | method | recall of the rare class | of the other | balanced accuracy |"
          f" without |\n|---|---|---|---|---|---|\n# {len(TASKS)} pairs")  # fmt: skip
    for (named, method, balanced), rows in found.items():
        if balanced:
            other, rare = np.mean(rows, axis=0)
            plain = found.get((named, method, False))
            before = ""
            if plain:
                before = f"{np.mean(plain, axis=0)[1]:.0f} and {np.mean(plain, axis=0)[0]:.0f}"
            print(f"| {named} | {method} | {rare:.0f} | {other:.0f} | {(rare + other) / 2:.1f} "
                  f"| {before} |")  # fmt: skip


if __name__ == "__main__":
    main()
