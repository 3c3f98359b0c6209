"""The commands on students: distill, compare, eval, predict and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.options import (
    ZOO,
    Arch,
    Baseline,
    Budget,
    Compared,
    Device,
    DryRun,
    Flip,
    ImageSize,
    Json,
    Labels,
    LabelsPerClass,
    Objective,
    Power,
    RankedZoo,
    RequiredTarget,
    Seed,
    Start,
    Target,
    TaughtIn,
    TensorBoard,
    Test,
    Unlabeled,
    Updates,
    read_recipe,
)
from cli.results import evaluation_table, outlook_table
from zoo.budget import Watch

app = typer.Typer(rich_markup_mode=None)


@app.command()
def distill(
    target: Target = None,
    zoo: Annotated[str | None, typer.Option(help=f"{ZOO} Else the ranking's, or builtin.")] = None,
    weighted: Annotated[
        bool, typer.Option("--weighted", help="All teachers, by closeness (the default).")
    ] = False,
    nearest: Annotated[bool, typer.Option("--nearest", help="The closest teacher alone.")] = False,
    teacher: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SHARE", help="This teacher, with this share; repeatable."),
    ] = None,
    baseline: Annotated[Baseline | None, typer.Option(help="No teachers at all.")] = None,
    objective: TaughtIn = Objective.TARGET,
    power: Power = None,
    arch: Arch = "mobilenetv3",
    start: Start = "builtin",
    unlabeled: Unlabeled = None,
    labels: Labels = None,
    labels_per_class: LabelsPerClass = None,
    test: Test = None,
    image_size: ImageSize = 64,
    updates: Updates = None,
    flip: Flip = False,
    seed: Seed = 0,
    device: Device = "auto",
    save: Annotated[Path, typer.Option(help="Folder for the student.")] = Path("student"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the student in the folder.")
    ] = False,
    tensorboard: TensorBoard = None,
    budget: Budget = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a small student from your images and the teachers.

    Without --target it continues from ./ranking.json. With it, and no ranking of those images
    there, the teachers are ranked first.
    """
    watch = Watch(budget)
    chosen = [weighted, nearest, bool(teacher), baseline is not None]
    if sum(chosen) > 1:
        raise typer.BadParameter("choose one of --weighted, --nearest, --teacher and --baseline")
    if power is not None and (nearest or teacher or baseline):
        raise typer.BadParameter("--power goes with --weighted")
    if objective is Objective.SOURCE and baseline:
        raise typer.BadParameter("--objective needs teachers, and --baseline has none")
    recipe = read_recipe(budget, updates, flip, seed)
    if target is None and (unlabeled or labels or labels_per_class):
        raise typer.BadParameter("--unlabeled, --labels and --labels-per-class need --target")
    from cli import distilling
    from cli.teachers import parse_shares
    from cli.workflow import Task, command_line
    from selection import Ranking

    try:
        shares = parse_shares(teacher or [], zoo or "all")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--teacher") from error
    taught = "teachers" if teacher else "nearest" if nearest else "weighted"
    method = baseline.value if baseline else taught
    recipe = distilling.recipe_for(method, recipe)
    plan = distilling.Plan(
        method, shares, objective.value, zoo, power, arch, start, recipe, image_size, device, save,
        command=command_line(), tensorboard=tensorboard,
    )  # fmt: skip
    if target is None:
        task = Task.of_ranking(Ranking.load(distilling.RANKING_FILE))
    else:
        task = Task(target, unlabeled, labels, labels_per_class, seed)
    with terminal.progress_bars() as bars:
        images = terminal.read_task(task, bars)
        held_out = distilling.read_test(test, images, bars) if test else None
        ahead = None
        if budget or dry_run:
            from cli.foreseeing import foresee_student

            ahead = foresee_student(
                plan, task, images, bars, watch, test=held_out, overwrite=overwrite
            )
            outlook_table(ahead.outlook, as_json=as_json, dry_run=dry_run)
        if dry_run:
            return
        settle = ahead.settle if ahead else None
        report = distilling.distill_target(
            plan, task, images, bars, test=held_out, overwrite=overwrite, settle=settle
        )
    if ahead:
        ahead.memory.delete_checkpoint()
    for text in (*report.notes, watch.verdict):
        terminal.note(text)
    if as_json:
        terminal.print_json(report.summary())
    else:
        terminal.report_lines(report)


