"""predict_files: classes of image files, as a stream that needs little memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.evaluation.rejection import Rejection, choose_images, fit_rejection
from distill.network import check_outputs, single_image_fits
from distill.student import Student, load_network
from zoo.errors import ImagesError
from zoo.features.inference import in_batches, to_input
from zoo.images.decoding import decode_images, decode_readable
from zoo.images.folder import Images, list_files
from zoo.system.devices import autocast, choose_device, to_device
from zoo.system.runtime import Progress, Runtime
from zoo.teachers.card import Preprocessing

CHUNK = 64
"""Images that are in memory at once."""


@dataclass(frozen=True)
class Prediction:
    """What a student says of one image.

    Attributes:
        path: of the image.
        probabilities: of each class by its name, the most likely first; empty if it is unreadable.
        distance: to the nearest training images, over the largest that is accepted; None where it
            was not looked at.
        error: why the image cannot be read; empty if it can.

    Example:
        >>> Prediction("a.jpg", {"cat": 0.9, "dog": 0.1}).label
        'cat'
    """

    path: str
    probabilities: Mapping[str, float] = field(default_factory=lambda: {})
    distance: float | None = None
    error: str = ""

    @property
    def label(self) -> str:
        """The most likely class; empty text for an unreadable image."""
        return next(iter(self.probabilities), "")

    @property
    def probability(self) -> float:
        """Of the most likely class; 0 for an unreadable image."""
        return next(iter(self.probabilities.values()), 0.0)

    @property
    def unknown(self) -> bool:
        """Whether the image is unlike all that the student was trained on, if that is known."""
        return self.distance is not None and self.distance > 1

    def to_json(self, top: int | None = None) -> dict[str, Any]:
        """A row of `zoo predict --json`: all probabilities, or the `top` largest."""
        if self.error:
            return {"path": self.path, "error": self.error}
        likely = dict([*self.probabilities.items()][:top])
        far = self.distance is not None
        unknown = {"unknown": self.unknown, "distance": self.distance} if far else {}
        best = {"label": self.label, "probability": self.probability}
        return {"path": self.path, **best, **unknown, "probabilities": likely}


@dataclass
class Predictions:
    """Predictions of a number of images, made while they are iterated over, once.

    `classes` are in the order of the student's logits; `unreadable` counts images so far.
    """

    classes: tuple[str, ...]
    count: int
    rows: Iterator[Prediction]
    unreadable: int = 0

    def __iter__(self) -> Iterator[Prediction]:
        for row in self.rows:
            self.unreadable += bool(row.error)
            yield row


def predict_files(
    student: str | Path,
    paths: Sequence[str | Path],
    *,
    unknown: bool = False,
    runtime: Runtime | None = None,
) -> Predictions:
    """The classes of images, and of all images in folders, as `zoo predict` does.

    Images are read and predicted `CHUNK` at a time: a folder may be larger than the memory.

    Args:
        student: folder of the student.
        paths: of images and folders.
        unknown: also say of each image whether it is unlike all classes.
        runtime: device, progress and warnings.

    Returns:
        A prediction for each image in the order of the paths, also for unreadable ones, made while
        the result is iterated over.

    Raises:
        ZooError: the student cannot be used, a path does not exist, or there is no image.

    Example:
        >>> from distill import predict_files
        >>> for row in predict_files("student", [Path("photo.jpg")]):
        ...     print(row.path, row.label, row.probability)
    """
    runtime = runtime or Runtime()
    files, notes = list_files([Path(path) for path in paths])
    for note in notes:
        runtime.warn(note)
    if not files:
        raise ImagesError(f"No image in {', '.join(map(str, paths)) or 'an empty list'}.")
    network, classes, form = load_network(Path(student))
    rejection = Rejection.load(Path(student)) if unknown else None
    choose_device(runtime.device)  # a device that is not there is an error before the first row
    rows = _stream(network, form, files, classes, rejection, runtime)
    return Predictions(classes, len(files), rows)


def embed_and_classify(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    device: torch.device | str,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings [N, D] and class probabilities [N, C] of decoded images [N, 3, S, S]."""
    place = choose_device(device)
    student = Student(to_device(network, place).eval(), ())

    def forward(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with autocast(place):
            embeddings = student.embed(to_input(part, preprocessing, place))
            logits = student.classify(embeddings)
        return embeddings.float().cpu(), logits.float().softmax(dim=1).cpu()

    with torch.inference_mode(), single_image_fits():
        parts = [*in_batches(forward, torch.from_numpy(pixels), CHUNK, progress)]
    embeddings, probabilities = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    return embeddings, check_outputs(probabilities)


def measure_rejection(
    network: nn.Module,
    images: Images,
    preprocessing: Preprocessing,
    device: torch.device | str,
    progress: Progress | None = None,
) -> Rejection | None:
    """The rejection of a student from its training images; None if they are too few."""
    some = images.subset(choose_images(images.labels))
    pixels = decode_images(some.paths, preprocessing, digests=some.digests)
    embeddings, _ = embed_and_classify(network, pixels, preprocessing, device, progress)
    return fit_rejection(embeddings, some.labels)


def _stream(
    network: nn.Module,
    form: Preprocessing,
    files: Sequence[Path],
    classes: Sequence[str],
    rejection: Rejection | None,
    runtime: Runtime,
) -> Iterator[Prediction]:
    """Predictions, chunk by chunk."""
    device, progress = choose_device(runtime.device), runtime.progress("predicting")
    for start in range(0, len(files), CHUNK):
        part = files[start : start + CHUNK]
        pixels, errors = decode_readable(part, form)
        embeddings, probabilities = embed_and_classify(network, pixels, form, device)
        far = rejection.distances(embeddings).tolist() if rejection else [None] * len(part)
        for path, error, row, distance in zip(part, errors, probabilities, far, strict=True):
            order: list[int] = [] if error else np.argsort(-row, kind="stable").tolist()
            likely = {classes[index]: float(row[index]) for index in order}
            yield Prediction(str(path), likely, None if error else distance, error)
        progress(min(start + CHUNK, len(files)), len(files))
