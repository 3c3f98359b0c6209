"""Find teachers: the cards of the embedded zoo, by name. New teachers: docs/teachers.md."""

from __future__ import annotations

import difflib
from pathlib import Path

from .card import CARD_FILE, TeacherCard
from .errors import TeacherNotFound

BUILTIN = Path(__file__).parent / "builtin"
STUDENTS = Path(__file__).parent / "students"


def list_cards() -> list[TeacherCard]:
    """The cards of the embedded teachers, by name."""
    return [TeacherCard.load(path.parent) for path in sorted(BUILTIN.glob(f"*/{CARD_FILE}"))]


def find_card(name: str) -> TeacherCard:
    """The card of one teacher.

    Raises:
        TeacherNotFound: no teacher has this name; the message offers close ones.
    """
    cards = {card.name: card for card in list_cards()}
    if name in cards:
        return cards[name]
    close = difflib.get_close_matches(name, cards, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else "`zoo list` shows them all."
    raise TeacherNotFound(f"No teacher is called {name!r}. {hint}")


def student_start(arch: str) -> Path | None:
    """Folder of the embedded initial student of this architecture, None where there is none."""
    folder = STUDENTS / arch
    return folder if (folder / "model.safetensors").exists() else None
