"""The `zoo` command: read options, call, print; every mistake ends in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import stopping, students_app, teachers_app, terminal
from cli.one_line import spell_out
from cli.options import (
    AnyZoo,
    Budget,
    Device,
    Domain,
    DryRun,
    Json,
    Labels,
    LabelsPerClass,
    Metrics,
    Probe,
    RankedZoo,
    RequiredTarget,
    Seed,
    Shortlist,
    Top,
    Unlabeled,
)
from cli.results import outlook_table, ranking_table
from zoo.budget import Watch
from zoo.errors import ZooError, first_line
from zoo.system.memory import keep_freed_memory

if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="zoo",
    help="Find the teachers closest to your images and distil them into a small student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same at any width, copied into docs/cli.md
)
app.add_typer(students_app.app)
app.add_typer(teachers_app.app)


@app.command("list")
def list_teachers(
    zoo: AnyZoo = "all",
    domain: Domain = None,
    local: Annotated[bool, typer.Option("--local", help="Only those on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Show the teachers of the zoo, with license and size."""
    from cli.teachers import choose_cards

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
    probe: Probe = None,
    top: Top = None,
    shortlist: Shortlist = None,
    power: Annotated[
        float, typer.Option(min=0, max=1000, help="Share is score to this power.")
    ] = 4.0,
    labels_per_class: LabelsPerClass = None,
    seed: Seed = 0,
    device: Device = "auto",
    save: Annotated[Path, typer.Option(help="Where the ranking is saved.")] = Path("ranking.json"),
    report: Annotated[
        Path | None, typer.Option(help="Also write it as a page, FILE.html.", metavar="FILE")
    ] = None,
    budget: Budget = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Rank the teachers by how close they are to your images."""
    watch = Watch(budget)
    if budget and probe is not None:
        raise typer.BadParameter("--budget chooses the images: leave out --probe")
    from cli import budgeting, workflow
    from zoo.images.folder import MAX_LABELED, MAX_UNLABELED

    task = workflow.Task(target, unlabeled, labels, labels_per_class, seed)
    workflow.check_output(save, task)
    workflow.check_replaced(save, b'"teachers"', "ranking")
    if report:
        workflow.check_output(report, task, "--report")
        workflow.check_replaced(report, b"source-zoo, ranking", "page", "--report")
        if report.absolute() == save.absolute():
            raise typer.BadParameter("--report and --save are one file: name two")
    labeled, pool = MAX_LABELED, MAX_UNLABELED if probe is None else probe
    ahead = budgeting.RankingAhead(task, zoo, metric, shortlist, device, watch)
    with terminal.progress_bars() as bars:
        images = terminal.read_task(task, bars, blind=True)
        if budget or dry_run:
            outlook, labeled, pool = ahead.foresee(images, pool, bars, dry_run=dry_run)
            outlook_table(outlook, as_json=as_json, dry_run=dry_run)
        if dry_run:
            return
        ranking, notes = workflow.rank_target(
            task,
            images,
            bars,
            zoo=zoo,
            metric=metric,
            power=power,
            top=top,
            labeled=labeled,
            pool=pool,
            shortlist=shortlist,
            device=device,
        )
    workflow.save_ranking(ranking, save)
    ahead.done(images)
    notes = [*notes, *ranking.notes, watch.verdict]
    if report:
        from distill.report.ranking_page import ranking_page

        page = ranking_page(ranking.to_json(), command=workflow.command_line(), notes=notes)
        workflow.save_page(page, report)
    for text in notes:
        terminal.note(text)
    if as_json:
        terminal.print_json(ranking.to_json())
        return
    ranking_table(ranking)
    terminal.say(f"Saved as {save}: edit its shares if you like, then run `zoo distill`.")


@app.command()
def demo(
    save: Annotated[Path, typer.Option(help="A new folder for its images and students.")] = Path(
        "zoo-demo"
    ),
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Rank, distil and compare on scanned digits: the whole tool in a few minutes."""
    from cli.demo import run_demo

    run_demo(save, seed=seed, device=device)


def main() -> None:
    """Run the command; a mistake of the user's is one line on stderr and exit code 1."""
    stopping.stop_politely()
    spell_out()
    keep_freed_memory()  # of this process only: see docs/performance.md
    if os.environ.get("RANK", "0") != "0":
        terminal.fall_silent()  # of the processes of torchrun the first speaks
    try:
        app()
    except ZooError as error:
        terminal.complain("Error: " + " ".join(str(error).splitlines()))
        sys.exit(1)
    except SystemExit as stop:
        if stop.code in (130, stopping.CODE):  # what typer makes of Ctrl-C, and SIGTERM
            terminal.complain("Stopped. The same command goes on from where it was.")
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except (OSError, MemoryError) as error:  # of a disk or a machine, wherever it struck
        place = getattr(error, "filename", None)
        terminal.complain(
            f"Error: {getattr(error, 'strerror', None) or first_line(error)}"
            f"{f' ({place})' if place else ''}: make room or choose another place, then run again."
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