@app.command()
def compare(
    target: RequiredTarget,
    method: Annotated[
        list[Compared] | None, typer.Option(help="One to compare; repeatable. All if not given.")
    ] = None,
    folds: Annotated[
        int, typer.Option(min=3, help="Of the cross-validation when there is no --test.")
    ] = 3,
    zoo: RankedZoo = "builtin",
    objective: TaughtIn = Objective.TARGET,
    arch: Arch = "mobilenetv3",
    start: Start = "builtin",
    unlabeled: Unlabeled = None,
    labels: Labels = None,
    labels_per_class: LabelsPerClass = None,
    test: Test = None,
    image_size: ImageSize = 64,
    updates: Updates = None,
    flip: Flip = False,
    seed: Seed = 0,
    device: Device = "auto",
    save: Annotated[Path, typer.Option(help="File of the comparison.")] = Path("comparison.json"),
    budget: Budget = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Compare transfer, FixMatch, nearest and weighted on your own labels.

    Says which to ship and whether the difference is noise: on the images of --test, or by
    cross-validation over the labeled ones. A stopped comparison goes on from its file.
    """
    watch = Watch(budget)
    recipe = read_recipe(budget, updates, flip, seed)
    from cli.comparing import METHODS, compare_methods
    from cli.distilling import Method, Plan, overlap_note, read_test
    from cli.workflow import Task, check_output

    task = Task(target, unlabeled, labels, labels_per_class, seed)
    check_output(save, task)
    plan = Plan(
        "weighted", {}, objective.value, zoo, None, arch, start, recipe, image_size, device, save
    )
    chosen: list[Method] = [name for name in METHODS if not method or name in method]
    with terminal.progress_bars() as bars:
        images = terminal.read_task(task, bars)
        held_out = read_test(test, images, bars) if test else None
        settle = None
        if budget or dry_run:
            from cli.foreseeing import foresee_comparison

            ahead = foresee_comparison(
                plan, task, images, bars, watch, methods=chosen, test=held_out, folds=folds
            )
            outlook_table(ahead.outlook, as_json=as_json, dry_run=dry_run)
            settle = None if ahead.kept else ahead.settle
            plan = ahead.settle(plan) if ahead.kept and not dry_run else plan
        if dry_run:
            return
        comparison = compare_methods(
            plan, task, images, bars, methods=chosen, test=held_out, folds=folds, settle=settle
        )
    terminal.note(overlap_note(images, held_out))
    terminal.note(watch.verdict)
    if as_json:
        terminal.print_json(comparison.to_json())
    else:
        terminal.comparison_table(comparison)


@app.command("eval")
def evaluate(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    target: RequiredTarget,
    labels: Labels = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Test a student on labeled images."""
    from cli.using import evaluate_student

    with terminal.progress_bars() as bars:
        result, images = evaluate_student(student, target, labels, bars, device=device)
    terminal.note(images.skipped_warning)
    if as_json:
        terminal.print_json(asdict(result))
    else:
        evaluation_table(result)


@app.command()
def predict(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images or folders.")],
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Name the class of images."""
    from cli.using import predict_paths

    with terminal.progress_bars() as bars:
        rows, skipped = predict_paths(student, paths, bars, device=device)
    for entry in skipped:
        terminal.note(f"Skipped {entry.path}: {entry.reason}.")
    if as_json:
        terminal.print_json(rows)
    else:
        for row in rows:
            terminal.say(row["path"], row["label"], f"{row['probability']:.3f}")


@app.command()
def export(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As an ONNX file.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8 bits, with ranges measured on --target.")
    ] = False,
    target: Annotated[
        Path | None,
        typer.Option(help="Folder of images, labeled or not, to compare the file on."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; else model.onnx or model.int8.onnx in STUDENT."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a student as one file for other runtimes; needs source-zoo[export].

    Pixels go in, uint8 [B, 3, S, S] of 0 to 255, and probabilities come out. The file is kept only
    if it answers as the student does; times are of one image on one thread.
    """
    if not onnx:
        raise typer.BadParameter("say which format: --onnx")
    if int8 and target is None:
        raise typer.BadParameter("--int8 needs --target, images to measure its ranges on")
    from cli import exporting

    with terminal.progress_bars() as bars:
        made = exporting.export(student, out, target, bars, int8=int8, overwrite=overwrite)
    terminal.note(exporting.warning(made))
    if as_json:
        terminal.print_json(exporting.summary(made))
    else:
        exporting.show(made)
