"""Load a teacher's network and show it images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.errors import TeacherBroken, first_line
from zoo.features.store import Features
from zoo.system.devices import autocast, choose_device
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.loading import build_network

BATCH = 32


@dataclass(frozen=True, eq=False)
class Teacher:
    """A card with its network, in evaluation mode, on its device."""

    card: TeacherCard
    network: nn.Module
    device: torch.device


def load_teacher(card: TeacherCard, *, device: torch.device | str = "cpu") -> Teacher:
    """Load the network of a card whose files are on this machine.

    Raises:
        TeacherBroken: files are missing, differ from the card, or do not fit the network.
        ZooError: the device is unknown or absent.
    """
    place = choose_device(device)
    return Teacher(card, to_device(build_network(card), place).eval(), place)


@torch.inference_mode()
def embed(
    teacher: Teacher,
    pixels: NDArray[np.uint8],
    *,
    mixed: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Run a teacher over decoded images [N, 3, S, S], in bfloat16 where that is faster.

    Args:
        teacher: the teacher.
        pixels: the images as its preprocessing wants them, but for mean and deviation.
        mixed: False keeps to float32.
        progress: called with the number of images that are through.

    Raises:
        TeacherBroken: it cannot take such images, or its outputs are not finite numbers.
    """
    network, preprocessing = teacher.network, teacher.card.input
    classifier = _classifier(network) if teacher.card.classes else None
    seen: list[Tensor] = []
    hook = classifier and classifier.register_forward_pre_hook(lambda _, at: seen.append(at[0]))

    def look(shown: Tensor) -> tuple[Tensor, Tensor]:
        seen.clear()
        inputs = to_input(shown, preprocessing, teacher.device)
        with autocast(teacher.device) if mixed else nullcontext():
            answer = network(inputs).float().cpu()
        if hook is None:  # the network ends in its embedding
            return answer, answer[:, :0]
        return seen[0].float().cpu(), answer

    embeddings: list[Tensor] = []
    logits: list[Tensor] = []
    try:
        for embedding, answer in in_batches(look, torch.from_numpy(pixels), BATCH):
            embeddings.append(embedding)
            logits.append(answer)
            if progress:
                progress(sum(map(len, logits)))
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise TeacherBroken(
            f"{teacher.card.name!r} cannot look at the images: {first_line(error)}"
        ) from error
    finally:
        if hook:
            hook.remove()
    if any(part.ndim != 2 for part in (*embeddings, *logits)):
        raise TeacherBroken(f"{teacher.card.name!r} does not answer with one vector an image.")
    features = Features(torch.cat(embeddings).numpy(), torch.cat(logits).numpy())
    if not (np.isfinite(features.embeddings).all() and np.isfinite(features.logits).all()):
        raise TeacherBroken(f"{teacher.card.name!r} answers with numbers that are not finite.")
    return features


def _classifier(network: Any) -> nn.Module:
    """The layer whose input is the embedding and whose output are the logits."""
    return network.get_classifier()


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on its device, its weights laid out as convolutions like them."""
    moved: Any = network.to(device)
    return moved.to(memory_format=torch.channels_last)


def to_input(pixels: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Decoded images [B, 3, S, S] uint8 as a network on this device takes them."""
    moved = pixels.to(device)
    ordered = moved.flip(1) if preprocessing.channels == "bgr" else moved
    return normalize(ordered.float().div_(255), preprocessing)


def normalize(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images [B, 3, S, S] in 0..1, less the mean, over the deviation, laid out for convolutions."""
    mean = images.new_tensor(preprocessing.mean)[:, None, None]
    std = images.new_tensor(preprocessing.std)[:, None, None]
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


R = TypeVar("R")


def in_batches(work: Callable[[Tensor], R], items: Tensor, size: int) -> Iterator[R]:
    """Results of consecutive parts of `items` [N, ...], of `size` rows each or of as many as fit.

    Raises:
        torch.cuda.OutOfMemoryError: a single row does not fit.
    """
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
            yield result
            if not len(items):
                return
