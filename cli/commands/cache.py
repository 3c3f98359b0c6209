"""`zoo cache`: how much the cache holds, and deleting what is old."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli import options, terminal
from zoo.system.cache import KINDS, measure_cache, prune_cache
from zoo.system.files import cache_folder

app = typer.Typer(rich_markup_mode=None)


@app.command()
def cache(
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what was not written for --days.")
    ] = False,
    days: Annotated[
        float | None, typer.Option(min=0, show_default="30", help="0 deletes all of it.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show how much disk the cache takes, or delete what is old.

    All of it can be computed again. Teachers that were pulled are in HF_HOME, not here.
    """
    if days is not None and not prune:
        raise typer.BadParameter("--days goes with --prune")
    parts = prune_cache(30 if days is None else days) if prune else measure_cache()
    if as_json:
        folder = str(cache_folder())
        terminal.print_json({"folder": folder, "parts": [asdict(part) for part in parts]})
        return
    terminal.show_rows(
        ["", "holds~", "files>", "MB>"],
        [
            (part.name, KINDS[part.name], str(part.files), f"{part.bytes / 1e6:.1f}")
            for part in parts
        ],
    )
    files, size = sum(part.files for part in parts), sum(part.bytes for part in parts)
    verb = "were deleted from" if prune else "are in"
    terminal.say(f"{files} files, {size / 1e6:.1f} MB, {verb} {cache_folder()}.")
