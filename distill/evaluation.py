"""Accuracy and friends of a network on images."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from zoo.card import Preprocessing
from zoo.decoding import Progress, decode_images
from zoo.errors import ImagesError
from zoo.images import Images
from zoo.machine import autocast
from zoo.teacher import to_device, to_input


@dataclass(frozen=True)
class Evaluation:
    """How a student does on labelled images.

    Attributes:
        accuracy: top-1, in 0..1.
        low: lower end of its 95 % Wilson interval.
        high: upper end.
        images: how many images were classified.
        per_class: accuracy by class name, for the classes that occur.
    """

    accuracy: float
    low: float
    high: float
    images: int
    per_class: dict[str, float]

    def gain_over(self, other: Evaluation) -> tuple[float, float, float]:
        """Accuracy less the other's, with a 95 % interval (Newcombe, Stat. Med. 1998, 10).

        Both count as independent samples, so for the same images the interval is a wide one.
        """
        gain = self.accuracy - other.accuracy
        down = hypot(self.accuracy - self.low, other.high - other.accuracy)
        up = hypot(self.high - self.accuracy, other.accuracy - other.low)
        return gain, gain - down, gain + up


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
    device = device or torch.device("cpu")
    network = to_device(network, device).eval()
    pixels = torch.from_numpy(decode_images(images.paths, preprocessing, digests=images.digests))
    outputs: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for shown in pixels.split(batch):
            inputs = to_input(shown, preprocessing, device)
            with autocast(device):
                logits = network(inputs)
            outputs.append(logits.float().softmax(dim=1).cpu().numpy())
            if progress:
                progress(sum(map(len, outputs)), len(images))
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
    """Accuracy on the labelled ones of the images.

    Args:
        network: the student's network.
        images: at least one of them labelled, with the student's class names.
        classes: the student's class names, in the order of its logits.
        preprocessing: how the network wants its images.
        device: where to compute.
        progress: called after every batch.

    Raises:
        ImagesError: there is no labelled image, or one of a class that the student never learnt.
    """
    if unknown := sorted(set(images.classes) - set(classes)):
        raise ImagesError(
            f"{images.root} has the class {unknown[0]!r}, which the student does not know: "
            f"it knows {', '.join(classes)}."
        )
    images = images.subset(np.flatnonzero(images.labels >= 0))
    if not len(images):
        raise ImagesError(f"{images.root} has no labelled image to test on: add class sub-folders.")
    order = np.array([classes.index(name) for name in images.classes])
    truth = order[images.labels]
    chosen = predict(network, images, preprocessing, device=device, progress=progress).argmax(1)
    hits = chosen == truth
    low, high = wilson(int(hits.sum()), len(hits))
    per_class = {classes[i]: float(hits[truth == i].mean()) for i in np.unique(truth)}
    return Evaluation(float(hits.mean()), low, high, len(hits), per_class)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share: `hits` of `count` (Wilson, JASA 1927)."""
    z = 1.959964
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)
