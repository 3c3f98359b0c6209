"""Report: what ran and what came out; saved with the student as JSON, model card and page."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distill.evaluation.evaluate import Evaluation
from distill.recipe import Recipe
from distill.report.licenses import (
    Claim,
    choose_license,
    license_lines,
    start_claims,
    teacher_claims,
)
from distill.report.student_page import PAGE, student_page, teachers_verdict
from distill.student import WEIGHTS_FILE, save_network
from distill.training.checkpoint import delete_checkpoint
from distill.training.loop import Trained
from zoo import __version__
from zoo.errors import StudentError, first_line
from zoo.system.files import atomic_folder, is_unused, write_atomic
from zoo.teachers.card import TeacherCard, sha256_of

REPORT_FORMAT = 1
ONNX_FILES = ("model.onnx", "model.int8.onnx")
"""What `zoo export` puts beside the weights."""


@dataclass(frozen=True)
class Report:
    """One run: what went in and what came out.

    Attributes:
        method: `weighted`, `nearest`, `teachers` (shares by hand), `transfer` or `fixmatch`.
        arch: timm's name of the student.
        start: where its initial weights came from.
        target: the folder of images.
        classes: the student's class names.
        labeled: images with a label.
        unlabeled: images without one.
        skipped: images that could not be read.
        teachers: share of each teacher, summing to 1; empty without teachers.
        objective: in whose classes they taught, `target` or `source`; None without teachers.
        recipe: the numbers of the run.
        image_size: of the student's input, in pixels.
        seconds: wall time of the updates.
        student: the folder that the student is saved in.
        evaluation: on held-out images; None without any.
        notes: mishaps on the way.
        digest: SHA-256 of the images and labels.
        command: the command line that asked for it; empty if none did.
        soft_label_accuracy: of the teachers' soft labels on labeled images left out in turn,
            0..1, before the student was taught; None without soft labels.
    """

    method: str
    arch: str
    start: str
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

    def summary(self) -> dict[str, Any]:
        """The run as `zoo distill --json` shows it."""
        result = self.evaluation
        return {
            "format": REPORT_FORMAT,
            "method": self.method,
            "arch": self.arch,
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
            "student": self.student,
        }

    def to_json(self) -> dict[str, Any]:
        """All of it, with the versions of what it ran on."""
        versions = {name: version(name) for name in ("torch", "timm", "numpy")}
        versions |= {"source-zoo": __version__, "python": platform.python_version()}
        return {**self.summary(), **asdict(self), "versions": versions}


def check_folder(folder: Path, *, overwrite: bool, images: Sequence[Path] = ()) -> None:
    """Make sure, before any work, that a student may be saved here.

    Raises:
        StudentError: the folder holds something, or lies in a folder of images.
    """
    for place in images:
        if folder.absolute().resolve().is_relative_to(place.absolute().resolve()):
            raise StudentError(
                f"{folder} lies inside the image folder {place}, where nothing is ever written: "
                "choose another --save."
            )
    if folder.is_file():
        raise StudentError(f"{folder} is a file: choose another --save.")
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(above, os.W_OK):
        raise StudentError(f"Nothing can be written in {above}: choose another --save.")
    if not overwrite and folder.is_dir() and not is_unused(folder):
        raise StudentError(f"{folder} is not empty: pass --overwrite or choose another --save.")


def save_student(
    trained: Trained,
    report: Report,
    folder: Path,
    *,
    cards: Sequence[TeacherCard] = (),
    ranking: Mapping[str, Any] | None = None,
) -> str:
    """Write the student, its model card, its report and its training history; then its page.

    Args:
        trained: the student.
        report: of the run.
        folder: where to; timm loads it as `local-dir:FOLDER`.
        cards: of the teachers in the report.
        ranking: that the shares come from, kept beside the student.

    Returns:
        Why the page could not be drawn, which loses no student; empty if it was.

    Raises:
        StudentError: the folder cannot be written.
    """
    history = "".join(json.dumps(entry) + "\n" for entry in trained.history)
    document = json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n"
    # a line a list of numbers: a confusion matrix has many
    document = re.sub(r"\[\n[-+\d.e,\s]*\]", lambda found: "".join(found[0].split()), document)
    try:
        with atomic_folder(folder) as part:
            write_atomic(part / "metrics.jsonl", history)
            # names of files may hold bytes that are no UTF-8
            write_atomic(part / "report.json", document.encode("utf-8", "replace"))
            if ranking:
                text = json.dumps(ranking, indent=1, ensure_ascii=False) + "\n"
                write_atomic(part / "ranking.json", text)
            write_atomic(part / "README.md", model_card(report, cards))
            save_network(
                trained.network,
                part,
                arch=report.arch,
                labels=report.classes,
                preprocessing=trained.preprocessing,
                license=choose_license(_claims(report, cards)),
            )
            warning = _save_page(trained, report, part, cards, ranking)
            for name in (PAGE, *ONNX_FILES):  # of another student
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StudentError(
            f"The student could not be saved in {folder}: {error.strerror or error}. "
            "Free some space or choose another --save, and run again."
        ) from error
    delete_checkpoint(trained.state)
    return warning and f"{folder / PAGE} {warning}"


def _save_page(
    trained: Trained,
    report: Report,
    folder: Path,
    cards: Sequence[TeacherCard],
    ranking: Mapping[str, Any] | None,
) -> str:
    """Draw the page beside the student; what happened to it, empty if nothing."""
    try:
        sha256 = sha256_of(folder / WEIGHTS_FILE)
        page = student_page(
            report, history=trained.history, cards=cards, ranking=ranking, sha256=sha256
        )
        write_atomic(folder / PAGE, page)
    except Exception as error:  # whatever it is: the student is safe, the page is an extra
        return f"could not be written ({first_line(error)}); the student is saved."
    return ""


def model_card(report: Report, cards: Sequence[TeacherCard]) -> str:
    """The student's README in the Hub's form, naming every teacher, its share and license."""
    claims = _claims(report, cards)
    lines = [
        "---",
        f"license: {choose_license(claims)}",
        "library_name: timm",
        "pipeline_tag: image-classification",
        "tags: [image-classification, timm, source-zoo]",
        "---",
        "",
        f"# {report.arch} for {' '.join(', '.join(report.classes).splitlines())}",
        "",
        f"Made by source-zoo with the method "
        f"`{report.method}` from {report.labeled} labeled and {report.unlabeled} unlabeled "
        f"images in {report.recipe.updates} updates at {report.image_size} px; initial weights: "
        f"{report.start}.",
        "",
        *_result(report),
        *_teacher_table(report, cards),
        "## Use",
        "",
        "```python",
        "import timm",
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
        "```",
        "",
        *license_lines(claims),
    ]
    return "\n".join(lines)


def _claims(report: Report, cards: Sequence[TeacherCard]) -> list[Claim]:
    """Every license that the student depends on."""
    return [
        *teacher_claims(list(report.teachers), cards),
        *start_claims(report.start, report.arch),
    ]


def _result(report: Report) -> list[str]:
    result = report.evaluation
    if result is None:
        return ["Not evaluated on held-out images.", ""]
    return [
        f"Accuracy on {result.images} held-out images: {result.accuracy:.1%} "
        f"(95 % interval {result.low:.1%} to {result.high:.1%}).",
        "",
    ]


def _teacher_table(report: Report, cards: Sequence[TeacherCard]) -> list[str]:
    if not report.teachers:
        return ["No teacher took part.", ""]
    known = {card.name: card for card in cards}
    rows = [
        f"| {name} | {share:.1%} | {known[name].source} | {known[name].license} "
        f"| {known[name].data} ({known[name].data_license}) |"
        for name, share in sorted(report.teachers.items(), key=lambda item: -item[1])
    ]
    head = ["## Teachers", "", "| teacher | share | source | license | data (its license) |"]
    told = teachers_verdict(report)
    return [*head, "|---|---|---|---|---|", *rows, "", *([told, ""] if told else [])]
