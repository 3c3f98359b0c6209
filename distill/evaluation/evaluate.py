"""A network on images: its probabilities, and how good they are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.evaluation.metrics import Evaluation, assess, wilson
from zoo.errors import ImagesError
from zoo.features.inference import in_batches, to_input
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.devices import autocast, to_device
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing

__all__ = ["Evaluation", "evaluate", "predict", "wilson"]


def predict(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    *,
    device: torch.device | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Class probabilities [N, C] of the images."""
    pixels = torch.from_numpy(decode_images(images.paths, preprocessing, digests=images.digests))
    return answer(network, pixels, preprocessing, device=device, batch=batch, progress=progress)


def answer(
    network: nn.Module,
    pixels: torch.Tensor,
    preprocessing: Preprocessing,
    *,
    device: torch.device | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Class probabilities [N, C] of decoded images [N, 3, S, S] uint8."""
    device = device or torch.device("cpu")
    network = to_device(network, device).eval()
    outputs: list[NDArray[np.float32]] = []

    def look(shown: torch.Tensor) -> NDArray[np.float32]:
        with autocast(device):
            logits = network(to_input(shown, preprocessing, device))
        return logits.float().softmax(dim=1).cpu().numpy()

    with torch.inference_mode():
        for chances in in_batches(look, pixels, batch):
            outputs.append(chances)
            if progress:
                progress(sum(map(len, outputs)), len(pixels))
    return np.concatenate(outputs)


def evaluate(
    network: nn.Module,
    images: Images,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Accuracy on the labeled ones of the images.

    Args:
        network: the student's network.
        images: at least one of them labeled, with the student's class names.
        classes: the student's class names, in the order of its logits.
        preprocessing: how the network wants its images.
        device: where to compute.
        progress: called after every batch.

    Raises:
        ImagesError: there is no labeled image, or one of a class that the student never learned.
    """
    if unknown := sorted(set(images.classes) - set(classes)):
        raise ImagesError(
            f"{images.root} has the class {unknown[0]!r}, which the student does not know: "
            f"it knows {', '.join(classes)}."
        )
    images = images.subset(np.flatnonzero(images.labels >= 0))
    if not len(images):
        raise ImagesError(f"{images.root} has no labeled image to test on: add class sub-folders.")
    order = np.array([classes.index(name) for name in images.classes])
    chances = predict(network, images, preprocessing, device=device, progress=progress)
    return assess(chances, order[images.labels], classes, images.paths)
