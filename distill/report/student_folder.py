"""The folder of a saved student: weights, model card, report, history, ranking and page."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.evaluation.rejection import REJECTION_FILE, Rejection
from distill.report.model_card import choose_license, model_card, report_claims
from distill.report.report import Report
from distill.report.student_page import PAGE, student_page
from distill.student import CONFIG_FILE, WEIGHTS_FILE, save_network
from distill.training.checkpoint import delete_checkpoint
from distill.training.loop import Trained
from zoo.errors import StudentError, first_line
from zoo.images.folder import TRAINED_ON, Images, save_trained_on
from zoo.system.files import atomic_folder, is_unused, write_atomic
from zoo.teachers.card import TeacherCard, sha256_of

EXPORTS = ("model.onnx", "model.xml", "model.bin", "model.tflite", "model.pte", "model.pt2")
"""Files of `zoo export`, which belong to the weights; in int8 they are called model.int8.onnx."""

PACKAGE = "model.mlpackage"
"""Folder of `zoo export --format coreml`."""


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a student may be saved in a folder; `overwrite` replaces a student, nothing else.

    Raises:
        StudentError: the folder is not writable, or neither empty nor that of a student.
    """
    if folder.is_file():
        raise StudentError(f"{folder} is a file: choose another --save.")
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(above, os.W_OK):
        raise StudentError(f"No permission to write in {above}: choose another --save.")
    if not folder.is_dir() or is_unused(folder):
        return
    config = folder / CONFIG_FILE
    if not (config.is_file() and b'"label_names"' in config.read_bytes()):
        raise StudentError(f"{folder} is not empty, and no student: choose another --save.")
    if not overwrite:
        raise StudentError(f"{folder} is not empty: pass --overwrite or choose another --save.")


def save_student(
    trained: Trained,
    report: Report,
    folder: Path,
    *,
    cards: Sequence[TeacherCard] = (),
    ranking: Mapping[str, Any] | None = None,
    rejection: Rejection | None = None,
    images: Images | None = None,
) -> str:
    """Write the student, its model card, report, history and page.

    Args:
        trained: the student.
        report: of the run.
        folder: timm loads it as `local-dir:FOLDER`.
        cards: of the teachers in the report.
        ranking: source of the shares, written as ranking.json.
        rejection: tells unknown images, written as unknown.safetensors.
        images: that it was trained on; their digests are kept in case it becomes a teacher.

    Returns:
        Why the page could not be written; empty if it was.

    Raises:
        StudentError: the folder cannot be written.

    Example:
        >>> from distill import save_student
        >>> save_student(trained, report, Path("student"), cards=list_cards())
    """
    history = "".join(json.dumps(entry) + "\n" for entry in trained.history)
    document = _to_text(report.to_json())
    # a line per list of numbers: a confusion matrix has many
    document = re.sub(r"\[\n[-+\d.e,\s]*\]", lambda found: "".join(found[0].split()), document)
    try:
        with atomic_folder(folder, first=CONFIG_FILE) as part:
            write_atomic(part / "metrics.jsonl", history)
            write_atomic(part / "report.json", document)
            if ranking:
                write_atomic(part / "ranking.json", _to_text(ranking))
            if images:
                save_trained_on(images, part)
            write_atomic(part / "README.md", model_card(report, cards))
            save_network(
                trained.network,
                part,
                arch=report.arch,
                labels=report.classes,
                preprocessing=trained.preprocessing,
                license=choose_license(report_claims(report, cards)),
                temperature=report.temperature,
            )
            if rejection:
                rejection.save(part, sha256_of(part / WEIGHTS_FILE))
            warning = ""
            try:
                page = student_page(
                    report,
                    history=trained.history,
                    cards=cards,
                    ranking=ranking,
                    sha256=sha256_of(part / WEIGHTS_FILE),
                )
                write_atomic(part / PAGE, page)
            except Exception as error:  # of the page alone: it may not lose the student
                why = f"could not be written ({first_line(error)}); the student is saved."
                warning = f"{folder / PAGE} {why}"
            optional = {"ranking.json": ranking, REJECTION_FILE: rejection}
            _delete_stale(folder, [name for name, content in optional.items() if not content])
    except OSError as error:
        raise StudentError(
            f"The student could not be saved in {folder}: {error.strerror or error}. "
            "Free some disk space or choose another --save, and run again."
        ) from error
    delete_checkpoint(trained.state)
    return warning


def copy_student(student: Path, folder: Path) -> None:
    """Copy a saved student; what belongs to a previous one in the folder is deleted.

    Raises:
        StudentError: the folder cannot be written.
    """
    try:
        with atomic_folder(folder, first=CONFIG_FILE) as part:
            for path in student.iterdir():
                if path.is_file():
                    shutil.copy(path, part)
            _delete_stale(folder, ["ranking.json", REJECTION_FILE])
    except OSError as error:
        raise StudentError(
            f"The student could not be saved in {folder}: {error.strerror or error}."
        ) from error


def _delete_stale(folder: Path, lacking: Sequence[str]) -> None:
    """Delete the page, the exports and what this student lacks of a previous student."""
    names = [PAGE, TRAINED_ON, f"{PACKAGE}.json", *lacking]
    for name in EXPORTS:
        small = name.replace("model", "model.int8")
        names += [name, small, f"{name}.json", f"{small}.json"]
    for name in names:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / PACKAGE, ignore_errors=True)


def _to_text(document: Mapping[str, Any]) -> str:
    """A document as JSON; bytes in names of files that are not UTF-8 are escaped."""
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()
