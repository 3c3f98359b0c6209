"""What the commands on teachers do: choose, pull, verify, add, publish and pack them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import HubError, HubUnreachable, TeacherBroken, TeacherNotFound, ZooError
from zoo.teachers.catalogue import find_card, list_cards

if TYPE_CHECKING:  # numpy and all that needs it load in the commands that do: `zoo list` is quick
    from cli.workflow import Bars
    from zoo.teachers.card import TeacherCard
    from zoo.teachers.verify import Verification


@dataclass(frozen=True)
class Pulled:
    """What became of one teacher.

    Attributes:
        name: of the teacher.
        status: `pulled`, `here`, `would pull` or `failed`.
        bytes: of its files, in a dry run those that are not here yet.
        revision: commit that it is pinned to.
        reason: why it failed.
    """

    name: str
    status: str
    bytes: int
    revision: str
    reason: str = ""


def choose_cards(
    zoo: str,
    names: Sequence[str] = (),
    *,
    domain: str | None = None,
    default: bool = False,
    local: bool = False,
) -> list[TeacherCard]:
    """The teachers that the options name, each once.

    Raises:
        TeacherNotFound: there is none of a name, or no teacher fits.
    """
    cards = list_cards(zoo)
    named = {card.name: card for card in (find_card(name, cards) for name in names)}
    chosen = list(named.values()) or cards
    if domain is not None:
        chosen = [card for card in chosen if domain.lower() in card.domain.lower()]
    if default:
        chosen = [card for card in chosen if card.default]
    if local:
        chosen = [card for card in chosen if card.folder]
    if not chosen:
        domains = sorted({card.domain for card in cards})
        raise TeacherNotFound(f"No teacher of --zoo {zoo} fits. Its domains: {', '.join(domains)}.")
    return chosen


def parse_shares(entries: Sequence[str], zoo: str = "all") -> dict[str, float]:
    """Shares by hand, `NAME=SHARE` or `NAME` each, normalized to sum 1.

    Raises:
        ValueError: an entry is malformed, double or not above 0; the message says which.
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
        if not 0 < share < float("inf"):
            raise ValueError(f"{entry!r} is not NAME=SHARE with a share above 0")
        card = find_card(name, cards)
        if card.name in shares:
            raise ValueError(f"{name!r} is named twice")
        shares[card.name] = share
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def pull(cards: Sequence[TeacherCard], bars: Bars, *, dry_run: bool) -> list[Pulled]:
    """Bring teachers to this machine, or only say what that would fetch; a row each."""
    from zoo.hub.client import fetch, find_files

    rows: list[Pulled] = []
    ask = True
    for card in cards:
        try:
            if dry_run and card.folder is None:
                files = find_files(card, ask=ask)
                rows.append(Pulled(card.name, "would pull", files.bytes, files.revision))
                continue
            pulled = card
            if not dry_run:
                pulled = fetch(card, ask=ask, progress=bars(f"pulling {card.name}"))
            status = "pulled" if pulled is not card else "here"
            size = 0 if dry_run else pulled.bytes
            rows.append(Pulled(card.name, status, size, pulled.revision))
        except ZooError as error:
            ask = ask and not isinstance(error, HubUnreachable)
            reason = str(error).removeprefix(f"{card.repo}: ")
            rows.append(Pulled(card.name, "failed", 0, card.revision, reason))
    return rows


def verify_all(cards: Sequence[TeacherCard], say: Callable[[int, int], None]) -> list[Verification]:
    """Check each teacher; the first time that a pulled one loads, note what it answers."""
    from zoo.teachers.verify import measure, verify

    verdicts: list[Verification] = []
    for done, card in enumerate(cards, start=1):
        verdict = verify(card)
        if card.repo and card.folder and not verdict.problem and not card.golden:
            noted = "golden embedding noted"
            try:
                measure(card).save(card.folder)
            except OSError:
                noted = "golden embedding not noted: the folder cannot be written"
            verdict = replace(verdict, checks=(*verdict.checks, noted))
        verdicts.append(verdict)
        say(done, len(cards))
    return verdicts


def add(
    source: str, name: str, domain: str, zoo: Path, bars: Bars, *, images: Path | None = None
) -> TeacherCard:
    """Make a folder or a repository of the Hub a teacher of the user's own zoo.

    Args:
        source: the folder or repository.
        name: of the new teacher.
        domain: what its images show.
        zoo: the user's folder of teachers.
        bars: of the work.
        images: a folder of images of its domain, to fingerprint it by.

    Raises:
        ZooError: it cannot be had or loaded, or the zoo has one of this name.
    """
    from zoo.teachers.collection import check_words, copy_teacher, describe_folder
    from zoo.teachers.verify import measure

    check_words(name, domain)
    folder = Path(source).expanduser()
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
        card = replace(fetch(found, progress=bars(f"pulling {source}")), name=name, domain=domain)
    if images is None:
        return copy_teacher(measure(card), zoo)
    from cli.shortlisting import fingerprint
    from zoo.images.folder import read_images

    mark = fingerprint(read_images(images, progress=bars("reading images")), bars)
    added = copy_teacher(measure(card), zoo)
    mark.save(added.folder or zoo)
    return added


def publish(folder: Path, repo: str, license: str | None, *, private: bool) -> str:
    """Upload the network of a folder, its card and its license; returns the address.

    Raises:
        ZooError: the folder holds no network, or the Hub refuses.
    """
    from zoo.hub.client import publish as upload
    from zoo.hub.publish import stage

    with tempfile.TemporaryDirectory() as staging:
        stage(folder, Path(staging), license)
        return upload(Path(staging), repo, private=private)


def pack_teachers(names: Sequence[str], zoo: str, out: Path, bars: Bars) -> list[TeacherCard]:
    """Put teachers into one folder for another machine; those of the Hub are pulled first.

    Raises:
        ZooError: one cannot be had, or the folder cannot be written.
    """
    from zoo.teachers.collection import pack

    cards = choose_cards(zoo, names)
    if any(card.repo and card.folder is None for card in cards):
        from zoo.hub.client import fetch_all

        cards, failures = fetch_all(cards, progress=lambda name: bars(f"pulling {name}"))
        for name, reason in failures.items():
            raise HubError(f"{name} cannot be packed: {reason}")
    return pack(cards, out)
