"""Report: inputs and results of one run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from distill.evaluation.metrics import Evaluation
from distill.recipe import Recipe
from zoo import __version__
from zoo.teachers.starts import Start

REPORT_FORMAT = 1


@dataclass(frozen=True)
class Report:
    """Inputs and results of one run.

    Attributes:
        method: one of `Distillation.method`; `teachers` has shares by hand.
        arch: timm's name of the student.
        start: its initial weights.
        target: the image folder.
        classes: the student's class names.
        labeled: images with a label.
        unlabeled: images without one.
        skipped: unreadable images.
        teachers: share of each teacher, summing to 1; empty without teachers.
        objective: `target` or `source`, the classes of the distillation; None without teachers.
        recipe: hyperparameters.
        image_size: of the student's input, in pixels.
        seconds: wall time of the updates.
        student: the folder of the saved student.
        evaluation: on held-out images; None without any.
        overlap: how many of the held-out images are labeled training images too.
        notes: warnings.
        digest: SHA-256 of the images and labels.
        command: the command line; empty if there was none.
        temperature: that the logits were divided by, in the saved weights; None without.
        soft_label_accuracy: cross-validated accuracy of the teachers' soft labels, 0..1; None
            without soft labels.

    Example:
        >>> report.summary()["accuracy"]
    """

    method: str
    arch: str
    start: Start
    target: str
    classes: tuple[str, ...]
    labeled: int
    unlabeled: int
    skipped: int
    teachers: Mapping[str, float]
    objective: str | None
    recipe: Recipe
    image_size: int
    seconds: float
    student: str
    evaluation: Evaluation | None = None
    notes: tuple[str, ...] = field(default=())
    digest: str = ""
    command: str = ""
    soft_label_accuracy: float | None = None
    temperature: float | None = None
    overlap: int = 0

    def summary(self) -> dict[str, Any]:
        """The run as `zoo distill --json` shows it."""
        result = self.evaluation
        return {
            "format": REPORT_FORMAT,
            "method": self.method,
            "arch": self.arch,
            "start": self.start.to_json(),
            "updates": self.recipe.updates,
            "seconds": round(self.seconds, 2),
            "teachers": dict(self.teachers),
            "objective": self.objective,
            "labeled": self.labeled,
            "unlabeled": self.unlabeled,
            "soft_label_accuracy": self.soft_label_accuracy,
            "accuracy": result and result.accuracy,
            "low": result and result.low,
            "high": result and result.high,
            "balanced_accuracy": result and result.balanced_accuracy,
            "majority_class_accuracy": result and result.majority_class_accuracy,
            "student": self.student,
        }

    def to_json(self) -> dict[str, Any]:
        """All entries, with the versions of source-zoo, Python and the libraries."""
        versions = {name: version(name) for name in ("torch", "timm", "numpy")}
        versions |= {"source-zoo": __version__, "python": platform.python_version()}
        entries = asdict(self) | {"start": self.start.to_json(), "versions": versions}
        return {**self.summary(), **entries}
