"""Pull many teachers from the Hub: a row for each, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.errors import HubUnreachable, TeacherBroken, ZooError
from zoo.system.runtime import Runtime
from zoo.teachers.card import TeacherCard


@dataclass(frozen=True)
class Pulled:
    """The result for one teacher.

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


def pull(cards: Sequence[TeacherCard], runtime: Runtime, *, dry_run: bool) -> list[Pulled]:
    """Bring teachers to this machine, or only find out what that would fetch."""
    from zoo.hub.client import fetch, find_files

    rows: list[Pulled] = []
    online = True
    for card in cards:
        try:
            if dry_run and card.folder is None:
                files = find_files(card, online=online)
                rows.append(Pulled(card.name, "would pull", files.bytes, files.revision))
                continue
            pulled = card
            if not dry_run:
                pulled = fetch(
                    card, online=online, progress=runtime.progress(f"pulling {card.name}")
                )
            status = "pulled" if pulled is not card else "here"
            size = 0 if dry_run else pulled.bytes
            rows.append(Pulled(card.name, status, size, pulled.revision))
        except ZooError as error:
            online = online and not isinstance(error, HubUnreachable)
            reason = str(error).removeprefix(f"{card.repo}: ")
            rows.append(Pulled(card.name, "failed", 0, card.revision, reason))
    return rows


def pull_missing(
    cards: Sequence[TeacherCard], runtime: Runtime, *, check: bool = False
) -> tuple[list[TeacherCard], dict[str, str]]:
    """The same teachers on this machine, and by name why some are not.

    Args:
        cards: the teachers.
        runtime: for the progress of downloads.
        check: whether pulled files are compared with their hash first.
    """
    if all(card.folder for card in cards):
        return list(cards), {}
    from zoo.hub.client import fetch_all

    return fetch_all(cards, check=check, progress=lambda name: runtime.progress(f"pulling {name}"))


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
