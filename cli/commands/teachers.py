"""`zoo list`, `info`, `pull`, `verify`, `add`, `index`, `push`, `pack`: manage teachers."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options, tables, terminal
from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.hub.pull import Pulled, pull_required
from zoo.hub.pull import pull as pull_teachers
from zoo.system.files import expand_user
from zoo.teachers.catalogue import (
    find_card,
    is_repository,
    licensed_zoo,
    list_cards,
    select_cards,
)

if TYPE_CHECKING:
    from zoo.system.runtime import Runtime
    from zoo.teachers.card import TeacherCard

app = typer.Typer(rich_markup_mode=None)


@app.command("list")
def list_teachers(
    zoo: options.AnyZoo = "all",
    domain: options.Domain = None,
    local: Annotated[bool, typer.Option("--local", help="Only those on this machine.")] = False,
    license: options.Licensed = None,
    as_json: options.Json = False,
) -> None:
    """Show the teachers of the zoo, with size and the licenses of weights and data."""
    cards = select_cards(licensed_zoo(zoo, license), domain=domain, local=local)
    if as_json:
        terminal.print_json([card.summary() for card in cards])
    else:
        tables.teacher_table(cards)


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Name of a teacher.")],
    zoo: options.AnyZoo = "all",
    as_json: options.Json = False,
) -> None:
    """Show all that is known of a teacher."""
    (card,) = select_cards(zoo, [name])
    if as_json:
        terminal.print_json({**card.to_json(), **card.summary()})
    else:
        tables.card_lines(card)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    domain: options.Domain = None,
    default: Annotated[bool, typer.Option("--default", help="The default set.")] = False,
    start: Annotated[
        list[str] | None,
        typer.Option(metavar="ARCH", help="timm's weights for this student; repeatable."),
    ] = None,
    zoo: options.AnyZoo = "hub",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be fetched, in bytes.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Fetch teachers from the Hub and pin their commits.

    A name may be OWNER/NAME, any repository in timm's layout. Interrupted downloads resume.
    HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honored.
    """
    if not (names or domain or default or start):
        raise typer.BadParameter(
            "name teachers, or choose them with --domain or --default, or a student with --start"
        )
    malformed = [name for name in names or [] if "/" in name and not is_repository(name)]
    rows = [Pulled(name, "failed", 0, "", "is not OWNER/NAME") for name in malformed]
    wanted = [name for name in names or [] if name not in malformed]
    cards: list[TeacherCard] = []
    if start:
        from distill.student import find_arch
        from zoo.teachers.starts import find_start

        cards = [find_start("hub", find_arch(arch)).card for arch in start]
    if wanted:
        zoos = ",".join([zoo, *(name for name in wanted if "/" in name)])
        cards += select_cards(zoos, wanted)
    if domain or default:
        cards += select_cards(zoo, domain=domain, default=default)
    if cards := list({card.name: card for card in cards}.values()):
        with terminal.runtime() as runtime:
            rows += pull_teachers(cards, runtime, dry_run=dry_run)
    if as_json:
        terminal.print_json([asdict(row) for row in rows])
    else:
        tables.pull_table(rows)
    if any(row.status == "failed" for row in rows):
        sys.exit(1)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    zoo: options.AnyZoo = "all",
    as_json: options.Json = False,
) -> None:
    """Check the teachers on this machine.

    File hashes, network, classes, preprocessing, and the outputs for two synthetic images.
    """
    from zoo.teachers.verify import verify_all

    cards = select_cards(zoo, names or [], local=not names)
    with terminal.runtime() as runtime:
        verdicts = verify_all(cards, runtime.progress("verifying"))
    if as_json:
        terminal.print_json([asdict(verdict) for verdict in verdicts])
    else:
        tables.verification_table(verdicts)
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

    Rank it together with the others: `zoo rank --zoo builtin,my-zoo`.
    """
    zoo = expand_user(str(zoo))
    with terminal.runtime() as runtime:
        card = add_teacher(source, name, domain, zoo, runtime, images=images)
    terminal.say(f"{card.name} is in {card.folder}: use it with --zoo builtin,{quote(str(zoo))}")


@app.command()
def index(zoo: options.AnyZoo = "all") -> None:
    """Index the fingerprints of a zoo for --shortlist.

    Ranking does it too when the index is missing or old: only very many teachers take time.
    """
    from selection.shortlist import read_index

    with terminal.runtime() as runtime:
        indexed = read_index(zoo, runtime)
    for text in indexed.warnings:
        terminal.note(text)
    made = indexed.shortlist
    terminal.say(
        f"{len(made.names)} of {len(indexed.cards)} teachers, {len(made.prototypes)} prototypes, "
        f"{indexed.size / 1e6:.1f} MB: {indexed.path}"
    )


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a student or teacher.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    license: Annotated[
        str | None, typer.Option(help="Identifier such as cc-by-4.0; else what the folder states.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
) -> None:
    """Publish a student or teacher on the Hub.

    With its card and license; needs HF_TOKEN.
    """
    from zoo.hub.publish import publish

    terminal.say(publish(folder, repo, license, private=private))


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    teachers: Annotated[
        list[str], typer.Option(metavar="NAME", help="Repeatable, or some with commas.")
    ],
    zoo: options.AnyZoo = "all",
) -> None:
    """Copy teachers into a folder for another machine.

    There, without a network, it is a zoo: `zoo rank --zoo FOLDER`.
    """
    from zoo.teachers.collection import pack as pack_cards

    names = [name.strip() for entry in teachers for name in entry.split(",")]
    with terminal.runtime() as runtime:
        cards = pull_required(select_cards(zoo, names), runtime, "to be packed")
    cards = pack_cards(cards, out)
    size = sum(card.bytes for card in cards)
    terminal.say(f"{len(cards)} teachers, {size / 1e6:.1f} MB, are in {out}.")


def add_teacher(
    source: str, name: str, domain: str, zoo: Path, runtime: Runtime, *, images: Path | None = None
) -> TeacherCard:
    """Make a folder or a repository of the Hub a teacher of the user's own zoo.

    `images` is a folder of images of its domain, to fingerprint it by.

    Raises:
        ZooError: it cannot be had or loaded, or the zoo has one of this name.
    """
    from zoo.teachers.collection import check_words, check_zoo, copy_teacher, describe_folder
    from zoo.teachers.verify import measure

    check_words(name, domain)
    check_zoo(zoo)
    if images:
        from zoo.images.source import check_output

        check_output(zoo, [images], "--zoo")
    folder = expand_user(source)
    if folder.is_dir():
        card = describe_folder(folder, name, domain)
    elif folder.exists():
        raise TeacherBroken(f"{source} is not a folder.")
    else:
        from zoo.hub.client import fetch

        try:
            found = find_card(source, list_cards(source if "/" in source else "all"))
        except TeacherNotFound as error:
            raise TeacherNotFound(f"{source!r} is no folder. {error}") from error
        card = replace(
            fetch(found, progress=runtime.progress(f"pulling {source}")), name=name, domain=domain
        )
    if images is None:
        return copy_teacher(measure(card), zoo)
    from selection.shortlist import make_fingerprint
    from zoo.images.folder import read_images

    mark = make_fingerprint(
        read_images(images, progress=runtime.progress("reading images")), runtime
    )
    added = copy_teacher(measure(card), zoo)
    mark.save(added.folder or zoo)
    return added
