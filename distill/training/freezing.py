"""The frozen lower part of a student, whose outputs for a few views of each image are kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distill.network import single_image_fits
from distill.recipe import Recipe
from distill.student import Student
from distill.training.batches import FROZEN, Batches, make_generator, strong_view, weak_view
from distill.training.convolutions import replace_forwards
from zoo.features.inference import in_batches, normalize, to_input
from zoo.system.files import cache_folder
from zoo.system.runtime import Progress
from zoo.system.tensors import scratch_array
from zoo.teachers.card import Preprocessing

CHUNK = 64
"""Images that are run at once."""
HALF = 65504.0
"""Largest number of float16."""
MOST_BYTES = 4 << 30
"""Of the outputs of a frozen part that are kept."""


@dataclass(frozen=True)
class FrozenPart:
    """The first modules of a network, in the order in which they run; they are never trained.

    Each runs on the output of the one before it.
    """

    modules: Sequence[nn.Module]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """The output of the last module for normalized images [B, 3, S, S]."""
        for module in self.modules:
            images = module(images)
        return images

    def skipped(self) -> AbstractContextManager[None]:
        """In here the network takes the output of this part in the place of images."""
        return replace_forwards(dict.fromkeys(self.modules, lambda _, given: given))

    def freeze(self) -> None:
        """Exclude the weights from training; batch norms keep their statistics."""
        for module in self.modules:
            module.requires_grad_(False).eval()


def find_frozen_part(
    student: Student,
    recipe: Recipe,
    pixels: Tensor,
    preprocessing: Preprocessing,
    device: torch.device,
) -> FrozenPart | None:
    """The first of a student's blocks, `Recipe.frozen` of them; tried on two of the images.

    None where nothing is to be frozen, or the network is no chain of modules: transformers add
    positions between them. The student is in evaluation mode, on the device; pixels are [N, 3, S,
    S] uint8.
    """
    if not (recipe.frozen and recipe.updates):
        return None
    images = to_input(pixels[:2], preprocessing, device)
    chain = _find_chain(student, images)
    part = FrozenPart(chain[: round(recipe.frozen * len(chain))])
    if not part.modules:
        return None
    with torch.inference_mode():
        expected, kept = student.embed(images), part(images)
        try:
            with part.skipped():
                found = student.embed(kept)
        except (RuntimeError, ValueError, AssertionError):
            return None
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    return part if same else None


def _find_chain(student: Student, images: Tensor) -> list[nn.Module]:
    """The modules that run first, each on what the one before it returned, in that order."""
    runs: list[tuple[nn.Module, object, object]] = []
    hooks = [
        module.register_forward_hook(
            lambda module, given, output: runs.append((module, given[0], output))
        )
        for module in _blocks(student.network)
    ]
    try:
        with torch.inference_mode():
            student.embed(images)
    finally:
        for hook in hooks:
            hook.remove()
    chain: list[nn.Module] = []
    last: object = images
    for module, given, output in runs:
        if given is not last or not isinstance(output, Tensor) or module in chain:
            break
        chain.append(module)
        last = output
    return chain


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The parts of a network, those of sequences one by one."""
    blocks: list[nn.Module] = []
    for module in network.children():
        nested = isinstance(module, nn.Sequential | nn.ModuleList) and len(module)
        blocks += _blocks(module) if nested else [module]
    return blocks


class FrozenBatches(Batches):
    """Batches of outputs of a frozen part, which was run once on a few views of each image."""

    def __init__(self, batches: Batches, outputs: Sequence[Tensor], rows: Tensor) -> None:
        """`outputs` are [n, views, ...] of weak views of n rows, and of strong ones if any."""
        vars(self).update(vars(batches))
        self.outputs = outputs
        self.place = torch.full((len(self.pixels),), -1)
        self.place[rows] = torch.arange(len(rows))

    def views(self, rows: Tensor, labeled: int, generator: torch.Generator) -> Tensor:
        """Outputs for one of the weak views of each image, and of the strong ones."""
        drawn = [rows, rows[labeled:]] if self.strong else [rows]
        parts: list[Tensor] = []
        for outputs, chosen in zip(self.outputs, drawn, strict=True):
            view = torch.randint(outputs.shape[1], (len(chosen),), generator=generator)
            parts.append(outputs[self.place[chosen], view].float())
        return torch.cat(parts)


def keeps_outputs(batches: Batches, numbers: int, images: int, updates: int) -> bool:
    """Whether a frozen part, of so many numbers per view, is run once on views of all images.

    Not where that is more work than to run it in every update, or takes more than `MOST_BYTES`.
    """
    kinds = 2 if batches.strong else 1
    views = kinds * batches.recipe.views * images
    per_update = batches.recipe.labeled_batch + kinds * batches.unlabeled_batch
    return views <= updates * per_update and 2 * views * numbers <= MOST_BYTES


def run_frozen_part(
    part: FrozenPart,
    batches: Batches,
    preprocessing: Preprocessing,
    device: torch.device,
    stands_for: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Batches:
    """Run a frozen part once on `Recipe.views` weak and as many strong views of each image.

    The batches stay as they are where `keeps_outputs` says so; of a measured run, which stands for
    one of so many images and updates, where it says so of that one.
    """
    recipe = batches.recipe
    every = torch.arange(len(batches.pixels))
    rows = every if batches.unlabeled_batch else batches.labeled_rows
    kinds = [weak_view, strong_view] if batches.strong else [weak_view]
    sample = part(to_input(batches.pixels[:1], preprocessing, device))[0]
    images, updates = stands_for or (len(rows), recipe.updates)
    if not keeps_outputs(batches, sample.numel(), images, updates):
        return batches

    def forward(views: Tensor) -> Tensor:
        return part(normalize(views.to(device), preprocessing)).float().cpu()

    found: list[Tensor] = []
    done = 0
    for number, make_view in enumerate(kinds):
        shape = (len(rows), recipe.views, *sample.shape)
        outputs = torch.from_numpy(scratch_array(shape, cache_folder(), np.float16))
        for view in range(recipe.views):
            generator = make_generator(recipe.seed, FROZEN, number * recipe.views + view)
            for first in range(0, len(rows), CHUNK):
                chunk = slice(first, first + CHUNK)
                views = make_view(batches.pixels[rows[chunk]], recipe, generator)
                with single_image_fits():
                    given = torch.cat([*in_batches(forward, views, CHUNK)])
                outputs[chunk, view] = given.clamp(-HALF, HALF).half()
                done += len(given)
                if progress:
                    progress(done, len(kinds) * recipe.views * len(rows))
        found.append(outputs)
    return FrozenBatches(batches, found, rows)
