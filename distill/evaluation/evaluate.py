"""predict and evaluate: class probabilities of images and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.evaluation.metrics import Evaluation, compute_metrics
from distill.network import check_outputs, single_image_fits
from distill.student import load_network
from zoo.errors import ImagesError
from zoo.features.inference import in_batches, to_input
from zoo.images.decoding import decode_images
from zoo.images.folder import Images, count_trained_on
from zoo.images.source import ImageSource
from zoo.images.warnings import describe_overlap
from zoo.system.devices import autocast, choose_device, to_device
from zoo.system.runtime import Progress, Runtime
from zoo.system.words import join_few
from zoo.teachers.card import Preprocessing


def predict(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    *,
    device: torch.device | str | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Class probabilities [N, C] of the images.

    Example:
        >>> from distill import load_network, predict
        >>> network, classes, preprocessing = load_network(Path("student"))
        >>> probabilities = predict(network, read_images(Path("imgs")), preprocessing)
    """
    pixels = torch.from_numpy(decode_images(images.paths, preprocessing, digests=images.digests))
    return predict_pixels(
        network, pixels, preprocessing, device=device, batch=batch, progress=progress
    )


def predict_pixels(
    network: nn.Module,
    pixels: torch.Tensor,
    preprocessing: Preprocessing,
    *,
    device: torch.device | str | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Class probabilities [N, C] of decoded images [N, 3, S, S] uint8."""
    place = choose_device(device or "cpu")
    network = to_device(network, place).eval()

    def forward(part: torch.Tensor) -> NDArray[np.float32]:
        with autocast(place):
            logits = network(to_input(part, preprocessing, place))
        return logits.float().softmax(dim=1).cpu().numpy()

    with torch.inference_mode(), single_image_fits():
        return check_outputs(np.concatenate([*in_batches(forward, pixels, batch, progress)]))


def evaluate(
    network: nn.Module,
    images: Images,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Metrics on the labeled ones of the images.

    Args:
        network: the student's network.
        images: at least one of them labeled, with the student's class names.
        classes: the student's class names, in the order of its logits.
        preprocessing: of the network's images.
        device: `auto`, or a device of torch; the CPU if not given.
        progress: called after every batch.

    Raises:
        ImagesError: no image is labeled, or one has a class that the student was not trained on.

    Example:
        >>> from distill import evaluate, load_network
        >>> network, classes, preprocessing = load_network(Path("student"))
        >>> evaluate(network, read_images(Path("test")), classes, preprocessing).accuracy
    """
    refuse_unknown(images, classes)
    images = images.subset(np.flatnonzero(images.labels >= 0))
    if not len(images):
        raise ImagesError(f"{images.root} has no labeled image to test on: add class sub-folders.")
    order = np.array([classes.index(name) for name in images.classes])
    probabilities = predict(network, images, preprocessing, device=device, progress=progress)
    return compute_metrics(probabilities, order[images.labels], classes, images.paths)


def evaluate_student(
    student: str | Path,
    target: str | Path,
    *,
    labels: Path | None = None,
    ignore_unknown: bool = False,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Evaluate a saved student on labeled images, as `zoo eval` does.

    Args:
        student: folder of the student.
        target: folder of images, or a data set of the Hub.
        labels: CSV file of their labels, instead of sub-folders.
        ignore_unknown: leave out images of classes that the student was not trained on; they are an
            error otherwise.
        runtime: device, progress and warnings.

    Raises:
        ZooError: the student or the images cannot be used.

    Example:
        >>> from distill import evaluate_student
        >>> evaluate_student("student", "held_out").accuracy
    """
    runtime = runtime or Runtime()
    images = ImageSource(Path(target), labels=labels).read_unchecked(runtime)
    for message in images.warnings:
        runtime.warn(message)
    network, classes, form = load_network(Path(student))
    if ignore_unknown:
        images = keep_classes(images, classes, runtime)
    refuse_unknown(images, classes, " Leave its images out with --ignore-unknown.")
    if seen := count_trained_on(images, Path(student)):
        runtime.warn(describe_overlap(seen, images.labeled))
    progress = runtime.progress("testing")
    return evaluate(network, images, classes, form, device=runtime.device, progress=progress)


def refuse_unknown(images: Images, classes: Sequence[str], advice: str = "") -> None:
    """Refuse images of classes that the student was not trained on, with some advice."""
    if unknown := sorted(set(images.classes) - set(classes)):
        raise ImagesError(
            f"{images.root} has the class {unknown[0]!r}, which the student was not trained on: "
            f"its classes are {', '.join(classes)}.{advice}"
        )


def keep_classes(images: Images, classes: Sequence[str], runtime: Runtime) -> Images:
    """The images whose class is one of these; one warning names the classes that are left out."""
    lost = [name for name in images.classes if name not in classes]
    if not lost:
        return images
    kept = [name for name in images.classes if name in classes]
    number = np.array([kept.index(name) if name in kept else -1 for name in images.classes])
    known = np.flatnonzero(images.labels >= 0)
    labels = np.full(len(images), -1, dtype=np.int64)
    labels[known] = number[images.labels[known]]
    count = len(known) - int((labels >= 0).sum())
    runtime.warn(
        f"Left out {count} of {len(known)} images: the student does not know the "
        f"class{'es' * (len(lost) > 1)} {join_few(lost)}."
    )
    return replace(images, classes=tuple(kept), labels=labels)
