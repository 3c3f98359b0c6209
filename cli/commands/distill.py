"""`zoo distill`: train a small student from images and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, tables, terminal
from zoo.errors import RankingError
from zoo.system.timing import Deadline
from zoo.teachers.catalogue import absolute_zoo, find_card, licensed_zoo, list_cards

if TYPE_CHECKING:
    from distill.recipe import Method
    from selection import Ranking
    from zoo.images.folder import Images
    from zoo.images.source import ImageSource

LARGEST_SHARE = 1e9
UNUSED = "A probe has no updates: --updates, --lr, --batch-size and --flip change nothing."
app = typer.Typer(rich_markup_mode=None)


@app.command()
def distill(
    target: options.Target = None,
    ranking: options.RankingFile = None,
    zoo: Annotated[
        str | None, typer.Option(help=f"{options.ZOO} Else the ranking's, or builtin.")
    ] = None,
    license: options.Licensed = None,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="All teachers, by closeness (the default).")
    ] = False,
    nearest: Annotated[bool, typer.Option("--nearest", help="The closest teacher alone.")] = False,
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="This teacher, with this share; repeatable."),
    ] = None,
    baseline: Annotated[options.Baseline | None, typer.Option(help="No teachers at all.")] = None,
    objective: options.TrainedIn = options.Objective.TARGET,
    power: options.Power = None,
    arch: options.Arch = "auto",
    start: options.Start = "auto",
    unlabeled: options.Unlabeled = None,
    labels: options.Labels = None,
    labels_per_class: options.LabelsPerClass = None,
    test: options.Test = None,
    image_size: options.StudentSize = None,
    updates: options.Updates = None,
    lr: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    flip: options.Flip = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    save: Annotated[Path, typer.Option(help="Folder for the student.")] = Path("student"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the student in the folder.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Train three more students, which calibrate the probabilities."
        ),
    ] = False,
    tensorboard: options.TensorBoard = None,
    wandb: options.WandB = None,
    mlflow: options.MLflow = None,
    budget: options.Budget = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Train a small student from your images and the teachers.

    Without --target it continues from ./ranking.json or --ranking FILE. With it, and no ranking
    of those images there, the teachers are ranked first.
    """
    deadline = Deadline(budget)
    method = choose_method(weighted, nearest, teacher, baseline)
    check_options(method, power, objective, ranking, zoo, license)
    if license:
        zoo = licensed_zoo(zoo or ("all" if teacher else "builtin"), license)
    terminal.note(UNUSED if method == "probe" and any((flip, updates, lr, batch_size)) else "")
    recipe = options.read_recipe(budget, updates, flip, seed, rate=lr, batch=batch_size)
    from distill.pipeline import DistillationJob, load_test
    from distill.recipe import RANKED, Distillation
    from distill.training.tracking import Tracking
    from selection import ranker

    shares = parse_shares(teacher or [], zoo or "all")
    how = Distillation(
        method, shares, objective.value, zoo, power, arch, start, image_size or None, recipe
    )
    source = choose_source(target, unlabeled, labels, labels_per_class, seed, ranking)
    messages: list[str] = []
    with terminal.runtime(device, seed) as runtime:
        collecting = runtime.collect(messages)
        images = source.read(collecting)
        job = DistillationJob(
            images,
            how,
            ranking=saved_ranking(images, zoo, ranking) if method in RANKED else None,
            ranker=ranker,
            test=load_test(test, images, collecting),
            save=save,
            overwrite=overwrite,
            calibrate=calibrate,
            tracking=Tracking(tensorboard, wandb, mlflow),
            command=options.command_line(),
            messages=messages,
            runtime=runtime,
        )
        plan = job.plan(deadline) if budget or dry_run else None
        if plan:
            tables.plan_table(plan, as_json=as_json, dry_run=dry_run)
        if dry_run:
            return
        report = job.run(plan)
    terminal.note(deadline.overrun)
    if as_json:
        terminal.print_json(report.summary())
    else:
        tables.report_lines(report)


