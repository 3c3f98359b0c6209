"""The `zoo` command: read options, call, print; every mistake ends in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.errors import ZooError
from zoo.memory import keep_freed_memory

from . import teachers_app, terminal
from .options import (
    ZOO,
    AnyZoo,
    Baseline,
    Device,
    Domain,
    Json,
    Labels,
    LabelsPerClass,
    Metrics,
    Power,
    Probe,
    RankedZoo,
    RequiredTarget,
    Seed,
    Shortlist,
    Target,
    Top,
    Unlabeled,
)

if TYPE_CHECKING:
    from zoo.images import Images

    from .workflow import Bars, Task

app = typer.Typer(
    name="zoo",
    help="Find the teachers closest to your images and distil them into a small student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same at any width, copied into docs/cli.md
)
app.add_typer(teachers_app.app)


@app.command("list")
def list_teachers(
    zoo: AnyZoo = "all",
    domain: Domain = None,
    local: Annotated[bool, typer.Option("--local", help="Only those on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Show the teachers of the zoo, with licence and size."""
    from .teachers import choose_cards

    cards = choose_cards(zoo, domain=domain, local=local)
    if as_json:
        terminal.print_json([card.summary() for card in cards])
    else:
        terminal.teacher_table(cards)


@app.command()
def rank(
    target: RequiredTarget,
    zoo: RankedZoo = "builtin",
    unlabeled: Unlabeled = None,
    labels: Labels = None,
    metric: Metrics = None,
    probe: Probe = 500,
    top: Top = None,
    shortlist: Shortlist = None,
    power: Annotated[
        float, typer.Option(min=0, max=1000, help="Share is score to this power.")
    ] = 12.0,
    labels_per_class: LabelsPerClass = None,
    seed: Seed = 0,
    device: Device = "auto",
    save: Annotated[Path, typer.Option(help="Where the ranking is saved.")] = Path("ranking.json"),
    as_json: Json = False,
) -> None:
    """Rank the teachers by how close they are to your images."""
    from . import workflow

    task = workflow.Task(target, unlabeled, labels, labels_per_class, seed)
    workflow.check_output(save, task)
    with terminal.progress_bars() as bars:
        images = _read(task, bars, blind=True)
        ranking, notes = workflow.rank_target(
            task,
            images,
            bars,
            zoo=zoo,
            metric=metric,
            power=power,
            top=top,
            pool=probe,
            shortlist=shortlist,
            device=device,
        )
    workflow.save_ranking(ranking, save)
    for text in (*notes, ranking.note):
        terminal.note(text)
    if as_json:
        terminal.print_json(ranking.to_json())
        return
    terminal.ranking_table(ranking)
    terminal.say(f"Saved as {save}: edit its shares if you like, then run `zoo distill`.")


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
    power: Power = None,
    arch: Annotated[
        str, typer.Option(help="The student: mobilenetv3, or any timm name.")
    ] = "mobilenetv3",
    start: Annotated[
        str, typer.Option(help="Initial weights: builtin, hub, random or a folder.")
    ] = "builtin",
    unlabeled: Unlabeled = None,
    labels: Labels = None,
    labels_per_class: LabelsPerClass = None,
    test: Annotated[
        Path | None, typer.Option(help="Folder of held-out labelled images to test on.")
    ] = None,
    image_size: Annotated[int, typer.Option(min=32, max=1024, help="Of the student, px.")] = 64,
    updates: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 400,
    flip: Annotated[
        bool,
        typer.Option("--flip", help="Mirror images: right for photos, wrong for digits or signs."),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    save: Annotated[Path, typer.Option(help="Folder for the student.")] = Path("student"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the student in the folder.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a small student from your images and the teachers.

    Without --target it continues from ./ranking.json. With it, and no ranking of those images
    there, the teachers are ranked first.
    """
    chosen = [weighted, nearest, bool(teacher), baseline is not None]
    if sum(chosen) > 1:
        raise typer.BadParameter("choose one of --weighted, --nearest, --teacher and --baseline")
    if power is not None and (nearest or teacher or baseline):
        raise typer.BadParameter("--power goes with --weighted")
    if target is None and (unlabeled or labels or labels_per_class):
        raise typer.BadParameter("--unlabeled, --labels and --labels-per-class need --target")
    from . import distilling
    from .workflow import Task

    try:
        shares = distilling.parse_shares(teacher or [], zoo or "all")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--teacher") from error
    taught = "teachers" if teacher else "nearest" if nearest else "weighted"
    method = baseline.value if baseline else taught
    recipe = distilling.make_recipe(method, updates=updates, flip=flip, seed=seed)
    plan = distilling.Plan(
        method, shares, zoo, power, arch, start, recipe, image_size, device, save
    )
    if target is None:
        task = Task.of_ranking(distilling.Ranking.load(distilling.RANKING_FILE))
    else:
        task = Task(target, unlabeled, labels, labels_per_class, seed)
    with terminal.progress_bars() as bars:
        images = _read(task, bars)
        held_out = distilling.read_test(test, images, bars) if test else None
        report = distilling.distill_target(
            plan, task, images, bars, test=held_out, overwrite=overwrite
        )
    for text in report.notes:
        terminal.note(text)
    if as_json:
        terminal.print_json(report.summary())
    else:
        terminal.report_lines(report)


@app.command("eval")
def evaluate(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    target: RequiredTarget,
    labels: Labels = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Test a student on labelled images."""
    from .using import evaluate_student

    with terminal.progress_bars() as bars:
        result, images = evaluate_student(student, target, labels, bars, device=device)
    terminal.note(images.skipped_note)
    if as_json:
        terminal.print_json(
            {
                "accuracy": result.accuracy,
                "low": result.low,
                "high": result.high,
                "images": result.images,
                "per_class": result.per_class,
            }
        )
    else:
        terminal.evaluation_table(result)


@app.command()
def predict(
    student: Annotated[Path, typer.Argument(help="Folder of a saved student.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images or folders.")],
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Name the class of images."""
    from .using import predict_paths

    with terminal.progress_bars() as bars:
        rows, skipped = predict_paths(student, paths, bars, device=device)
    for entry in skipped:
        terminal.note(f"Skipped {entry.path}: {entry.reason}.")
    if as_json:
        terminal.print_json(rows)
    else:
        for row in rows:
            terminal.say(f"{row['path']}\t{row['label']}\t{row['probability']:.3f}")


@app.command()
def demo(
    save: Annotated[Path, typer.Option(help="A new folder for its images and students.")] = Path(
        "zoo-demo"
    ),
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Rank, distil and compare on scanned digits: the whole tool in a few minutes."""
    from .demo import run_demo

    run_demo(save, seed=seed, device=device)


def _read(task: Task, bars: Bars, *, blind: bool = False) -> Images:
    """The task's images; what is odd about them goes to stderr."""
    images = task.read(bars, blind=blind)
    terminal.note(images.skipped_note)
    if lonely := images.lonely_classes():
        terminal.note(
            f"{len(lonely)} of {len(images.classes)} classes have a single labelled image "
            f"({', '.join(lonely[:3])}{', ...' * (len(lonely) > 3)}): add more if you can."
        )
    return images


def main() -> None:
    """Run the command; a mistake of the user's is one line on stderr and exit code 1."""
    keep_freed_memory()  # of this process only: see docs/performance.md
    if os.environ.get("RANK", "0") != "0":
        terminal.fall_silent()  # of the processes of torchrun the first speaks
    try:
        app()
    except ZooError as error:
        terminal.note("Error: " + " ".join(str(error).splitlines()))
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == 130:  # what typer makes of Ctrl-C
            terminal.note("Stopped. The same command goes on from where it was.")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
