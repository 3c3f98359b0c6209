"""`zoo check`: what is wrong with a folder of images, and what to label next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, terminal
from cli.commands.distill import saved_ranking
from zoo.errors import ImagesError
from zoo.system.distributed import is_first_process
from zoo.system.files import check_replaced, saving, write_atomic
from zoo.system.json_files import write_json

if TYPE_CHECKING:
    from zoo.images.source import ImageSource

app = typer.Typer(rich_markup_mode=None)


@app.command()
def check(
    target: options.RequiredTarget,
    test: Annotated[
        Path | None,
        typer.Option(
            callback=options.existing_folder,
            help="Folder of test images: find those that are in the target too.",
        ),
    ] = None,
    suggest: Annotated[
        int, typer.Option(min=0, help="Suggest so many unlabeled images to label next.")
    ] = 0,
    save_labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a CSV file for --labels: images to label, doubted labels, all others.",
        ),
    ] = None,
    zoo: options.RankedZoo = "builtin",
    unlabeled: options.Unlabeled = None,
    labels: options.Labels = None,
    labels_per_class: options.LabelsPerClass = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    save: Annotated[Path, typer.Option(help="File for the findings.")] = Path("check.json"),
    report: Annotated[
        Path, typer.Option(help="Page that shows the images found.", metavar="FILE")
    ] = Path("check.html"),
    as_json: options.Json = False,
) -> None:
    """Check your images: wrong labels, copies, leaks into the test, outliers; what to label next.

    Nothing is trained but a linear probe on what the teachers see. Nothing is changed: the
    findings are for you to look at, on the page.
    """
    from zoo.images.source import ImageSource

    source = ImageSource(target, unlabeled, labels, labels_per_class, seed)
    _check_files(source, test, save, report, save_labels)
    from distill.report.check_page import check_page
    from selection import check_images

    with terminal.runtime(device, seed) as runtime:
        notes: list[str] = []
        images = source.read(runtime.collect(notes), need_labels=False)
        found = check_images(
            images, test=test, zoo=zoo, ranking=saved_ranking(images, zoo), suggest=suggest,
            runtime=runtime,
        )  # fmt: skip
        found = replace(found, notes=tuple(dict.fromkeys([*notes, *found.notes])))
        document = found.to_json()
        page = check_page(document, command=options.command_line())
    if not is_first_process():
        return
    with saving("findings", save):
        write_json(save, document)
    with saving("page", report, "--report"):
        write_atomic(report, page)
    if save_labels:
        with saving("label file", save_labels, "--save-labels"):
            # names that are not UTF-8 stay the bytes of the file system
            write_atomic(save_labels, found.label_file().encode(errors="surrogateescape"))
    if as_json:
        terminal.print_json(document)
        return
    for line in found.sentences:
        terminal.say(line)
    terminal.say(f"Look at them: {report}")
    if save_labels:
        terminal.say(
            f"To label: {save_labels}; fill in its column label, then pass it with --labels."
        )


def _check_files(
    source: ImageSource, test: Path | None, save: Path, report: Path, save_labels: Path | None
) -> None:
    """Refuse outputs that would replace other files or land among the images."""
    from zoo.images.source import check_output

    folders = [*source.folders, *([test] if test else [])]
    outputs = {"--save": save, "--report": report, "--save-labels": save_labels}
    given = {option: path for option, path in outputs.items() if path is not None}
    for option, path in given.items():
        check_output(path, folders, option)
    if len({path.absolute() for path in given.values()}) < len(given):
        raise typer.BadParameter("--save, --report and --save-labels need different files")
    check_replaced(save, b'"label_errors"', "file of findings")
    check_replaced(report, b"source-zoo, check of images", "page", "--report")
    if save_labels and save_labels.exists():  # it may hold labels that someone filled in
        raise ImagesError(
            f"{save_labels} exists already, and may hold labels: choose another --save-labels."
        )
