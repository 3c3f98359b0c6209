"""What license a student may state: never more freedom than its teachers and their data give.

A license that is not in the table yet: put a line into `KINDS` where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import TeacherBroken
from zoo.teachers.card import CARD_FILE, TeacherCard
from zoo.teachers.catalogue import BUILTIN, student_start
from zoo.teachers.config import read_layout

OTHER = "other"
"""The Hub's identifier where none can be stated: people have to read and decide."""

PERMISSIVE = "permissive"
TERMS = "terms of its own"
NON_COMMERCIAL = "non-commercial"
UNKNOWN = "unknown"

KINDS: Mapping[str, str] = {
    "cc0-1.0": PERMISSIVE,
    "unlicense": PERMISSIVE,
    "mit": PERMISSIVE,
    "isc": PERMISSIVE,
    "bsd": PERMISSIVE,
    "bsd-2-clause": PERMISSIVE,
    "bsd-3-clause": PERMISSIVE,
    "apache-2.0": PERMISSIVE,
    "cc-by-3.0": PERMISSIVE,
    "cc-by-4.0": PERMISSIVE,
    "mpl-2.0": "share-alike",
    "lgpl-3.0": "share-alike",
    "cc-by-sa-3.0": "share-alike",
    "cc-by-sa-4.0": "share-alike",
    "gpl-2.0": "share-alike",
    "gpl-3.0": "share-alike",
    "agpl-3.0": "share-alike",
    "cc-by-nd-4.0": "no derivatives",
    TERMS: TERMS,
    NON_COMMERCIAL: NON_COMMERCIAL,
    "imagenet-terms": NON_COMMERCIAL,
    "research": NON_COMMERCIAL,
    "competition-terms": NON_COMMERCIAL,
    UNKNOWN: UNKNOWN,
}
"""Known licenses and what they are, from the freest to the strictest: the order counts."""

_ALIASES = {"cc0": "cc0-1.0", "apache-2": "apache-2.0", "imagenet": "imagenet-terms"}
_SAY_NOTHING = ("", "unknown", "other", "none", "not-published")
_FORBID_TRADE = ("nc", "noncommercial", "commercial", "research", "academic", "competition")
"""Words of a license that nobody listed which make it at least non-commercial."""


@dataclass(frozen=True)
class Claim:
    """One license that a student depends on.

    Attributes:
        what: network or data set, in words.
        license: as its card states it.
    """

    what: str
    license: str

    @property
    def entry(self) -> str:
        """Its key in KINDS; a license that is not there becomes one of the last three kinds."""
        key = "-".join(self.license.lower().split())
        key = _ALIASES.get(key, key)
        if key in _SAY_NOTHING:
            return UNKNOWN
        if key in KINDS:
            return key
        letters = "".join(letter if letter.isalnum() else " " for letter in key)
        return NON_COMMERCIAL if set(letters.split()) & set(_FORBID_TRADE) else TERMS

    @property
    def kind(self) -> str:
        """What the license is, in a word."""
        return KINDS[self.entry]


def teacher_claims(names: Sequence[str], cards: Sequence[TeacherCard]) -> list[Claim]:
    """Two for each teacher, its weights and its data; a teacher without a card is unknown.

    What they were initialized from (`TeacherCard.base`) is counted too.

    Args:
        names: of the teachers that took part.
        cards: of all of them, or more.
    """
    known = {card.name: card for card in cards}
    claims: list[Claim] = []
    for name in names:
        claims += _card_claims(known[name], name) if name in known else [Claim(name, UNKNOWN)]
    bases = {known[name].base for name in names if name in known} - {""}
    for base in sorted(base for base in bases if Path(base).name not in names):
        what = f"{Path(base).name}, which teachers started from"
        try:
            claims += _card_claims(TeacherCard.load(BUILTIN.parent / base), what)
        except TeacherBroken:  # a card may name any base
            claims.append(Claim(what, UNKNOWN))
    return claims


def start_claims(start: str, arch: str) -> list[Claim]:
    """Of the initial weights: none for random ones, the card's for those that have one.

    Args:
        start: `builtin`, `hub`, `random` or a folder.
        arch: timm's name of the student.
    """
    what = "the initial weights"
    if start == "random":
        return []
    folder = student_start(arch) if start == "builtin" else Path(start)
    stated = ""
    try:
        if folder is not None and start != "hub":
            if (folder / CARD_FILE).is_file():
                return _card_claims(TeacherCard.load(folder), what)
            stated = read_layout(folder).license
    except TeacherBroken:
        pass  # it states nothing
    # a license of weights alone says nothing of their data
    return [Claim(what, stated), Claim(f"data of {what}", UNKNOWN)]


def _card_claims(card: TeacherCard, what: str) -> list[Claim]:
    return [Claim(what, card.license), Claim(f"{card.data} (data of {what})", card.data_license)]


def strictness(claim: Claim) -> int:
    """Place of its license in the table, 0 for the freest."""
    return list(KINDS).index(claim.entry)


def choose_license(claims: Sequence[Claim]) -> str:
    """The strictest license if all are permissive, else `other`; `other` too if there is none."""
    if not claims or any(claim.kind != PERMISSIVE for claim in claims):
        return OTHER
    return max(claims, key=strictness).entry


def license_lines(claims: Sequence[Claim]) -> list[str]:
    """The section of a model card, in Markdown: the strictest license, and what each comes from."""
    chosen = choose_license(claims)
    if not claims:
        said = (
            "No teacher and no initial weights restrict this model. `license: other` means that no "
            "license was chosen yet."
        )
    else:
        worst = max(claims, key=strictness)
        said = f"The strictest is {_stated(worst)}, because of {worst.what}: {worst.kind}."
        said += (
            f" All are permissive, so source-zoo stated `{chosen}`."
            if chosen != OTHER
            else " So source-zoo stated `other`: read the terms and decide."
        )
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in sorted(claims, key=strictness, reverse=True):
        rows.setdefault((_stated(claim), claim.kind), []).append(claim.what)
    table = [f"| {name} | {kind} | {'; '.join(what)} |" for (name, kind), what in rows.items()]
    head = ["| license | kind | of |", "|---|---|---|"] if table else []
    own = (
        "The images that it was taught on are not counted: their rights are for those who taught "
        "it to judge. This list is no legal advice."
    )
    return ["## License", "", said, "", *head, *table, *([""] if table else []), own, ""]


def _stated(claim: Claim) -> str:
    return claim.license or UNKNOWN
