"""The commands on teachers: info, pull, verify, add, push and pack."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.options import AnyZoo, Domain, Json

app = typer.Typer(rich_markup_mode=None)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Of a teacher.")],
    zoo: AnyZoo = "all",
    as_json: Json = False,
) -> None:
    """Show all that is known of a teacher."""
    from cli.teachers import choose_cards

    (card,) = choose_cards(zoo, [name])
    if as_json:
        terminal.print_json({**card.to_json(), **card.summary()})
    else:
        terminal.card_lines(card)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    domain: Domain = None,
    default: Annotated[bool, typer.Option("--default", help="The default set.")] = False,
    zoo: AnyZoo = "hub",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only ask the Hub what it would be, in bytes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch teachers from the Hub and pin their commits.

    A name may be OWNER/NAME, any repository in timm's layout. What was cut goes on where it
    ended. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honored.
    """
    if not (names or domain or default):
        raise typer.BadParameter("name teachers, or choose them with --domain or --default")
    from cli import teachers
    from zoo.teachers.catalogue import is_repository

    odd = [name for name in names or [] if "/" in name and not is_repository(name)]
    rows = [teachers.Pulled(name, "failed", 0, "", "is not OWNER/NAME") for name in odd]
    wanted = [name for name in names or [] if name not in odd]
    if wanted or not odd:
        zoos = ",".join([zoo, *(name for name in wanted if "/" in name)])
        cards = teachers.choose_cards(zoos, wanted, domain=domain, default=default)
        with terminal.progress_bars() as bars:
            rows += teachers.pull(cards, bars, dry_run=dry_run)
    if as_json:
        terminal.print_json([asdict(row) for row in rows])
    else:
        terminal.pull_table(rows)
    if any(row.status == "failed" for row in rows):
        sys.exit(1)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    zoo: AnyZoo = "all",
    as_json: Json = False,
) -> None:
    """Check the teachers on this machine.

    Files against their hashes, network, classes, preprocessing, answers to two synthetic images.
    """
    from cli import teachers

    cards = teachers.choose_cards(zoo, names or [], local=not names)
    with terminal.progress_bars() as bars:
        verdicts = teachers.verify_all(cards, bars("verifying"))
    if as_json:
        terminal.print_json([asdict(verdict) for verdict in verdicts])
    else:
        terminal.verification_table(verdicts)
    if any(verdict.problem for verdict in verdicts):
        sys.exit(1)


@app.command()
def add(
    source: Annotated[
        str, typer.Argument(help="A folder in timm's layout, a student, or OWNER/NAME.")
    ],
    name: Annotated[str, typer.Option(help="What the teacher will be called.")],
    domain: Annotated[str, typer.Option(help="What its images show, in a word or two.")],
    zoo: Annotated[Path, typer.Option(help="Your own folder of teachers.")] = Path("my-zoo"),
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of images of that domain, for --shortlist."),
    ] = None,
) -> None:
    """Make a network a teacher of your own zoo.

    Then it ranks beside the others: `zoo rank --zoo builtin,my-zoo`.
    """
    from cli import teachers

    with terminal.progress_bars() as bars:
        card = teachers.add(source, name, domain, zoo, bars, images=images)
    terminal.say(f"{card.name} is in {card.folder}: use it with --zoo builtin,{zoo}")


@app.command()
def index(zoo: AnyZoo = "all") -> None:
    """Index the fingerprints of a zoo for --shortlist.

    Ranking does it too when the index is missing or old: only very many teachers take time.
    """
    from cli.shortlisting import read_index

    indexed = read_index(zoo)
    for text in indexed.notes:
        terminal.note(text)
    made = indexed.shortlist
    terminal.say(
        f"{len(made.names)} of {indexed.teachers} teachers, {len(made.prototypes)} prototypes, "
        f"{indexed.size / 1e6:.1f} MB: {indexed.path}"
    )


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Of a student or teacher.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    license: Annotated[
        str | None, typer.Option(help="Identifier such as cc-by-4.0; else what the folder states.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="If it is new.")] = False,
) -> None:
    """Publish a student or teacher on the Hub.

    With its card and license; needs HF_TOKEN.
    """
    from cli import teachers

    terminal.say(teachers.publish(folder, repo, license, private=private))


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    teachers: Annotated[
        list[str], typer.Option(metavar="NAME", help="Repeatable, or some with commas.")
    ],
    zoo: AnyZoo = "all",
) -> None:
    """Copy teachers into a folder for another machine.

    There, without a network, it is a zoo: `zoo rank --zoo FOLDER`.
    """
    from cli.teachers import pack_teachers

    names = [name.strip() for entry in teachers for name in entry.split(",")]
    with terminal.progress_bars() as bars:
        cards = pack_teachers(names, zoo, out, bars)
    size = sum(card.bytes for card in cards)
    terminal.say(f"{len(cards)} teachers, {size / 1e6:.1f} MB, are in {out}.")
