"""--dry-run and --budget of the commands that teach: count, measure, choose the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cli import terminal
from cli.asking import choose_shares, saved_ranking
from cli.budgeting import GOES_ON, Memory, check_alone, look_ahead
from cli.comparing import Record
from cli.distilling import Method, Plan, check_names, check_save, recipe_for
from cli.workflow import Bars, Task, ranked_cards
from zoo.budget import Outlook, Step, Watch, measuring_time, scoring_step
from zoo.images.folder import Images
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import find_card, list_cards

if TYPE_CHECKING:
    from distill.budget import Choice, Lessons, StudentPace

SAVING = Step("save", 1, "students", 1.5)
"""The student, its report and its page."""


@dataclass(frozen=True)
class Foresight:
    """What a command that teaches would do, and how its numbers are settled.

    Attributes:
        outlook: to be shown before it begins.
        lessons: of its students.
        ending: what comes after the last test.
        watch: its time.
        memory: where the choice is kept.
        kept: the choice of the run that was stopped and goes on; None for a new one.
    """

    outlook: Outlook
    lessons: Sequence[Lessons]
    ending: Sequence[Step]
    watch: Watch
    memory: Memory
    kept: Choice | None

    def settle(self, plan: Plan) -> Plan:
        """The plan with as many updates as now, all teachers asked, are left to the budget.

        Raises:
            ZooError: too little is left.
        """
        from distill.budget import choose_run, explain

        budget = self.watch.budget
        if budget is None:
            return plan
        choice = self.kept or choose_run(
            self.lessons,
            plan.image_size,
            budget=budget,
            spent=lambda: self.watch.spent,
            others=self.ending,
        )
        self.memory.keep({"updates": choice.updates, "image_size": choice.image_size})
        if self.kept is None:
            terminal.note(explain(self.lessons, plan.image_size, choice))
        recipe = replace(plan.recipe, updates=choice.updates)
        return replace(plan, recipe=recipe, image_size=choice.image_size)


def foresee_student(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    watch: Watch,
    *,
    test: Images | None,
    overwrite: bool,
) -> Foresight:
    """What `zoo distill` would do.

    Raises:
        ZooError: something is wrong that can be known before, or the budget is too small.
    """
    check_save(plan, task, test, overwrite=overwrite)
    memory = Memory.of(images.digest, test and test.digest, _asked(plan), watch.budget)
    parts = [(images, test)]
    methods: list[Method] = [plan.method]
    return _foresee(plan, task, images, bars, watch, memory, parts, methods, ending=[SAVING])


def foresee_comparison(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    watch: Watch,
    *,
    methods: Sequence[Method],
    test: Images | None,
    folds: int,
) -> Foresight:
    """What `zoo compare` would do; with its file goes its choice.

    Raises:
        ZooError: something is wrong that can be known before, or the budget is too small.
    """
    from distill.evaluation.comparison import divide

    parts, folds = divide(images, test, folds)
    Record.open(plan.save, "")
    memory = Memory.of(images.digest, test and test.digest, folds, _asked(plan), watch.budget)
    if not plan.save.exists():
        memory = replace(memory, fresh=True)
    return _foresee(plan, task, images, bars, watch, memory, parts, methods, ending=[])


def _asked(plan: Plan) -> Plan:
    """What of a plan decides what its run gives."""
    return replace(plan, save=Path(), ranking=Path(), command="")


def _foresee(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    watch: Watch,
    memory: Memory,
    parts: Sequence[tuple[Images, Images | None]],
    methods: Sequence[Method],
    *,
    ending: Sequence[Step],
) -> Foresight:
    """What teaching a student by each method on each part would do."""
    from distill.budget import Choice, choose_run, lesson_steps

    check_alone()
    plan = check_names(plan)
    cards, rankings = _teachers(plan, task, images, bars, len(parts), methods)
    before, perhaps, notes = _before(plan, task, images, bars, watch, cards, rankings, methods)
    lessons = _lessons(plan, images, parts, methods, cards, watch)
    for each in lessons:
        each.pace(plan.image_size)  # measured now, so that the clock shows what it took
    choice, chosen, kept = Choice(plan.recipe.updates, plan.image_size), {}, None
    begun = Step("read and measure", len(images), "images", watch.spent)
    if watch.budget:
        found = memory.recall("updates", "image_size")
        kept = Choice(*found) if found else None
        choice = kept or choose_run(
            lessons,
            plan.image_size,
            budget=watch.budget,
            spent=lambda: watch.spent,
            others=(*before, *ending),
            perhaps=perhaps,
        )
        chosen = {"updates": choice.updates, "image_size": choice.image_size}
    steps = (begun, *before, *perhaps, *lesson_steps(lessons, choice), *ending)
    told = (*notes, *([GOES_ON] if kept else []))
    return Foresight(
        Outlook(steps, chosen, watch.budget, told), lessons, ending, watch, memory, kept
    )


def _teachers(
    plan: Plan, task: Task, images: Images, bars: Bars, parts: int, methods: Sequence[Method]
) -> tuple[list[TeacherCard], int]:
    """The teachers that may be asked for all images, and how many rankings come first."""
    ranked = not {"weighted", "nearest"}.isdisjoint(methods)
    if not ranked and "teachers" not in methods:
        return [], 0
    saved = saved_ranking(plan, images) if ranked and parts == 1 else None
    if ranked and saved is None:
        return ranked_cards(plan.zoo or "builtin"), parts
    shares, ranking, _ = choose_shares(plan, task, images, bars, saved)
    listed = list_cards(plan.zoo or (ranking.zoo if ranking else "all"))
    return [find_card(name, listed) for name, share in shares.items() if share > 0], 0


def _before(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    watch: Watch,
    cards: Sequence[TeacherCard],
    rankings: int,
    methods: Sequence[Method],
) -> tuple[list[Step], list[Step], list[str]]:
    """Asking and ranking teachers: what is sure, what may come on top, and what to tell."""
    from selection.pace import measure_scoring
    from zoo.features.controls import NAMES

    if not cards:
        return [], [], []
    asking, fetching, notes = look_ahead(cards, images, bars, watch, plan.device)
    if not rankings:
        asked = asking.step("ask the teachers", images.digests)
        return [*fetching, *([asked] if asked.count else [])], [], notes
    probe = images.sample(seed=task.seed)
    scoring = measure_scoring(probe.labels)
    sure = [
        asking.step("ask for the ranking", probe.digests),
        scoring_step(len(cards) + len(NAMES), probe.labeled, scoring, rankings),
    ]
    rest = set(images.digests) - set(probe.digests)
    alone = {"weighted", "teachers"}.isdisjoint(methods)
    more = asking.step("ask those with a share, at most", rest, slowest=alone)
    counted = [step for step in sure if step.count]
    return [*fetching, *counted], [more] if more.count else [], notes


def _lessons(
    plan: Plan,
    images: Images,
    parts: Sequence[tuple[Images, Images | None]],
    methods: Sequence[Method],
    cards: Sequence[TeacherCard],
    watch: Watch,
) -> list[Lessons]:
    """The students of each method; like ones are measured once."""
    from distill.budget import Lessons
    from distill.pace import measure_student
    from zoo.pace import measure_decoding
    from zoo.system.devices import choose_device

    found: dict[tuple[str, int], StudentPace] = {}
    decode: dict[int, float] = {}
    widths = [card.classes for card in cards if card.classes] if plan.objective == "source" else []
    kinds = {
        method: method if method in ("transfer", "fixmatch") else "taught" for method in methods
    }

    def pace(method: Method, size: int) -> StudentPace:
        kind = kinds[method]
        if size not in decode:
            decode[size] = measure_decoding(images, size)
        if (kind, size) not in found:
            found[kind, size] = measure_student(
                plan.arch,
                len(images.classes),
                recipe_for(method, plan.recipe),
                teachers=widths if kind == "taught" else None,
                image_size=size,
                seconds=measuring_time(watch.budget, len(set(kinds.values()))),
                device=choose_device(plan.device),
                decode=decode[size],
            )
        return found[kind, size]

    shown = int(np.mean([len(lesson) for lesson, _ in parts]))
    tested = int(np.mean([len(exam) if exam else 0 for _, exam in parts]))
    return [
        Lessons(each, len(parts), shown, tested, lambda size, each=each: pace(each, size))
        for each in methods
    ]
