"""`zoo rank`: order teachers by how close they are to images."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, tables, terminal
from zoo.system.distributed import is_first_process
from zoo.system.files import check_replaced, saving, write_atomic
from zoo.system.timing import Deadline
from zoo.teachers.catalogue import licensed_zoo

if TYPE_CHECKING:
    from selection import Ranking
    from zoo.images.source import ImageSource

app = typer.Typer(rich_markup_mode=None)


@app.command()
def rank(
    target: options.RequiredTarget,
    zoo: options.RankedZoo = "builtin",
    license: options.Licensed = None,
    unlabeled: options.Unlabeled = None,
    labels: options.Labels = None,
    metric: options.Metrics = None,
    max_unlabeled: options.MaxUnlabeled = None,
    probe: options.OldProbe = None,
    top: options.Top = None,
    shortlist: options.Shortlist = None,
    power: Annotated[
        float, typer.Option(min=0, max=1000, help="Share is score to this power.")
    ] = 4.0,
    labels_per_class: options.LabelsPerClass = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    save: Annotated[Path, typer.Option(help="File for the ranking.")] = options.RANKING_FILE,
    report: Annotated[
        Path | None, typer.Option(help="Also write it as a page, FILE.html.", metavar="FILE")
    ] = None,
    budget: options.Budget = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Rank the teachers by how close they are to your images."""
    deadline = Deadline(budget)
    max_unlabeled = probe if max_unlabeled is None else max_unlabeled
    if budget and max_unlabeled is not None:
        raise typer.BadParameter("--budget chooses the images: leave out --max-unlabeled")
    from zoo.images.source import ImageSource

    source = ImageSource(target, unlabeled, labels, labels_per_class, seed)
    _check_files(source, save, report)
    from selection.pipeline import RankingJob
    from zoo.images.folder import MAX_UNLABELED

    messages: list[str] = []
    with terminal.runtime(device, seed) as plain:
        runtime = plain.collect(messages)
        job = RankingJob(
            source.read(runtime, need_labels=False),
            zoo=licensed_zoo(zoo, license),
            metric=metric,
            power=power,
            top=top,
            shortlist=shortlist,
            max_unlabeled=MAX_UNLABELED if max_unlabeled is None else max_unlabeled,
            runtime=runtime,
        )
        plan = job.plan(deadline) if budget or dry_run else None
        if plan:
            tables.plan_table(plan, as_json=as_json, dry_run=dry_run)
            job = plan.job
        if dry_run:
            return
        if plan and budget:
            plan.saved.save(plan.chosen, runtime.warn)
        ranking = job.run()
    if not is_first_process():  # of torchrun only the first saves
        return
    with saving("ranking", save):
        ranking.save(save)
    if plan:
        plan.saved.delete()
    further = [*ranking.warnings, deadline.overrun]
    if report:
        _save_page(ranking, report, [*messages, *further])
    for text in further:
        terminal.note(text)
    if as_json:
        terminal.print_json(ranking.to_json())
        return
    tables.ranking_table(ranking)
    named = "" if save == options.RANKING_FILE else f" --ranking {quote(str(save))}"
    terminal.say(f"Saved as {save}: edit its shares if you like, then run `zoo distill{named}`.")


def _save_page(ranking: Ranking, path: Path, warnings: list[str]) -> None:
    from distill.report.ranking_page import ranking_page

    page = ranking_page(ranking.to_json(), command=options.command_line(), notes=warnings)
    with saving("page", path, "--report"):
        write_atomic(path, page)


def _check_files(source: ImageSource, save: Path, report: Path | None) -> None:
    """Refuse outputs that would replace other files or land among the images."""
    from zoo.images.source import check_output

    check_output(save, source.folders)
    check_replaced(save, b'"teachers"', "ranking")
    if report:
        check_output(report, source.folders, "--report")
        check_replaced(report, b"source-zoo, ranking", "page", "--report")
        if report.absolute() == save.absolute():
            raise typer.BadParameter("--report and --save are one file: name two")
