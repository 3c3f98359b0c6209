"""Find teachers by name: embedded ones, those of the Hub's catalogue, and a user's own.

A new entry of the Hub's catalogue: `tests/tools/make_catalogue.py`.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.system.json_files import choice, instance, listing, read_json, record
from zoo.teachers.card import CARD_FILE, CARD_FORMAT, EXTRA, HUB, TeacherCard
from zoo.teachers.config import CONFIG_FILE, pulled_folders
from zoo.teachers.licenses import is_permissive

BUILTIN = Path(__file__).parents[1] / "builtin"
STUDENTS = Path(__file__).parents[1] / "students"
CATALOGUE = Path(__file__).parents[1] / "catalogue.json"
PERMISSIVE_ONLY = "license=permissive"
"""A part of the name of a zoo."""
WORDS = ("builtin", "hub", "all")
"""Zoos by name; any other name is a folder or a repository."""
LONGEST_REPOSITORY = 96
"""Characters of OWNER/NAME on the Hub."""


def list_cards(zoo: str = "builtin") -> list[TeacherCard]:
    """The cards of a zoo, by name. Nothing is downloaded.

    Args:
        zoo: `builtin` for the embedded teachers and those of the extra `imagenet`, `hub` for the
            Hub's catalogue and all pulled teachers, `all` for both, a folder of teachers,
            `OWNER/NAME` for one repository of the Hub, or several of these with commas between;
            `license=permissive` among them leaves out what has a weaker license of its weights, its
            data, or the embedded network that it was initialized from.

    Raises:
        TeacherNotFound: there is no such zoo, two teachers have one name, or none such a license.
        TeacherBroken: a card cannot be read.

    Example:
        >>> [card.name for card in list_cards("builtin")]
    """
    found: dict[str, TeacherCard] = {}
    parts = _split(zoo)
    for card in (card for part in parts if part != PERMISSIVE_ONLY for card in _list_part(part)):
        # copies of one teacher are one; different networks of one name are an error below
        key = f"{card.source} {card.name} {'' if card.repo else card.sha256}"
        if key not in found or (card.folder and not found[key].folder):
            found[key] = card
    cards = sorted(found.values(), key=lambda card: card.name)
    if PERMISSIVE_ONLY in parts:
        cards = [card for card in cards if _is_permissive(card)]
        if not cards:
            raise TeacherNotFound(
                f"No teacher of --zoo {zoo.removesuffix(',' + PERMISSIVE_ONLY)} has a permissive "
                "license of weights, data and initial weights: leave out --license."
            )
    for one, other in pairwise(cards):
        if one.name == other.name:
            raise TeacherNotFound(
                f"Two teachers of --zoo {zoo} are called {one.name!r} "
                f"({one.folder or one.source} and {other.folder or other.source}): "
                "name fewer zoos."
            )
    return cards


def absolute_zoo(zoo: str) -> str:
    """The same zoo, with absolute paths for folders."""
    return ",".join(
        str(Path(part).expanduser().absolute()) if _is_folder(part) else part
        for part in _split(zoo)
    )


def licensed_zoo(zoo: str, license: str | None) -> str:
    """The teachers of a zoo that have such a license: `permissive`, or None for any."""
    return f"{zoo},{PERMISSIVE_ONLY}" if license else zoo


def _split(zoo: str) -> list[str]:
    # a folder whose name has a comma is one zoo, with or without a license
    bare = zoo.removesuffix(f",{PERMISSIVE_ONLY}")
    parts = [bare] if _is_folder(bare) else [part.strip() for part in bare.split(",")]
    return parts if bare == zoo else [*parts, PERMISSIVE_ONLY]


def _is_folder(zoo: str) -> bool:
    try:
        return zoo not in ("", *WORDS) and Path(zoo).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # no valid path, or the home of an unknown user
        return False


def _is_permissive(card: TeacherCard) -> bool:
    """Whether all licenses are permissive that the model card of a student of it would state."""
    try:
        bases = [TeacherCard.load(BUILTIN.parent / card.base)] if card.base else []
    except TeacherBroken:  # no embedded network: its license is unknown
        return False
    return all(map(is_permissive, (card, *bases)))


def _list_part(zoo: str) -> list[TeacherCard]:
    if zoo == "builtin":
        return _list_builtin()
    if zoo == "hub":
        return _list_hub()
    if zoo == "all":
        return [*_list_builtin(), *_list_hub()]
    if _is_folder(zoo):
        folder = Path(zoo).expanduser()
        try:
            single = (folder / CARD_FILE).exists()
            cards = [TeacherCard.load(folder)] if single else _read_folder(folder)
        except OSError as error:
            raise TeacherBroken(f"The folder {zoo} cannot be read: {error.strerror}.") from error
        if cards:
            return cards
        raise TeacherNotFound(
            f"The folder {zoo} holds no teacher: each is a sub-folder with a {CARD_FILE}, "
            "made by `zoo add` or `zoo pack`."
        )
    if is_repository(zoo):
        return [repository_card(zoo)]
    raise TeacherNotFound(
        f"There is no zoo {zoo!r}: expected builtin, hub, all, a folder of teachers, or OWNER/NAME."
    )


def is_repository(name: str) -> bool:
    """Whether a name has the form OWNER/NAME, and no more characters than the Hub allows."""
    form = r"[\w][\w.-]*/[\w][\w.-]*"
    return len(name) <= LONGEST_REPOSITORY and re.fullmatch(form, name) is not None


def repository_card(repo: str) -> TeacherCard:
    """The card of one repository of the Hub: the catalogue's, a pulled one, or a bare one."""
    for card in _list_hub():
        if card.repo == repo:
            return card
    unknown = "unknown"
    return TeacherCard(repo, unknown, HUB + repo, "", 0, unknown, unknown, unknown, None)


