"""Run images through a teacher's network in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.errors import TeacherBroken, first_line
from zoo.features import openvino
from zoo.features.store import Features
from zoo.system.devices import autocast, cpu_has_bfloat16
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing
from zoo.teachers.loading import Teacher

BATCH = 32
R = TypeVar("R")


@torch.inference_mode()
def embed(
    teacher: Teacher,
    pixels: NDArray[np.uint8],
    *,
    mixed: bool = True,
    total: int = 0,
    progress: Progress | None = None,
) -> Features:
    """Run a teacher over decoded images [N, 3, S, S], in bfloat16 where that is faster and `mixed`.

    They are not normalized yet. OpenVINO is used, where it is installed, if the teacher sees many
    images in `total`.

    Raises:
        TeacherBroken: the network does not take such images, or its outputs are not finite.
    """
    card, device = teacher.card, teacher.device
    network = EmbeddingsAndLogits(teacher)

    def forward(batch: Tensor) -> tuple[Tensor, Tensor]:
        inputs = to_input(batch, card.input, device)
        if converted:
            return converted(inputs)
        with autocast(device) if mixed else nullcontext():
            embeddings, logits = network(inputs)
        return embeddings.float().cpu(), logits.float().cpu()

    embeddings: list[Tensor] = []
    logits: list[Tensor] = []
    try:
        pays = openvino.pays(total, card.input.size, device)
        converted = _convert(teacher, mixed) if pays else None
        batches = in_batches(forward, torch.from_numpy(pixels), BATCH, progress)
        for embedding, output in batches:
            embeddings.append(embedding)
            logits.append(output if card.classes else output[:, :0])
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise TeacherBroken(f"{card.name!r} fails on the images: {first_line(error)}") from error
    if any(part.ndim != 2 for part in (*embeddings, *logits)):
        raise TeacherBroken(f"The outputs of {card.name!r} are not one vector per image.")
    features = Features(torch.cat(embeddings).numpy(), torch.cat(logits).numpy())
    if not (np.isfinite(features.embeddings).all() and np.isfinite(features.logits).all()):
        raise TeacherBroken(f"The outputs of {card.name!r} are not finite.")
    return features


class EmbeddingsAndLogits(nn.Module):
    """A teacher's network from inputs [B, 3, S, S] to embeddings [B, D] and logits [B, K].

    The embeddings are the inputs of its classifier; without one, they are its outputs, and so are
    the logits.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.network = teacher.network
        self.classifies = bool(teacher.card.classes)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network once."""
        if not self.classifies:
            outputs = self.network(inputs)
            return outputs, outputs
        seen: list[Tensor] = []
        head = find_head(self.network)
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = self.network(inputs)
        finally:
            hook.remove()
        return seen[0], logits


@lru_cache(maxsize=1)
def _convert(teacher: Teacher, mixed: bool) -> Callable[[Tensor], openvino.Outputs] | None:
    """A teacher's network on OpenVINO, converted once for all its shards of images."""
    size = teacher.card.input.size
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    example = normalize(noise, teacher.card.input)
    bfloat16 = mixed and cpu_has_bfloat16()
    return openvino.convert(EmbeddingsAndLogits(teacher), example, bfloat16=bfloat16)


def release_teacher() -> None:
    """Forget the last converted network, which would stay in memory until the next one."""
    _convert.cache_clear()


def find_head(network: nn.Module) -> nn.Module:
    """The classifier of a network of timm; the first where it averages two."""
    classifier: Any = network.get_classifier()  # pyright: ignore
    return classifier[0] if isinstance(classifier, tuple) else classifier


def to_input(pixels: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Decoded images [B, 3, S, S] uint8 as the input of a network on this device."""
    moved = pixels.to(device)
    ordered = moved.flip(1) if preprocessing.channels == "bgr" else moved
    return normalize(ordered.float().div_(255), preprocessing)


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(images - mean) / std for [B, 3, S, S] in 0..1, in the memory layout of convolutions."""
    mean = images.new_tensor(preprocessing.mean)[:, None, None]
    std = images.new_tensor(preprocessing.std)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def in_batches(
    work: Callable[[Tensor], R], items: Tensor, size: int, progress: Progress | None = None
) -> Iterator[R]:
    """Results of `work` for consecutive batches of `items` [N, ...].

    A batch has `size` rows, or half as many each time the memory of the device is not enough.

    Raises:
        torch.cuda.OutOfMemoryError: a single row does not fit.
    """
    total = len(items)
    while True:
        part = items[:size]
        try:
            result = work(part)
        except torch.cuda.OutOfMemoryError:
            if len(part) <= 1:
                raise
            size = len(part) // 2
        else:
            items = items[size:]
            if progress:
                progress(total - len(items), total)
            yield result
            if not len(items):
                return
