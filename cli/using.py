"""What `zoo eval` and `zoo predict` do with a saved student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.workflow import Bars
from zoo.errors import ImagesError
from zoo.images.folder import Images, Skipped, check_files, read_images

if TYPE_CHECKING:
    from distill.evaluation.metrics import Evaluation


def evaluate_student(
    student: Path, target: Path, labels: Path | None, bars: Bars, *, device: str
) -> tuple[Evaluation, Images]:
    """How a saved student does on labeled images, and the images.

    Raises:
        ZooError: the student or the images cannot be used.
    """
    from distill.evaluation.evaluate import evaluate
    from distill.student import load_network
    from zoo.system.devices import choose_device

    images = read_images(target, labels=labels, progress=bars("reading images"))
    network, classes, preprocessing = load_network(student)
    place = choose_device(device)
    bar = bars("testing")
    result = evaluate(network, images, classes, preprocessing, device=place, progress=bar)
    return result, images


def predict_paths(
    student: Path, paths: Sequence[Path], bars: Bars, *, device: str
) -> tuple[list[dict[str, Any]], Sequence[Skipped]]:
    """The class and its probability for images and all images in folders; also the unreadable.

    Raises:
        ZooError: the student cannot be used, or there is no readable image.
    """
    from distill.evaluation.evaluate import predict
    from distill.student import load_network
    from zoo.system.devices import choose_device

    images = check_files(paths, progress=bars("reading images"))
    if not len(images):
        raise ImagesError(f"No readable image in {', '.join(map(str, paths))}.")
    network, classes, preprocessing = load_network(student)
    place = choose_device(device)
    bar = bars("predicting")
    chances = predict(network, images, preprocessing, device=place, progress=bar)
    rows = [
        {"path": str(path), "label": classes[row.argmax()], "probability": float(row.max())}
        for path, row in zip(images.paths, chances, strict=True)
    ]
    return rows, images.skipped