def check_options(
    method: Method,
    power: float | None,
    objective: options.Objective,
    ranking: Path | None,
    zoo: str | None,
    license: object,
) -> None:
    """Raise a BadParameter for options that do not go with a method."""
    if power is not None and method != "weighted":
        raise typer.BadParameter("--power goes with --weighted")
    if ranking and method not in ("weighted", "nearest"):
        raise typer.BadParameter("--ranking goes with --weighted and --nearest")
    if method in ("weighted", "nearest", "teachers"):
        return
    if objective is options.Objective.SOURCE:
        raise typer.BadParameter("--objective needs teachers, and --baseline has none")
    if zoo or license:
        raise typer.BadParameter("--zoo and --license choose teachers, and --baseline has none")


def choose_method(
    weighted: bool, nearest: bool, teacher: list[str] | None, baseline: options.Baseline | None
) -> Method:
    """The method that the options name, weighted if none does; several are a BadParameter."""
    if sum([weighted, nearest, bool(teacher), baseline is not None]) > 1:
        raise typer.BadParameter("choose one of --weighted, --nearest, --teacher and --baseline")
    if baseline:
        return baseline.value
    return "teachers" if teacher else "nearest" if nearest else "weighted"


def choose_source(
    target: Path | None,
    unlabeled: Path | None,
    labels: Path | None,
    labels_per_class: int | None,
    seed: int,
    file: Path | None,
) -> ImageSource:
    """Where the images are: as the options say, or without a target as a ranking does.

    Raises:
        BadParameter: options describe images, and there is no target.
        RankingError: there is no target, and the ranking cannot be read.
    """
    from selection import Ranking
    from zoo.images.source import ImageSource

    if target is not None:
        return ImageSource(target, unlabeled, labels, labels_per_class, seed)
    if unlabeled or labels or labels_per_class:
        raise typer.BadParameter("--unlabeled, --labels and --labels-per-class need --target")
    ranking = Ranking.load(file or options.RANKING_FILE)
    return ImageSource(
        Path(ranking.target),
        Path(ranking.unlabeled) if ranking.unlabeled else None,
        Path(ranking.labels) if ranking.labels else None,
        ranking.labels_per_class,
        ranking.seed if ranking.labels_seed is None else ranking.labels_seed,
    )


def saved_ranking(images: Images, zoo: str | None, file: Path | None = None) -> Ranking | None:
    """The ranking in ./ranking.json if it is of these very images and this zoo, or that of a file.

    Raises:
        RankingError: the file cannot be read, or is of other images or another zoo.
    """
    from selection import Ranking

    path = file or options.RANKING_FILE
    if file is None and not path.exists():
        return None
    saved = Ranking.load(path)
    fits = saved.digest == images.digest, zoo is None or absolute_zoo(zoo) == saved.zoo
    if file and not all(fits):
        what = "another zoo" if fits[0] else "other images or labels"
        raise RankingError(f"{file} is a ranking of {what}: run `zoo rank` again, or leave it out.")
    return saved if all(fits) else None


def parse_shares(entries: Sequence[str], zoo: str = "all") -> dict[str, float]:
    """Shares by hand, `NAME=SHARE` or `NAME` each, normalized to sum 1.

    Raises:
        BadParameter: an entry is malformed, double or not above 0.
        TeacherNotFound: no teacher has this name.
    """
    shares: dict[str, float] = {}
    cards = list_cards(zoo) if entries else []
    for entry in entries:
        name, equals, text = entry.partition("=")
        try:
            share = float(text) if equals else 1.0
        except ValueError:
            share = -1.0
        if not 0 < share <= LARGEST_SHARE:
            raise typer.BadParameter(
                f"{entry!r} is not NAME=SHARE with a share above 0, of 1e9 at most",
                param_hint="--teacher",
            )
        card = find_card(name, cards)
        if card.name in shares:
            raise typer.BadParameter(f"{name!r} is named twice", param_hint="--teacher")
        shares[card.name] = share
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}
