"""Teach the embedded teachers: the same loop, all labels, no teachers.

A new one is a new line in JOBS; `python -m tests.tools.train_zoo --data DIR NAME...` makes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.evaluation.evaluate import evaluate
from distill.recipe import Recipe
from distill.student import WEIGHTS_FILE, save_network
from distill.training.checkpoint import delete_checkpoint
from distill.training.loop import train
from zoo.images.folder import Images, read_images
from zoo.system.files import cache_folder
from zoo.system.runtime import keep_freed_memory
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.catalogue import BUILTIN
from zoo.teachers.verify import measure

HELD_OUT = 0.1
"""Share of each class that is never taught and gives the accuracy on the card."""

NARROW: Mapping[str, Any] = {
    "channels": [32, 64, 128, 256],
    "layers": [2, 2, 2, 1],
    "stem_width": 16,
    "output_stride": 16,
}
"""A narrow ResNet-18-D, 1.6 M parameters; its last stage keeps 4 x 4 places of 64 x 64 pixels."""


GENERIC = Recipe(
    labeled_batch=128,
    learning_rate=2e-3,
    weight_decay=0.05,
    warmup=0.05,
    label_smoothing=0.1,
    min_area=0.35,
    flip=True,
    color=0.3,
    ema_decay=0.998,
    frozen=0.0,
    frozen_norms=False,
)
"""For the 36,000 images of `objects`."""

GENTLE = replace(
    GENERIC, updates=1200, labeled_batch=64, warmup=0.1, frozen=0.5, frozen_norms=True, views=16
)
"""From a start that knows photographs, whose features are to stay good for other domains."""

SPECIFIC = replace(GENERIC, labeled_batch=64, learning_rate=1e-3)
"""For one domain, from the `objects` teacher."""


Family = tuple[str, Mapping[str, Any], str]
"""A network that learned `objects`: its timm name, its arguments, the folder of its weights."""

RESNET: Family = ("resnet18d", NARROW, "builtin/objects")
MOBILENET: Family = ("mobilenetv3_small_100", {}, "students/mobilenetv3_small_100")


@dataclass(frozen=True)
class TrainingJob:
    """What is taught to a network, and how.

    Attributes:
        data: the data set's name.
        data_license: as commonly stated.
        domain: what the images show.
        recipe: the numbers of the run.
        arch: timm's name of the network.
        model_args: further arguments of its factory.
        start: folder of the initial weights below `zoo/`, or `random`.
        folder: the sub-folder of the data that holds the images; the job's name if empty.
        image_size: pixels.
    """

    data: str
    data_license: str
    domain: str
    recipe: Recipe
    arch: str
    model_args: Mapping[str, Any]
    start: str = "random"
    folder: str = ""
    image_size: int = 64


def _domain(
    domain: str,
    data: str,
    data_license: str,
    *,
    updates: int = 1500,
    flip: bool = True,
    family: Family = RESNET,
) -> TrainingJob:
    recipe = replace(SPECIFIC, updates=updates, flip=flip)
    return TrainingJob(data, data_license, domain, recipe, *family)


OBJECTS = ("mini-ImageNet", "ImageNet terms", "objects")
"""Data, license and domain of the teachers of common objects."""

JOBS: dict[str, TrainingJob] = {
    "objects": TrainingJob(*OBJECTS, replace(GENERIC, updates=6800), "resnet18d", NARROW),
    "objects_mobilenet": TrainingJob(
        *OBJECTS, GENTLE, *MOBILENET, folder="objects", image_size=128
    ),
    "digits_on_photos": _domain("digits", "MNIST-M", "unknown", flip=False),
    "hand_signs": _domain("hand signs", "ASL finger spelling", "unknown", flip=False),
    "hot_rolled_steel": _domain("steel surfaces", "NEU-CLS", "unknown", updates=1200),
    "seedlings": _domain("plants", "Plant Seedlings v2", "CC BY-SA 4.0"),
    "brain_mri": _domain("radiology", "brain tumour MRI", "CC0"),
    "aerial": _domain("aerial photos", "RSSCN7", "research"),
    "cartoons": _domain("drawings", "PACS cartoon", "research", updates=1200),
    "food": _domain("food", "Food-101", "research", updates=5000),
    "traffic_signs": _domain(
        "traffic signs", "GTSRB", "GTSRB terms", updates=3500, flip=False, family=MOBILENET
    ),
}


def teach(
    name: str,
    data: Path,
    *,
    out: Path | None = None,
    updates: int | None = None,
) -> TeacherCard:
    """Teach one network and put it, with its card, where the zoo finds it.

    Args:
        name: a key of JOBS.
        data: a folder with one folder of class folders per data set.
        out: a zoo of one's own instead of the embedded one, whose teachers are then the start.
        updates: instead of the job's.
    """
    job = JOBS[name]
    recipe = replace(job.recipe, updates=updates) if updates else job.recipe
    folder = (out or BUILTIN) / name
    start = BUILTIN.parent / job.start
    if out and start.parent == BUILTIN:
        start = out / start.name
    folder.mkdir(parents=True, exist_ok=True)
    images = read_images(data / (job.folder or name))
    taught, exam = split(images, HELD_OUT)
    began = time.monotonic()

    def say(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            seconds = time.monotonic() - began
            print(f"{name}: update {done} of {total}, {seconds:.0f} s", file=sys.stderr, flush=True)

    trained = train(
        taught,
        recipe,
        arch=job.arch,
        start="random" if job.start == "random" else str(start),
        model_args=job.model_args,
        image_size=job.image_size,
        checkpoints=cache_folder() / "runs",
        progress=say,
    )
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    save_network(
        trained.network,
        folder,
        arch=job.arch,
        labels=images.classes,
        preprocessing=trained.preprocessing,
        license="apache-2.0",
    )
    card = TeacherCard(
        name=name,
        domain=job.domain,
        source=f"builtin:{name}",
        network=job.arch,
        classes=len(images.classes),
        labels=images.classes,
        bytes=(folder / WEIGHTS_FILE).stat().st_size,
        sha256=sha256_of(folder / WEIGHTS_FILE),
        license="apache-2.0",
        data=job.data,
        data_license=job.data_license,
        preprocessing=trained.preprocessing,
        base="" if job.start == "random" else job.start,
        accuracy=round(result.accuracy, 4),
        accuracy_images=result.images,
        recipe=f"python -m tests.tools.train_zoo --data DIR {name}: {recipe}",
        evidence="measured",
        folder=folder,
    )
    card = measure(card)
    card.save(folder)
    delete_checkpoint(trained.state)
    print(f"{name}: accuracy {result.accuracy:.3f} on {result.images} held-out images", flush=True)
    return card


def split(images: Images, share: float) -> tuple[Images, Images]:
    """Two disjoint parts, the second with `share` of each class, at least one image."""
    draw = np.random.default_rng(0)
    held: list[int] = []
    for index in range(len(images.classes)):
        rows = np.flatnonzero(images.labels == index)
        held += draw.choice(rows, max(1, round(share * len(rows))), replace=False).tolist()
    kept = np.setdiff1d(np.arange(len(images)), held)
    return images.subset(kept), images.subset(np.sort(np.array(held)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Teach the named networks, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.train_zoo", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--out", type=Path, help="a zoo of your own; the embedded one if not given")
    parser.add_argument("--updates", type=int, help="instead of the job's")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument("names", nargs="+", choices=list(JOBS), metavar="NAME")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.names:
        teach(name, options.data, out=options.out, updates=options.updates)


if __name__ == "__main__":
    main()
