"""How fast this machine teaches a student: a few real updates on noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import numpy as np
import torch

from distill.budget import StudentPace
from distill.evaluation.evaluate import predict_pixels
from distill.recipe import Recipe
from distill.student import create_student
from distill.training.loop import MEAN, STD, fit
from distill.training.targets import (
    SoftLabels,
    SourceProbabilities,
    SourceTargets,
    Targets,
    group_heads,
)
from zoo.teachers.card import Preprocessing

IMAGES = 128
WARM = 2
"""The first updates are slower, kernels being chosen, and do not count."""


class _Enough(Exception):
    """The measuring is over."""


def measure_student(
    arch: str,
    classes: int,
    recipe: Recipe,
    *,
    teachers: Sequence[int] | None,
    image_size: int,
    seconds: float,
    device: torch.device,
    decode: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> StudentPace:
    """The pace of a student with random weights; infinitely slow if it takes no such images.

    Args:
        arch: timm's name of it.
        classes: C, of the target.
        recipe: the numbers of the run; of the updates at least three are made.
        teachers: K_s, their classes if those are imitated; empty for soft labels in the
            target's classes, None for no teachers.
        image_size: S, pixels.
        seconds: how long updates are made.
        device: where to compute.
        decode: seconds to decode an image, taken over.
        clock: in seconds.
    """
    began = clock()
    student = create_student(arch, classes, groups=group_heads(teachers or ()), start="random")
    start = clock() - began
    look = Preprocessing(image_size, MEAN, STD)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, 3, image_size, image_size)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.where(torch.arange(IMAGES) % 2 == 0, torch.arange(IMAGES) % classes, -1)
    stamps: list[float] = []

    def progress(_done: int, _total: int) -> None:
        torch.zeros(1, device=device).tolist()  # a GPU works behind: wait for it
        stamps.append(clock())
        if len(stamps) > WARM and stamps[-1] - stamps[WARM - 1] >= seconds:
            raise _Enough

    try:
        fit(
            student,
            pixels,
            labels,
            replace(recipe, updates=10**6),
            targets=_noise(teachers, classes),
            preprocessing=look,
            device=device,
            progress=progress,
        )
    except _Enough:
        pass
    except (RuntimeError, AssertionError, ValueError, TypeError):
        return StudentPace(start, inf, decode, 0.0)
    update = (stamps[-1] - stamps[WARM - 1]) / (len(stamps) - WARM)
    network = student.network.eval()
    predict_pixels(network, pixels[:2], look, device=device)
    began = clock()
    predict_pixels(network, pixels[: IMAGES // 2], look, device=device)
    return StudentPace(start, update, decode, (clock() - began) / (IMAGES // 2))


def _noise(teachers: Sequence[int] | None, classes: int) -> Targets | None:
    """What teachers would say, all classes alike."""
    if teachers is None:
        return None
    if not teachers:
        return SoftLabels(torch.full((IMAGES, classes), 1 / classes), accuracy=0.0)
    noise = [SourceProbabilities.from_logits(np.zeros((IMAGES, n), np.float32)) for n in teachers]
    return SourceTargets(tuple(noise), (1 / len(teachers),) * len(teachers))
