"""Teach the embedded teachers and initial students: the same loop, all labels, no teachers.

A new one is a new line in DOMAINS; `python -m distill.teaching --data DIR NAME...` makes it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.card import TeacherCard, sha256_of
from zoo.catalogue import BUILTIN, STUDENTS
from zoo.features import cache_folder
from zoo.images import Images, read_images
from zoo.machine import keep_freed_memory

from .evaluation import evaluate
from .recipe import Recipe
from .student import WEIGHTS_FILE, save_network
from .training import train

HELD_OUT = 0.1
"""Share of each class that is never taught and gives the accuracy on the card."""

RESNET: Mapping[str, Any] = {
    "channels": [32, 64, 128, 256],
    "layers": [2, 2, 2, 1],
    "stem_width": 16,
    "output_stride": 16,
}
"""A narrow ResNet-18-D, 1.6 M parameters; its last stage keeps 4 x 4 places of 64 x 64 pixels."""


@dataclass(frozen=True)
class Lesson:
    """What is taught to a network, and from what start.

    Attributes:
        data: the data set's name.
        data_license: as commonly stated.
        domain: what the images show.
        updates: of 128 images for `objects`, of 64 for the others.
        flip: whether mirrored images keep their class.
        folder: the sub-folder of the data that holds the images.
        arch: timm's name of the network.
        model_args: further arguments of its factory.
    """

    data: str
    data_license: str
    domain: str
    updates: int
    flip: bool = True
    folder: str = ""
    arch: str = "resnet18d"
    model_args: Mapping[str, Any] = field(default_factory=lambda: RESNET)


def _objects(updates: int, arch: str = "resnet18d", **model_args: Any) -> Lesson:
    return Lesson(
        "mini-ImageNet", "ImageNet terms", "objects", updates, True, "objects", arch, model_args
    )


LESSONS: dict[str, Lesson] = {
    "objects": _objects(6800, **RESNET),
    "mobilenetv3_large_100": _objects(4500, "mobilenetv3_large_100"),
    "mobilenetv3_small_100": _objects(6200, "mobilenetv3_small_100"),
    "digits_on_photos": Lesson("MNIST-M", "unknown", "digits", 1500, flip=False),
    "hand_signs": Lesson("ASL finger spelling", "unknown", "hand signs", 1500, flip=False),
    "hot_rolled_steel": Lesson("NEU-CLS", "unknown", "steel surfaces", 1200),
    "seedlings": Lesson("Plant Seedlings v2", "CC BY-SA 4.0", "plants", 1500),
    "brain_mri": Lesson("brain tumour MRI", "CC0", "radiology", 1500),
    "aerial": Lesson("RSSCN7", "research", "aerial photos", 1500),
    "cartoons": Lesson("PACS cartoon", "research", "drawings", 1200),
}


def teach(name: str, data: Path, *, image_size: int = 64) -> TeacherCard:
    """Teach one network and put it, with its card, where the zoo finds it.

    Args:
        name: a key of LESSONS.
        data: a folder with one folder of class folders per data set.
        image_size: pixels.
    """
    lesson = LESSONS[name]
    generic = lesson.folder == "objects"
    student = name == lesson.arch
    folder = (STUDENTS if student else BUILTIN) / name
    folder.mkdir(parents=True, exist_ok=True)
    images = read_images(data / (lesson.folder or name))
    lessons, exam = split(images, HELD_OUT)
    recipe = Recipe(
        updates=lesson.updates,
        labeled_batch=128 if generic else 64,
        learning_rate=2e-3 if generic else 1e-3,
        weight_decay=0.05,
        warmup=0.05,
        label_smoothing=0.1,
        min_area=0.35,
        flip=lesson.flip,
        color=0.3,
        averaging=0.998,
    )
    began = time.monotonic()

    def say(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            seconds = time.monotonic() - began
            print(f"{name}: update {done} of {total}, {seconds:.0f} s", file=sys.stderr, flush=True)

    trained = train(
        lessons,
        recipe,
        arch=lesson.arch,
        start="random" if generic else str(BUILTIN / "objects"),
        model_args=lesson.model_args,
        image_size=image_size,
        checkpoints=cache_folder() / "runs",
        progress=say,
    )
    result = evaluate(trained.network, exam, images.classes, trained.preprocessing)
    save_network(
        trained.network,
        folder,
        arch=lesson.arch,
        labels=images.classes,
        preprocessing=trained.preprocessing,
        license="apache-2.0",
        model_args=lesson.model_args,
    )
    weights = folder / WEIGHTS_FILE
    card = TeacherCard(
        name=name,
        domain=lesson.domain,
        source=f"builtin:{name}",
        revision="",
        network=lesson.arch,
        labels=images.classes,
        params=sum(p.numel() for p in trained.network.parameters()),
        bytes=weights.stat().st_size,
        sha256=sha256_of(weights),
        license="apache-2.0",
        data=lesson.data,
        data_license=lesson.data_license,
        preprocessing=trained.preprocessing,
        accuracy=round(result.accuracy, 4),
        accuracy_images=result.images,
        recipe=f"python -m distill.teaching --data DIR {name}: {recipe}",
    )
    card.save(folder)
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
    parser = argparse.ArgumentParser(prog="python -m distill.teaching", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument("names", nargs="+", choices=list(LESSONS), metavar="NAME")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.names:
        teach(name, options.data)


if __name__ == "__main__":
    main()
