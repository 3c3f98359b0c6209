"""Pull many teachers from the Hub: a row for each, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zoo.errors import HubUnreachable, TeacherBroken, ZooError
from zoo.system.runtime import Runtime
from zoo.teachers.card import TeacherCard

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pulled:
    """The result for one teacher: `pulled`, `here`, `would pull` or `failed`, and why.

    In a dry run the bytes are those of files that are not here yet; the revision is its commit.
    """

    name: str
    status: str
    bytes: int
    revision: str
    reason: str = ""


def pull(cards: Sequence[TeacherCard], runtime: Runtime, *, dry_run: bool) -> list[Pulled]:
    """Bring teachers to this machine, or only find out what that would fetch."""
    from zoo.hub.client import find_files

    def bring(card: TeacherCard, online: bool) -> Pulled:
        if dry_run and card.folder is None:
            files = find_files(card, online=online)
            return Pulled(card.name, "would pull", files.bytes, files.revision)
        if dry_run:
            return Pulled(card.name, "here", 0, card.revision)
        pulled = _fetch(card, runtime, check=True, online=online)
        status = "here" if pulled is card else "pulled"
        return Pulled(card.name, status, pulled.bytes, pulled.revision)

    return [
        row or Pulled(card.name, "failed", 0, card.revision, reason)
        for card, row, reason in _attempt(cards, bring)
    ]


def pull_missing(
    cards: Sequence[TeacherCard], runtime: Runtime, *, check: bool = False
) -> tuple[list[TeacherCard], dict[str, str]]:
    """The same teachers on this machine, and by name why some are not.

    With `check` pulled files are compared with their hash first.
    """
    if all(card.folder for card in cards):
        return list(cards), {}
    tried = [
        *_attempt(cards, lambda card, online: _fetch(card, runtime, check=check, online=online))
    ]
    found = [fetched for _, fetched, _ in tried if fetched]
    return found, {card.name: reason for card, fetched, reason in tried if not fetched}


def pull_required(
    cards: Sequence[TeacherCard], runtime: Runtime, purpose: str
) -> list[TeacherCard]:
    """The same teachers on this machine, each of which is required.

    Raises:
        TeacherBroken: one is unavailable; the message says for which purpose.
    """
    found, failures = pull_missing(cards, runtime, check=True)
    for name, reason in failures.items():
        raise TeacherBroken(f"The teacher {name!r} is not available {purpose}: {reason}")
    return found


def _fetch(card: TeacherCard, runtime: Runtime, *, check: bool, online: bool) -> TeacherCard:
    from zoo.hub.client import fetch

    bar = runtime.progress(f"pulling {card.name}") if card.repo and not card.folder else None
    return fetch(card, check=check, online=online, progress=bar)


def _attempt(
    cards: Sequence[TeacherCard], work: Callable[[TeacherCard, bool], Result]
) -> Iterator[tuple[TeacherCard, Result | None, str]]:
    """Each card with its result, or with None and why; `work` learns whether to go online."""
    online = True
    for card in cards:
        try:
            yield card, work(card, online), ""
        except ZooError as error:
            online = online and not isinstance(error, HubUnreachable)
            yield card, None, str(error).removeprefix(f"{card.repo}: ")
