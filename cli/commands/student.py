"""`zoo students`: which student to train; `zoo eval`, `predict`, `export`: use a saved one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, tables, terminal
from zoo.errors import StudentError

if TYPE_CHECKING:
    from distill.evaluation.prediction import Prediction, Predictions
    from zoo.images.folder import Images
    from zoo.system.runtime import Runtime

app = typer.Typer(rich_markup_mode=None)


class FileFormat(StrEnum):
    """A kind of file for a runtime; `distill.export.formats.FORMATS` has the same names."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    LITERT = "litert"
    EXECUTORCH = "executorch"
    TORCH = "torch"
    COREML = "coreml"


FILE_FORMATS = (
    "The kind of file: .onnx, OpenVINO's .xml and .bin, LiteRT's .tflite, ExecuTorch's .pte, .pt2 "
    "of torch.export or CoreML's .mlpackage."
)


@app.command()
def students(
    image_size: options.ImageSize = 128,
    max_ms: Annotated[
        float | None, typer.Option(min=0, help="At most so many milliseconds for an image.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(min=0, help="At most so many megabytes of weights.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show students to choose from, the fastest first.

    Times are medians for one image on one thread of this machine, measured once; megabytes are
    those of the saved student. --arch takes any other network of timm as well.
    """
    from distill.catalogue import list_students

    limits = {"max_ms": max_ms, "max_mb": max_mb}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    with terminal.runtime() as runtime:
        found = list_students(image_size, **given, runtime=runtime)
    if as_json:
        terminal.print_json([asdict(student) for student in found])
    else:
        tables.student_table(found, image_size)


@app.command("eval")
def evaluate(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    target: options.RequiredTarget,
    labels: options.Labels = None,
    ignore_unknown: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown", help="Leave out images of classes that the student does not know."
        ),
    ] = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Test a student on labeled images."""
    from distill.evaluation.evaluate import evaluate_student

    with terminal.runtime(device) as runtime:
        result = evaluate_student(
            student, target, labels=labels, ignore_unknown=ignore_unknown, runtime=runtime
        )
    if as_json:
        proportion = {
            "balanced_accuracy": result.balanced_accuracy,
            "majority_class_accuracy": result.majority_class_accuracy,
        }
        terminal.print_json({**asdict(result), **proportion})
    else:
        tables.evaluation_table(result)


@app.command()
def predict(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images or folders.")],
    top: Annotated[
        int | None, typer.Option(min=1, help="Show the most likely classes, so many.")
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="Say which images are unlike all that it was trained on."),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a CSV table with all probabilities on stdout.")
    ] = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Name the class of images.

    Folders of any size: images are read as they are predicted. A file that cannot be read has a
    row that says why, and the exit code is 1 in the end.
    """
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    from distill.evaluation.prediction import predict_files

    with terminal.runtime(device) as runtime:
        found = predict_files(student, paths, unknown=unknown, runtime=runtime)
        if as_json:
            terminal.print_json_list(row.to_json(top) for row in found)
        elif as_csv:
            terminal.print_csv(csv_rows(found, top, unknown=unknown))
        else:
            for row in found:
                terminal.say(*text_row(row, top))
    if found.unreadable:
        terminal.note(f"{found.unreadable} of {found.count} images could not be read.")
        raise typer.Exit(1)


def text_row(row: Prediction, top: int | None) -> list[str]:
    """Path, class and probability; with `top` further ones, also where the class is unknown."""
    if row.error:
        return [row.path, "unreadable", row.error]
    pairs = [*row.probabilities.items()][: top or 1]
    likely = [word for name, part in pairs for word in (name, f"{part:.3f}")]
    if row.unknown:
        return [row.path, "unknown", f"distance {row.distance:.2f}", *(likely if top else [])]
    return [row.path, *likely]


def csv_rows(found: Predictions, top: int | None, *, unknown: bool) -> Iterator[list[str]]:
    """A header and a row for each image: probabilities of all classes, or the `top` classes."""
    head = ["path", "label", "probability", *(["unknown", "distance"] if unknown else [])]
    places = range(1, min(top, len(found.classes))) if top else ()
    further = [f"p({name})" for name in found.classes]
    if top:
        further = [title.format(n + 1) for n in places for title in ("label {}", "probability {}")]
    yield [*head, *further, "error"]
    for row in found:
        if row.error:
            yield [row.path, *[""] * (len(head) - 1 + len(further)), row.error]
            continue
        cells = [row.path, row.label, f"{row.probability:.6f}"]
        cells += [str(row.unknown).lower(), f"{row.distance:.3f}"] if unknown else []
        parts = {name: f"{part:.6f}" for name, part in row.probabilities.items()}
        if top:
            pairs = [*parts.items()]
            cells += [cell for place in places for cell in pairs[place]]
        else:
            cells += [parts[name] for name in found.classes]
        yield [*cells, ""]


@app.command()
def export(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", show_default="onnx", help=FILE_FORMATS)
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="The same as --format onnx.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8 bits, with ranges measured on --target.")
    ] = False,
    with_resize: Annotated[
        bool,
        typer.Option("--with-resize", help="An ONNX file that takes images of any size."),
    ] = False,
    target: Annotated[
        Path | None,
        typer.Option(help="Folder of images, labeled or not, to compare the file on."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Folder of held-out labeled images for the accuracy, else --target."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; else model.onnx, model.int8.onnx (...) in STUDENT."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Export a student for another runtime.

    Input: pixels, uint8 of 0 to 255; output: probabilities. The file is written only if it
    agrees with the student, as far as its runtime works here; times are of one image on one
    thread.
    """
    if onnx and file_format not in (None, FileFormat.ONNX):
        raise typer.BadParameter("choose one of --onnx and --format")
    name = (file_format or FileFormat.ONNX).value
    if int8 and target is None:
        raise typer.BadParameter("--int8 needs --target, images to measure its ranges on")
    if with_resize and name != "onnx":
        raise typer.BadParameter("--with-resize goes with --format onnx")
    from distill.export.export import export_student
    from distill.export.formats import check_format
    from zoo.images.folder import count_trained_on
    from zoo.images.source import check_output
    from zoo.images.warnings import describe_overlap

    kind = check_format(name, int8=int8)
    path = out or student / f"model{'.int8' if int8 else ''}{kind.suffix}"
    check_files(kind.files(path), kind.suffix, overwrite=overwrite)
    if places := [folder for folder in (target, test) if folder is not None]:
        check_output(path, places, "--out")
    with terminal.runtime() as runtime:
        images, held_out = read_folder(target, runtime), read_folder(test, runtime)
        if (tested := held_out or images) and (seen := count_trained_on(tested, student)):
            runtime.warn(describe_overlap(seen, tested.labeled))
        exported = export_student(
            student,
            path,
            format=name,
            images=images and images.sample(),
            test=held_out,
            int8=int8,
            with_resize=with_resize,
            progress=runtime.progress("exporting"),
        )
    terminal.note(tables.unknown_classes_note(exported))
    terminal.note(tables.export_warning(exported))
    if as_json:
        terminal.print_json(exported.to_json())
    else:
        tables.export_lines(exported)


def read_folder(folder: Path | None, runtime: Runtime) -> Images | None:
    """The images of a folder, if one is given; its warnings are shown."""
    if folder is None:
        return None
    from zoo.images.folder import read_images

    images = read_images(folder, progress=runtime.progress("reading images"))
    for message in images.warnings:
        runtime.warn(message)
    return images


def check_files(files: Sequence[Path], suffix: str, *, overwrite: bool) -> None:
    """Raise a StudentError, before any work, if the files of an export may not be written.

    The first of them has this suffix.
    """
    path = files[0]
    if path.suffix != suffix:
        raise StudentError(f"{path} does not end in {suffix}: choose another --out.")
    if path.is_dir() and not (path / "Manifest.json").is_file():  # as a package of CoreML has
        raise StudentError(f"{path} is a folder: choose another --out.")
    for file in files:
        if file.exists() and not overwrite:
            raise StudentError(f"{file} exists already: pass --overwrite or choose another --out.")
