"""Who teaches a student: their shares, their files, and what they say of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.workflow import Bars, Task, extract_together, rank_target
from selection import Ranking
from zoo.errors import TeacherBroken
from zoo.images.folder import Images
from zoo.system.distributed import SINGLE, Processes
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import absolute_zoo, find_card, list_cards

if TYPE_CHECKING:
    from cli.distilling import Plan
    from distill.training.targets import Objective
    from zoo.features.store import Features


def choose_shares(
    plan: Plan, task: Task, images: Images, bars: Bars, ranking: Ranking | None = None
) -> tuple[Mapping[str, float], Ranking | None, Sequence[str]]:
    """Shares of the teachers, the ranking they come from, and mishaps on the way.

    A saved ranking of this very task is used, with the shares that people wrote into
    it; otherwise the teachers are ranked now.

    Raises:
        RankingError: the ranking cannot be used, or no teacher is close.
    """
    if plan.method not in ("weighted", "nearest"):
        return plan.shares, None, ()
    notes: Sequence[str] = ()
    ranking = ranking or saved_ranking(plan, images)
    if ranking is None:
        zoo = plan.zoo or "builtin"
        ranking, notes = rank_target(task, images, bars, zoo=zoo, device=plan.device)
        notes = (*notes, "There was no ranking of these images, so the teachers were ranked first.")
    notes = (*notes, *ranking.notes)
    if plan.method == "nearest":
        return {ranking.nearest(): 1.0}, ranking, notes
    return ranking.weights(plan.power), ranking, notes


def saved_ranking(plan: Plan, images: Images) -> Ranking | None:
    """The saved ranking of this very task and zoo, if that is what is saved.

    Raises:
        RankingError: the file cannot be read.
    """
    saved = Ranking.load(plan.ranking) if plan.ranking.exists() else None
    if saved is None or saved.digest != images.digest:
        return None
    return saved if plan.zoo is None or absolute_zoo(plan.zoo) == saved.zoo else None


def teaching_cards(
    shares: Mapping[str, float], zoo: str, bars: Bars, objective: Objective = "target"
) -> tuple[list[TeacherCard], dict[str, float], str]:
    """The teachers with a share, on this machine, their shares, and what to tell of them.

    A teacher without classes has none to imitate: in the objective `source` its share goes to the
    others.

    Raises:
        ZooError: a teacher is unknown, cannot be had, or nobody is left to teach.
    """
    listed = list_cards(zoo)
    cards = [find_card(name, listed) for name in shares]
    if any(card.folder is None for card in cards):
        from zoo.hub.client import fetch_all

        cards, failures = fetch_all(cards, progress=lambda name: bars(f"pulling {name}"))
        for name, reason in failures.items():
            raise TeacherBroken(f"The teacher {name!r} cannot teach: {reason}")
    mute = [card.name for card in cards if objective == "source" and not card.classes]
    kept = [card for card in cards if card.name not in mute]
    if mute and not kept:
        raise TeacherBroken(
            f"{', '.join(mute)} has no classes that a student could imitate: name a teacher that "
            "has some, with --teacher."
        )
    total = sum(shares[card.name] for card in kept)
    note = f"No classes to imitate, so no share: {', '.join(mute)}." if mute else ""
    return kept, {card.name: shares[card.name] / total for card in kept}, note


@dataclass(frozen=True)
class Asked:
    """Who teaches a student, and what they say of its images.

    Attributes:
        cards: of the teachers.
        shares: of the teachers.
        ranking: that the shares come from, if any.
        features: the outputs of each teacher.
        notes: mishaps on the way.
    """

    cards: Sequence[TeacherCard]
    shares: Mapping[str, float]
    ranking: Ranking | None
    features: Mapping[str, Features]
    notes: Sequence[str]


def ask(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    *,
    ranking: Ranking | None = None,
    processes: Processes = SINGLE,
) -> Asked:
    """Choose the teachers of a student and show them its images.

    Raises:
        ZooError: a teacher with a share failed.
    """
    shares, ranking, notes = choose_shares(plan, task, images, bars, ranking)
    zoo = plan.zoo or (ranking.zoo if ranking else "all")
    cards, shares, mute = teaching_cards(shares, zoo, bars, plan.objective)
    seen = extract_together(cards, images, bars, processes, device=plan.device)
    for name, reason in seen.failures.items():
        raise TeacherBroken(f"The teacher {name!r} cannot teach: {reason}")
    told = [text for text in (*notes, mute, *seen.warnings) if text]
    return Asked(cards, shares, ranking, seen.features, told)
