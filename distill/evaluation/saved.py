"""Saved students: evaluate them on labeled images and predict the classes of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.evaluation.evaluate import evaluate, predict
from distill.evaluation.metrics import Evaluation
from distill.student import load_network
from zoo.errors import ImagesError
from zoo.images.folder import Skipped, check_files, read_images
from zoo.system.devices import choose_device
from zoo.system.runtime import Runtime


def evaluate_student(
    student: str | Path,
    target: str | Path,
    *,
    labels: Path | None = None,
    runtime: Runtime | None = None,
) -> Evaluation:
    """Evaluate a saved student on labeled images, as `zoo eval` does.

    Args:
        student: folder of the student.
        target: folder of images.
        labels: CSV file of their labels, instead of sub-folders.
        runtime: device, progress and warnings.

    Raises:
        ZooError: the student or the images cannot be used.

    Example:
        >>> from distill import evaluate_student
        >>> evaluate_student("student", "held_out").accuracy
    """
    runtime = runtime or Runtime()
    progress = runtime.progress("reading images")
    images = read_images(Path(target), labels=labels, progress=progress)
    if images.skipped_warning:
        runtime.warn(images.skipped_warning)
    network, classes, form = load_network(Path(student))
    device, progress = choose_device(runtime.device), runtime.progress("testing")
    return evaluate(network, images, classes, form, device=device, progress=progress)


def predict_files(
    student: str | Path, paths: Sequence[Path], *, runtime: Runtime | None = None
) -> tuple[list[dict[str, Any]], Sequence[Skipped]]:
    """The classes of images, and of all images in folders, as `zoo predict` does.

    Args:
        student: folder of the student.
        paths: of images and folders.
        runtime: device and progress.

    Returns:
        Per image its `path`, `label` and `probability`; and the unreadable files.

    Raises:
        ZooError: the student cannot be used, or there is no readable image.

    Example:
        >>> from distill import predict_files
        >>> rows, skipped = predict_files("student", [Path("photo.jpg")])
    """
    runtime = runtime or Runtime()
    images = check_files(paths, progress=runtime.progress("reading images"))
    if not len(images):
        raise ImagesError(f"No readable image in {', '.join(map(str, paths))}.")
    network, classes, form = load_network(Path(student))
    device, progress = choose_device(runtime.device), runtime.progress("predicting")
    probabilities = predict(network, images, form, device=device, progress=progress)
    rows = [
        {"path": str(path), "label": classes[row.argmax()], "probability": float(row.max())}
        for path, row in zip(images.paths, probabilities, strict=True)
    ]
    return rows, images.skipped
