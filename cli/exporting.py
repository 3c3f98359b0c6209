"""What `zoo export` does: where the file goes, which images it is compared on, what people see."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import terminal
from cli.workflow import Bars, Task, check_output
from zoo.errors import StudentError
from zoo.images.folder import read_images

if TYPE_CHECKING:
    from distill.export.export import Exported


def export(
    student: Path, out: Path | None, target: Path | None, bars: Bars, *, int8: bool, overwrite: bool
) -> Exported:
    """Write a saved student as an ONNX file, compared on some of the images in a folder.

    Args:
        student: folder of the student.
        out: the file; None for `model.onnx` or `model.int8.onnx` beside the weights.
        target: folder of images, labeled or not; a sample of it is looked at.
        bars: of each piece of work.
        int8: quantize; needs a target.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ZooError: the file may not be written there, the images or the student cannot be used, or
            the file does not answer as the student does.
    """
    path = out or student / ("model.int8.onnx" if int8 else "model.onnx")
    check_file(path, overwrite=overwrite)
    if target is not None:
        check_output(path, Task(target), "--out")
    from distill.export.export import export_student
    from distill.export.onnx_file import check_extra

    check_extra()
    images = read_images(target, progress=bars("reading images")) if target else None
    terminal.note(images.skipped_warning if images else "")
    bar = bars("exporting")
    sample = images and images.sample()
    return export_student(student, path, images=sample, int8=int8, progress=bar)


def check_file(path: Path, *, overwrite: bool) -> None:
    """Make sure, before any work, that an ONNX file may be written here.

    Raises:
        StudentError: its name ends otherwise, or something is there.
    """
    if path.suffix != ".onnx":
        raise StudentError(f"{path} does not end in .onnx: choose another --out.")
    if path.is_dir():
        raise StudentError(f"{path} is a folder: choose another --out.")
    if path.exists() and not overwrite:
        raise StudentError(f"{path} exists already: pass --overwrite or choose another --out.")


def summary(exported: Exported) -> dict[str, Any]:
    """What was written as `zoo export --json` shows it."""
    from distill.export.export import AGREEMENT, TOLERANCE
    from distill.export.onnx_file import OPSET

    return {
        **asdict(exported),
        "path": str(exported.path),
        "bytes": exported.bytes,
        "opset": OPSET,
        "faithful": exported.faithful,
        "limits": {"difference": TOLERANCE, "agreement": AGREEMENT},
    }


def show(exported: Exported) -> None:
    """Cost of each runtime, then in words how near the file is to the student."""
    terminal.show_rows(
        ["runtime", "numbers", "ms, median>", "ms, 95 %>", "MB>"],
        [
            (
                row.name,
                row.numbers,
                f"{row.latency.median:.2f}",
                f"{row.latency.p95:.2f}",
                f"{row.bytes / 1e6:.2f}",
            )
            for row in exported.runtimes
        ],
    )
    terminal.say("One image at a time on one thread of this machine, without reading the file.")
    agreed = ""
    if exported.agreement is not None:
        agreed = f"; the top class is the same for {exported.agreement:.1%} of the images"
    where = f"{exported.images} images" if exported.images else "random images"
    gap = f"a probability differs by up to {exported.difference:.1e}"
    terminal.say(f"Against torch on {where}: {gap}{agreed}.")
    terminal.say(f"Saved as {exported.path}: uint8 pixels in, probabilities out.")


def warning(exported: Exported) -> str:
    """What to beware of; empty for a file that answers as the student does."""
    if exported.faithful or exported.agreement is None:
        return ""
    return (
        f"Beware: {exported.path} names another class than the student for "
        f"{1 - exported.agreement:.1%} of {exported.images} images. Test it before you ship it, or "
        "export without --int8."
    )
