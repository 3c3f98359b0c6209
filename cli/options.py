"""Options that several commands share."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from distill.recipe import LARGEST_BATCH, Recipe
from zoo.system.timing import parse_duration


def existing_folder(folder: Path | None) -> Path | None:
    """Refuse a folder that is not there before the images of the target are read."""
    from zoo.images.dataset import is_dataset
    from zoo.images.walk import check_folder

    if folder and not is_dataset(folder):
        check_folder(folder)
    return folder


_TARGET = typer.Option(
    help="Folder of images: sub-folders are classes, loose ones unlabeled. Or "
    "hf://datasets/OWNER/NAME:SPLIT, which is fetched once."
)
Target = Annotated[Path | None, _TARGET]
RequiredTarget = Annotated[Path, _TARGET]
Unlabeled = Annotated[
    Path | None,
    typer.Option(
        callback=existing_folder,
        help="Folder of more images without labels, also inside --target, or hf://datasets/...",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(help="CSV file with the columns path,label; it replaces the sub-folders."),
]
LabelsPerClass = Annotated[
    int | None,
    typer.Option(
        min=1, help="Keep this many labels of each class and hide the others, for experiments."
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**31, help="Random seed.")]
Power = Annotated[
    float | None,
    typer.Option(min=0, max=1000, help="Share is score to this power; 0 is equal shares."),
]


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", name):
        raise typer.BadParameter(f"{name!r} is not one of auto, cpu, cuda, cuda:1 (...), mps")
    return name


Device = Annotated[
    str, typer.Option(callback=_known_device, help="auto, cpu, cuda (or cuda:1, ...) or mps.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def _known_metrics(names: str | None) -> str | None:
    from selection.metrics import parse_metrics
    from zoo.errors import RankingError

    try:
        return None if names is None else ",".join(parse_metrics(names))
    except RankingError as error:
        raise typer.BadParameter(str(error)) from error


Metrics = Annotated[
    str | None,
    typer.Option(
        callback=_known_metrics,
        help="Measure of closeness, see docs/metrics.md. Several with commas: order by mean rank, "
        "shares from the first.",
    ),
]
MaxUnlabeled = Annotated[
    int | None,
    typer.Option(
        min=0, show_default="500", help="Run the teachers on at most so many unlabeled images."
    ),
]
OldProbe = Annotated[int | None, typer.Option("--probe", min=0, hidden=True)]
"""The name of --max-unlabeled in 0.1."""
Shortlist = Annotated[
    int | None,
    typer.Option(
        min=1, help="Rank only so many teachers: the nearest by fingerprint, and large ones nearby."
    ),
]

Top = Annotated[
    int | None,
    typer.Option(min=1, help="Shares for so many teachers only: close, and not redundant."),
]

Arch = Annotated[
    str,
    typer.Option(
        help="The student: any timm name or alias. auto is mobilenetv3, or efficientnet_lite0 if "
        "only that has weights of ImageNet on this machine."
    ),
]
Start = Annotated[
    str, typer.Option(help="Initial weights: auto, builtin, hub, random or a folder.")
]
ImageSize = Annotated[
    int, typer.Option(min=32, max=1024, help="Image size of the student, in pixels.")
]


def _read_size(text: str) -> int:
    if text == "auto":
        return 0  # as if the option was not given
    if not (text.isdecimal() and 32 <= int(text) <= 1024):
        raise typer.BadParameter(f"{text!r} is neither auto nor a number from 32 to 1024")
    return int(text)


StudentSize = Annotated[
    int | None,
    typer.Option(
        parser=_read_size,
        show_default="auto",
        metavar="PIXELS",
        help="Image size of the student: auto, or pixels. auto takes that of the initial weights, "
        "less where the images are smaller, and at most 160 on a CPU.",
    ),
]
Updates = Annotated[
    int | None, typer.Option(min=1, show_default="200", help="Steps of the optimizer.")
]


def _read_time(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Budget = Annotated[
    float | None,
    typer.Option(
        parser=_read_time,
        metavar="TIME",
        help="Finish in about this time, such as 90s, 20m or 1h30m: measure the machine, print "
        "the plan, choose the numbers.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Measure for a few seconds, print the plan and stop.")
]
Flip = Annotated[
    bool,
    typer.Option(
        "--flip", help="Mirror images at random: right for photos, wrong for digits or signs."
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Also write the losses there for TensorBoard, while it runs."
    ),
]
WandB = Annotated[
    str | None,
    typer.Option("--wandb", metavar="PROJECT", help="Also send the losses to Weights & Biases."),
]
MLflow = Annotated[
    str | None,
    typer.Option("--mlflow", metavar="EXPERIMENT", help="Also send the losses to MLflow."),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", min=0, max=1, show_default="0.001", help="Peak learning rate of AdamW."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=LARGEST_BATCH,
        show_default="32",
        help="Labeled images in an update; twice as many for the losses without labels.",
    ),
]
RANKING_FILE = Path("ranking.json")
"""Where `zoo rank` writes and `zoo distill` reads if nothing else is said."""
RankingFile = Annotated[
    Path | None,
    typer.Option(
        "--ranking",
        metavar="FILE",
        show_default="ranking.json",
        help="A ranking of `zoo rank --save FILE`.",
    ),
]
Test = Annotated[
    Path | None,
    typer.Option(
        callback=existing_folder,
        help="Folder of held-out labeled images to test on, or hf://datasets/...",
    ),
]

ZOO = "builtin, hub, all, a folder of teachers, OWNER/NAME on the Hub, or some with commas."
RankedZoo = Annotated[
    str,
    typer.Option(
        help=f"{ZOO} From hub and all, only pulled teachers and the default set are ranked."
    ),
]
AnyZoo = Annotated[str, typer.Option(help=ZOO)]
Domain = Annotated[str | None, typer.Option(help="Only teachers whose domain has this in it.")]


class License(StrEnum):
    """A kind of license."""

    PERMISSIVE = "permissive"


Licensed = Annotated[
    License | None,
    typer.Option(
        "--license",
        help="Only teachers whose weights, initial weights and training data have such a license.",
    ),
]


class Baseline(StrEnum):
    """A method without teachers."""

    TRANSFER = "transfer"
    FIXMATCH = "fixmatch"
    PROBE = "probe"


class Objective(StrEnum):
    """In which classes the student imitates the teachers."""

    TARGET = "target"
    SOURCE = "source"


TrainedIn = Annotated[
    Objective,
    typer.Option(help="Imitate teachers in the target's classes (ours) or in their own (paper)."),
]


class Compared(StrEnum):
    """A method to compare."""

    TRANSFER = "transfer"
    FIXMATCH = "fixmatch"
    NEAREST = "nearest"
    WEIGHTED = "weighted"
    PROBE = "probe"


def read_recipe(
    budget: float | None,
    updates: int | None,
    flip: bool,
    seed: int,
    *,
    rate: float | None = None,
    batch: int | None = None,
) -> Recipe:
    """The recipe given by the options; a budget chooses the updates."""
    if budget and updates is not None:
        raise typer.BadParameter("--budget chooses the updates: leave out --updates")
    recipe = Recipe(flip=flip, seed=seed)
    if rate is not None:
        recipe = replace(recipe, learning_rate=rate)
    if batch is not None:
        recipe = replace(recipe, labeled_batch=batch, unlabeled_batch=2 * batch)
    return recipe if updates is None else replace(recipe, updates=updates)


def command_line() -> str:
    """The command that runs, as it can be typed again; bytes that are not UTF-8 as `?`."""
    words = shlex.join(["zoo", *sys.argv[1:]])
    return words.encode("utf-8", "replace").decode()