def pulled_folder(card: TeacherCard) -> Path:
    """Folder of a teacher pulled from the Hub: its card, and links to its files."""
    return pulled_folders() / card.file_name


def _list_builtin() -> list[TeacherCard]:
    """The embedded teachers, and those whose weights are in a package, installed or not."""
    cards = _read_folder(BUILTIN)
    return [replace(card, folder=_package_folder(card)) if card.package else card for card in cards]


def _package_folder(card: TeacherCard) -> Path | None:
    """Folder of a teacher's weights in its package; None where that is not installed.

    No code of the package runs.
    """
    found = importlib.util.find_spec(card.package)
    for place in (found and found.submodule_search_locations) or ():
        folder = Path(place) / "models"
        if (folder / card.weights).is_file():
            return folder
    return None


def missing_packages(cards: Sequence[TeacherCard]) -> str:
    """A line on how to get the teachers whose package is not installed; empty if none lacks."""
    names = [card.name for card in cards if card.package and card.folder is None]
    return f"Not installed: {', '.join(names)}. Get them with {EXTRA}." if names else ""


def _list_hub() -> list[TeacherCard]:
    """The catalogue, where the card of a pulled teacher replaces the catalogue's."""
    teachers = listing(instance(TeacherCard, leave={"folder"}))
    check = record({"format": choice(CARD_FORMAT), "teachers": teachers})
    advice = "Install source-zoo again."
    document = read_json(CATALOGUE, check, error=TeacherBroken, advice=advice)
    cards = {card.name: card for card in document["teachers"]}
    for path in sorted(pulled_folders().glob(f"*/{CARD_FILE}")):
        try:
            card = TeacherCard.load(path.parent)
        except TeacherBroken:
            continue  # `zoo pull` writes it anew
        files = (card.weights, CONFIG_FILE) if card.loader == "hf-hub" else (card.weights,)
        if not all((path.parent / file).exists() for file in files):
            card = replace(card, folder=None)
        cards[card.name] = card
    return list(cards.values())


def _read_folder(folder: Path) -> list[TeacherCard]:
    # unfinished copies begin with a dot
    return [TeacherCard.load(path.parent) for path in folder.glob(f"[!.]*/{CARD_FILE}")]


def find_card(name: str, cards: Sequence[TeacherCard] | None = None) -> TeacherCard:
    """The card of one teacher.

    Args:
        name: of the teacher, or OWNER/NAME of its repository.
        cards: to search; the embedded teachers and the Hub's if not given.

    Raises:
        TeacherNotFound: no teacher has this name; the message offers close ones.

    Example:
        >>> find_card("food").domain
        'food'
    """
    cards = list_cards("all") if cards is None else cards
    named = {card.repo: card for card in cards if card.repo} | {card.name: card for card in cards}
    if name in named:
        return named[name]
    close = difflib.get_close_matches(name, named, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else "`zoo list` shows them all."
    raise TeacherNotFound(f"No teacher is called {name!r}. {hint}")


def usable_cards(zoo: str) -> list[TeacherCard]:
    """The teachers of a zoo that are on this machine or on the Hub."""
    return [card for card in list_cards(zoo) if card.folder or card.repo]


def cards_to_rank(zoo: str) -> list[TeacherCard]:
    """The teachers of a zoo that a ranking runs.

    Of the Hub's catalogue those are the default set and what was pulled before: all of it would
    be tens of gigabytes.
    """
    named = [part.strip() for part in zoo.split(",")]
    return [card for card in list_cards(zoo) if card.folder or card.default or card.repo in named]


def select_cards(
    zoo: str,
    names: Sequence[str] = (),
    *,
    domain: str | None = None,
    default: bool = False,
    local: bool = False,
) -> list[TeacherCard]:
    """The teachers that the options name, each once; TeacherNotFound if none fits."""
    cards = list_cards(zoo)
    elsewhere = {card.name for card in list_cards("all")} - {card.name for card in cards}
    if lost := elsewhere.intersection(names):
        raise TeacherNotFound(f"{min(lost)!r} is no teacher of --zoo {zoo}: add --zoo all.")
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
