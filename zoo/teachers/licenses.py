"""Licenses: their kinds, from the most permissive to the strictest, and those of a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoo.teachers.card import TeacherCard

PERMISSIVE = "permissive"
TERMS = "terms of its own"
NON_COMMERCIAL = "non-commercial"
UNKNOWN = "unknown"

KINDS: Mapping[str, str] = {
    **dict.fromkeys(("cc0-1.0", "unlicense", "mit", "isc", "bsd", "bsd-2-clause"), PERMISSIVE),
    **dict.fromkeys(("bsd-3-clause", "apache-2.0", "cc-by-3.0", "cc-by-4.0"), PERMISSIVE),
    **dict.fromkeys(("mpl-2.0", "lgpl-3.0", "cc-by-sa-3.0", "cc-by-sa-4.0"), "share-alike"),
    **dict.fromkeys(("gpl-2.0", "gpl-3.0", "agpl-3.0"), "share-alike"),
    "cc-by-nd-4.0": "no derivatives",
    TERMS: TERMS,
    **dict.fromkeys((NON_COMMERCIAL, "imagenet-terms", "research"), NON_COMMERCIAL),
    "competition-terms": NON_COMMERCIAL,
    UNKNOWN: UNKNOWN,
}
"""Known licenses and their kinds, from the most permissive to the strictest."""

_ALIASES = {"cc0": "cc0-1.0", "apache-2": "apache-2.0", "imagenet": "imagenet-terms"}
_UNSTATED = ("", "unknown", "other", "none", "not-published")
_NON_COMMERCIAL = {"nc", "noncommercial", "commercial", "research", "academic", "competition"}
"""Words that make a license outside the table at least non-commercial."""


@dataclass(frozen=True)
class Claim:
    """One license that a student depends on, as stated on the card of a network or data set."""

    what: str
    license: str

    @property
    def entry(self) -> str:
        """Its key in KINDS, one of the last three for a license outside the table."""
        key = "-".join(self.license.lower().split())
        key = _ALIASES.get(key, key)
        if key in _UNSTATED:
            return UNKNOWN
        if key in KINDS:
            return key
        letters = "".join(letter if letter.isalnum() else " " for letter in key)
        return NON_COMMERCIAL if _NON_COMMERCIAL & set(letters.split()) else TERMS

    @property
    def kind(self) -> str:
        """Kind of the license."""
        return KINDS[self.entry]


def strictness(claim: Claim) -> int:
    """Index of its license in KINDS, 0 for the most permissive."""
    return list(KINDS).index(claim.entry)


def card_claims(card: TeacherCard, what: str) -> list[Claim]:
    """Licenses of a network's weights and of its training data."""
    return [Claim(what, card.license), Claim(f"{card.data} (data of {what})", card.data_license)]


def is_permissive(card: TeacherCard) -> bool:
    """Whether a network's weights and its training data both have a permissive license."""
    return all(claim.kind == PERMISSIVE for claim in card_claims(card, card.name))
