"""Batches and their weak and strong views; batch k is a function of the seed and k alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from distill.recipe import Recipe

VIEWS, LABELED, UNLABELED, SOURCES, FROZEN = range(5)
"""Random streams: views, sampling of labeled and of target images, choice of teachers, frozen
views."""


@dataclass(frozen=True)
class Batch:
    """One update's images.

    Attributes:
        images: [L + U + V, 3, S, S] float in 0..1: L weak views of labeled images, U weak views
            of target images, V strong views of the same U images (V is U or 0).
        labels: [L] int64.
        rows: [U] int64, indices of the target images.
        step: index of the update, from 0.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    step: int


class Batches:
    """The batches of a run, with random access."""

    def __init__(
        self, pixels: Tensor, labels: Tensor, recipe: Recipe, *, unlabeled: bool, strong: bool
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.recipe = recipe
        self.strong = strong
        self.unlabeled_batch = recipe.unlabeled_batch if unlabeled else 0
        self.labeled_rows = torch.nonzero(labels >= 0).flatten()
        self.turns = repeat_rare(labels, recipe.class_balance)

    def __getitem__(self, step: int) -> Batch:
        """Batch of update `step`, from 0."""
        recipe = self.recipe
        generator = make_generator(recipe.seed, VIEWS, step)
        labeled = self.turns[self._draw(len(self.turns), recipe.labeled_batch, step, LABELED)]
        rows = self._draw(len(self.pixels), self.unlabeled_batch, step, UNLABELED)
        images = self.views(torch.cat([labeled, rows]), len(labeled), generator)
        return Batch(images, self.labels[labeled], rows, step)

    def views(self, rows: Tensor, labeled: int, generator: torch.Generator) -> Tensor:
        """Weak views of the images in rows, then strong ones of all but the first `labeled`."""
        pixels = self.pixels.index_select(0, rows)
        views = [weak_view(pixels, self.recipe, generator)]
        if self.strong:
            views.append(strong_view(pixels[labeled:], self.recipe, generator))
        return torch.cat(views)

    def prefetch(self, start: int) -> Iterator[tuple[int, Batch]]:
        """Batches from update `start` to the last; a thread prepares the next one."""
        if start >= self.recipe.updates:
            return
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(self.__getitem__, start)
            for step in range(start, self.recipe.updates):
                batch = future.result()
                if step + 1 < self.recipe.updates:
                    future = pool.submit(self.__getitem__, step + 1)
                yield step, batch

    def _draw(self, size: int, count: int, step: int, stream: int) -> Tensor:
        """`count` indices of an endless sequence of shuffles of 0..size-1, at update `step`."""
        if not count:
            return torch.empty(0, dtype=torch.int64)
        places = torch.arange(step * count, (step + 1) * count)
        first, last = int(places[0]) // size, int(places[-1]) // size
        shuffles = [
            torch.randperm(size, generator=make_generator(self.recipe.seed, stream, turn))
            for turn in range(first, last + 1)
        ]
        return torch.cat(shuffles)[places - first * size]


def repeat_rare(labels: Tensor, balance: float) -> Tensor:
    """Rows of the labeled images, those of rare classes several times, from labels [N].

    An image of a class with n labels comes (largest n / n)^balance times, rounded: at 0 all come
    once, at 1 all classes have about as many rows.
    """
    rows = torch.nonzero(labels >= 0).flatten()
    if not len(rows):
        return rows
    counts = torch.bincount(labels[rows])
    times = (counts.max() / counts[labels[rows]]) ** balance
    return rows.repeat_interleave(times.round().long())


def log_prior(labels: Tensor, classes: int, balance: float) -> Tensor:
    """Logarithm of how often each class is drawn against the most frequent one, [C]; 0 if never."""
    counts = torch.bincount(labels[repeat_rare(labels, balance)], minlength=classes)
    return torch.where(counts > 0, counts / counts.max(), 1.0).log()


def weak_view(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A random crop with color jitter, flipped where the recipe allows it.

    From pixels [B, 3, S, S] uint8 to [B, 3, S, S] float in 0..1.
    """
    matrix = _crop_matrix(len(pixels), recipe, generator)
    images = _warp(pixels.float().div_(255), matrix)
    if recipe.color:
        factors = 1 + recipe.color * _uniform((3, len(pixels)), generator)
        images = _tint(images, *factors)
    return images.clamp_(0, 1)


OPERATIONS = (
    "identity",
    "brightness",
    "contrast",
    "color",
    "solarize",
    "posterize",
    "autocontrast",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
"""Operations of a strong view, two per image: RandAugment without equalize and sharpness."""


def strong_view(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """A random crop, two RandAugment operations and a cut-out square.

    Cubuk et al., NeurIPS 2020, as FixMatch (Sohn et al., NeurIPS 2020) uses it. Arguments and
    result as in `weak_view`.
    """
    count, size = len(pixels), pixels.shape[-1]
    matrix = _crop_matrix(count, recipe, generator)
    chosen = torch.randint(len(OPERATIONS), (2, count), generator=generator)
    strength = _uniform((2, count), generator)
    for operation, amount in zip(chosen, strength, strict=True):
        matrix = matrix @ _geometry(operation, amount)
    images = _warp(pixels.float().div_(255), matrix)
    for operation, amount in zip(chosen, strength, strict=True):
        images = _recolor(images, operation, amount)
    side = torch.rand(count, generator=generator) * 0.5 * size
    center = torch.rand(2, count, generator=generator) * size
    place = torch.arange(size)
    hidden = ((place - center[0, :, None]).abs() < side[:, None] / 2)[:, :, None] & (
        (place - center[1, :, None]).abs() < side[:, None] / 2
    )[:, None, :]
    return images.clamp_(0, 1).masked_fill_(hidden[:, None], 0.5)


def make_generator(seed: int, stream: int, index: int) -> torch.Generator:
    """An independent generator per seed, stream and index."""
    # torch takes 32 bits of a seed on a CPU: all of these have to reach them
    mixed = np.random.SeedSequence((seed, stream, index)).generate_state(1)
    return torch.Generator().manual_seed(int(mixed[0]))


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform in -1..1."""
    return torch.rand(shape, generator=generator) * 2 - 1


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _crop_matrix(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Affine maps [B, 3, 3] from the view to a random box inside the image."""
    area = recipe.min_area + (1 - recipe.min_area) * torch.rand(count, generator=generator)
    # only as far from square as the box still fits, so that it keeps its area
    aspect = torch.exp((-area.log() / 2).clamp(max=0.15) * _uniform((count,), generator))
    width = (area.sqrt() * aspect).clamp_(max=1)
    height = (area.sqrt() / aspect).clamp_(max=1)
    shift = _uniform((2, count), generator)
    mirror = torch.ones(count)
    if recipe.flip:
        mirror[torch.rand(count, generator=generator) < 0.5] = -1
    matrix = torch.eye(3).repeat(count, 1, 1)
    matrix[:, 0, 0], matrix[:, 1, 1] = width * mirror, height
    matrix[:, 0, 2], matrix[:, 1, 2] = (1 - width) * shift[0], (1 - height) * shift[1]
    return matrix


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    # as torch's affine_grid, three times as fast: two sums of a row and a column
    size = images.shape[-1]
    place = (2 * torch.arange(size) + 1) / size - 1
    rows = matrix[:, :2, 1, None] * place + matrix[:, :2, 2, None]
    grid = rows[..., None] + (matrix[:, :2, 0, None] * place)[:, :, None]
    return grid_sample(images, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _geometry(operation: Tensor, amount: Tensor) -> Tensor:
    """Affine maps [B, 3, 3] of the geometric operations; the identity for the others."""
    matrix = torch.eye(3).repeat(len(operation), 1, 1)
    angle = torch.where(operation == OPERATIONS.index("rotate"), amount * pi / 6, 0)
    matrix[:, 0, 0], matrix[:, 1, 1] = angle.cos(), angle.cos()
    matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
    for name, row, column in (
        ("shear_x", 0, 1),
        ("shear_y", 1, 0),
        ("translate_x", 0, 2),
        ("translate_y", 1, 2),
    ):
        matrix[:, row, column] += torch.where(operation == OPERATIONS.index(name), amount * 0.3, 0)
    return matrix


def _tint(images: Tensor, light: Tensor, contrast: Tensor, color: Tensor) -> Tensor:
    """Brightness, contrast and saturation in one pass: together they are linear."""
    gray = images.mean(dim=1, keepdim=True)
    middle = gray.mean(dim=(2, 3), keepdim=True)
    light, contrast, color = _per_image(light), _per_image(contrast), _per_image(color)
    rest = (1 - contrast) * middle + (1 - color) * contrast * gray
    return torch.addcmul(light * rest, images, light * contrast * color)


def _blend(images: Tensor, axes: tuple[int, ...], factor: Tensor) -> Tensor:
    """Scale the distance of each value from the mean over some axes."""
    mean = images.mean(dim=axes, keepdim=True)
    return mean + (images - mean) * _per_image(factor)


def _recolor(images: Tensor, operation: Tensor, amount: Tensor) -> Tensor:
    """Apply each image's color operation, if it is one."""
    factor = 1 + 0.9 * amount
    for name, change in (
        ("brightness", lambda x, f: x * _per_image(f)),
        ("contrast", lambda x, f: _blend(x, (1, 2, 3), f)),
        ("color", lambda x, f: _blend(x, (1,), f)),
        ("solarize", lambda x, f: torch.where(x < _per_image(f), x, 1 - x)),
        ("posterize", lambda x, f: torch.floor(x * _per_image(4 + 6 * f)) / _per_image(4 + 6 * f)),
        ("autocontrast", lambda x, _: _autocontrast(x)),
    ):
        chosen = operation == OPERATIONS.index(name)
        if chosen.any():
            images[chosen] = change(images[chosen], factor[chosen]).clamp(0, 1)
    return images


def _autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel's range to 0..1."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    return (images - low) / (high - low).clamp(min=1 / 255)
