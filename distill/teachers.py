"""The teachers of a student: their shares, their outputs, and the work before training."""

# ruff: noqa: D102  (members of protocols are documented where they are implemented)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from distill.recipe import DISTILLED, RANKED, Distillation, Method
from zoo.errors import StudentError, TeacherBroken
from zoo.features.extraction import extract_required
from zoo.features.store import Features
from zoo.hub.pull import pull_required
from zoo.images.folder import Images
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, Step
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import find_card, list_cards

if TYPE_CHECKING:
    from zoo.features.throughput import ForwardPasses


class TeacherRanking(Protocol):
    """What a ranking gives to distillation; `selection.Ranking` is one."""

    @property
    def zoo(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    def weights(self, power: float | None = None) -> dict[str, float]: ...
    def nearest(self) -> str: ...
    def to_json(self) -> dict[str, Any]: ...


class RankingWork(Protocol):
    """What a ranking is going to do; `selection.pipeline.RankingWork` is one."""

    @property
    def cards(self) -> Sequence[TeacherCard]: ...
    @property
    def passes(self) -> ForwardPasses: ...
    @property
    def sample(self) -> Images: ...
    @property
    def steps(self) -> Sequence[Step]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


class RankingTask(Protocol):
    """A ranking that can be planned and made; `selection.RankingJob` is one."""

    def run(self) -> TeacherRanking: ...
    def measure(self, deadline: Deadline) -> RankingWork: ...


Ranker = Callable[[Images, str, Runtime], RankingTask]
"""Called as `ranker(images, zoo, runtime)`: a ranking to be made; `selection.ranker` is one."""


@dataclass(frozen=True)
class Teachers:
    """The teachers of a student, their shares, which sum to 1, and where these come from.

    `features` are the outputs of each for the images; empty before they are run.
    """

    cards: Sequence[TeacherCard] = ()
    shares: Mapping[str, float] = field(default_factory=lambda: {})
    features: Mapping[str, Features] = field(default_factory=lambda: {})
    ranking: TeacherRanking | None = None


def check_ranker(methods: Iterable[Method], ranker: Ranker | TeacherRanking | None) -> None:
    """Refuse methods whose teachers come from a ranking where nothing ranks them: a StudentError.

    `ranker` makes the ranking, or is one.
    """
    if ranker is None and (ranked := sorted(RANKED.intersection(methods))):
        raise _no_ranker(ranked[0])


def _no_ranker(method: Method) -> StudentError:
    return StudentError(
        f"The method {method!r} ranks teachers: pass ranker=selection.ranker, or choose another "
        "method, such as 'probe'."
    )


def choose_shares(
    how: Distillation,
    images: Images,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None,
    ranker: Ranker | None,
) -> tuple[Mapping[str, float], TeacherRanking | None]:
    """Shares of the teachers and the ranking they come from.

    Raises:
        StudentError: the method needs a ranking, and neither it nor a ranker is given.
        RankingError: the teachers cannot be ranked, or none is close.
    """
    if how.method == "teachers":
        return how.shares, None
    if how.method not in RANKED:
        return {}, None
    if ranking is None:
        if ranker is None:
            raise _no_ranker(how.method)
        ranking = ranker(images, how.zoo or "builtin", runtime).run()
        runtime.warn("No ranking of these images was found: the teachers were ranked first.")
    for message in ranking.warnings:
        runtime.warn(message)
    if how.method == "nearest":
        return {ranking.nearest(): 1.0}, ranking
    return ranking.weights(how.power), ranking


def prepare_teachers(
    how: Distillation,
    images: Images,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None = None,
    ranker: Ranker | None = None,
) -> Teachers:
    """Choose the teachers of a student, bring them to this machine and run them on its images.

    A teacher without a classifier cannot be imitated in its own classes: with the objective
    `source` its share goes to the others.

    Raises:
        ZooError: a teacher with a share is unknown, unavailable or fails, or none is left.
    """
    shares, ranking = choose_shares(how, images, runtime, ranking=ranking, ranker=ranker)
    if not shares:
        return Teachers(ranking=ranking)
    listed = list_cards(how.zoo or (ranking.zoo if ranking else "all"))
    named = [find_card(name, listed) for name, share in shares.items() if share > 0]
    cards = pull_required(named, runtime, "for training")
    headless = [card.name for card in cards if how.objective == "source" and not card.classes]
    used = [card for card in cards if card.name not in headless]
    if headless and not used:
        raise TeacherBroken(
            f"{', '.join(headless)} has no classifier to imitate: name a teacher that has one, "
            "with --teacher."
        )
    if headless:
        runtime.warn(f"No classifier to imitate, so share 0: {', '.join(headless)}.")
    features = extract_required(used, images, runtime)
    total = sum(shares[card.name] for card in used)
    used_shares = {card.name: shares[card.name] / total for card in used}
    return Teachers(used, used_shares, features, ranking)


@dataclass(frozen=True)
class TeacherWork:
    """What comes before training; what depends on a ranking counts in full.

    `widths` are the classes of the teachers that are imitated in their own classes; warnings say
    what is unavailable or unknown.
    """

    steps: Sequence[Step] = ()
    widths: Sequence[int] = ()
    warnings: Sequence[str] = ()


def plan_teachers(
    how: Distillation,
    images: Images,
    deadline: Deadline,
    runtime: Runtime,
    *,
    ranking: TeacherRanking | None,
    ranker: Ranker | None,
    methods: Sequence[Method] | None = None,
    rankings: int = 1,
) -> TeacherWork:
    """The work of `prepare_teachers` for students of some methods, that of `how` if none is given.

    `rankings` is how many the ranker makes, where no ranking is given.
    """
    from zoo.features.throughput import plan_passes

    methods = methods or [how.method]
    if DISTILLED.isdisjoint(methods):
        return TeacherWork()
    if RANKED.isdisjoint(methods) or ranking or ranker is None:
        shares, _ = choose_shares(how, images, runtime, ranking=ranking, ranker=None)
        listed = list_cards(how.zoo or (ranking.zoo if ranking else "all"))
        cards = [find_card(name, listed) for name, share in shares.items() if share > 0]
        passes, fetching, warnings = plan_passes(cards, images, deadline, runtime)
        steps = [*fetching, passes.step("run teachers", images.digests)]
    else:
        work = ranker(images, how.zoo or "builtin", runtime).measure(deadline)
        cards, warnings = work.cards, work.warnings
        steps = [
            replace(step, count=rankings * step.count, seconds=rankings * (step.seconds or 0.0))
            if step.unit == "scores"
            else step
            for step in work.steps
        ]
        rest = {*images.digests} - {*work.sample.digests}
        alone = {"weighted", "teachers"}.isdisjoint(methods)
        more = "run teachers with a share, at most"
        steps.append(work.passes.step(more, rest, slowest=alone))
    widths = [card.classes for card in cards if card.classes] if how.objective == "source" else []
    return TeacherWork([step for step in steps if step.count], widths, warnings)
