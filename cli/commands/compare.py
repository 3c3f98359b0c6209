"""`zoo compare`: several methods on the same labels, and which to ship."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from cli import options, tables, terminal
from zoo.system.timing import Deadline
from zoo.teachers.catalogue import licensed_zoo

app = typer.Typer(rich_markup_mode=None)


def read_part(text: str) -> tuple[int, int]:
    """I/N as two numbers; anything else is a BadParameter."""
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise typer.BadParameter(f"{text!r} is not I/N with I from 1 to N, such as 2/8")
    return part, parts


@app.command()
def compare(
    target: options.RequiredTarget,
    method: Annotated[
        list[options.Compared] | None,
        typer.Option(help="One to compare; repeatable. All if not given."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=3, help="Of the cross-validation when there is no --test.")
    ] = 3,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Students of each method, which differ in the random seed: 3, or fewer with "
            "--budget, if not given.",
        ),
    ] = None,
    zoo: options.RankedZoo = "builtin",
    license: options.Licensed = None,
    objective: options.TrainedIn = options.Objective.TARGET,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="Student, as for `zoo distill`; repeat it to weigh milliseconds and megabytes."
        ),
    ] = None,
    start: options.Start = "auto",
    unlabeled: options.Unlabeled = None,
    labels: options.Labels = None,
    labels_per_class: options.LabelsPerClass = None,
    test: options.Test = None,
    image_size: options.StudentSize = None,
    updates: options.Updates = None,
    flip: options.Flip = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    save: Annotated[Path, typer.Option(help="File of the comparison.")] = Path("comparison.json"),
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Train only every N-th student, from the I-th on, for jobs of a queue.",
        ),
    ] = None,
    budget: options.Budget = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Compare methods on your own labels, and name the best.

    Trains students by a probe, transfer, FixMatch, nearest and weighted, and tests all on the
    images of --test, or by cross-validation over the labeled ones. An interrupted comparison
    resumes from its file; more --seeds add to it. Parts keep their students beside that file, and
    the last one, or the command without --part, joins them.
    """
    own = read_part(part) if part else None
    if own and (budget or dry_run):
        raise typer.BadParameter("--budget and --dry-run plan the whole: leave out --part")
    deadline = Deadline(budget)
    recipe = options.read_recipe(budget, updates, flip, seed)
    from zoo.images.source import ImageSource, check_output

    source = ImageSource(target, unlabeled, labels, labels_per_class, seed)
    check_output(save, source.folders)
    from distill.compare import METHODS, ComparisonJob
    from distill.pipeline import load_test
    from distill.recipe import Distillation
    from selection import ranker

    how = Distillation(
        objective=objective.value, zoo=licensed_zoo(zoo, license), start=start,
        image_size=image_size or None, recipe=recipe,
    )  # fmt: skip
    with terminal.runtime(device, seed) as runtime:
        images = source.read(runtime)
        job = ComparisonJob(
            images,
            how,
            methods=[name for name in METHODS if not method or name in method],
            archs=arch or ["auto"],
            ranker=ranker,
            test=load_test(test, images, runtime),
            folds=folds,
            seeds=seeds,
            save=save,
            runtime=runtime,
        )
        plan = job.plan(deadline) if budget or dry_run else None
        if plan:
            tables.plan_table(plan, as_json=as_json, dry_run=dry_run)
        if dry_run:
            return
        left = job.run_part(*own) if own else 0
        comparison = None if left else job.run(plan)
    if comparison is None:
        terminal.note(f"{left} students of other parts are missing: the last part joins all.")
        return
    terminal.note(deadline.overrun)
    if as_json:
        terminal.print_json(comparison.to_json())
    else:
        tables.comparison_table(comparison)
