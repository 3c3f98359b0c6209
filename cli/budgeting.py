"""--dry-run and --budget: count what a ranking would do, measure the machine, remember a choice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cli import terminal
from cli.teachers import pull
from cli.workflow import Bars, Task, ranked_cards
from zoo.budget import Asking, Outlook, Step, Watch, choose_probe, measuring_time, scoring_step
from zoo.errors import ZooError
from zoo.images.folder import MAX_LABELED, Images
from zoo.system.files import cache_folder, write_atomic
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import list_cards
from zoo.teachers.fingerprint import reference_card

GOES_ON = "It goes on with the numbers that its budget chose when it began."


def check_alone() -> None:
    """Make sure that this is no process of torchrun's: each would measure and choose its own.

    Raises:
        ZooError: it is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ZooError("--budget and --dry-run measure one process: leave them out in torchrun.")


@dataclass(frozen=True)
class Memory:
    """What a budget chose for a command: stopped, it goes on with that, at whatever speed.

    Attributes:
        path: of the file, which is there until the command is done.
        fresh: whether the command begins anew, whatever is remembered.
    """

    path: Path
    fresh: bool = False

    @classmethod
    def of(cls, *depends: object) -> Memory:
        """That of a command which depends on all this."""
        key = hashlib.sha256(repr(depends).encode()).hexdigest()
        return cls(cache_folder() / "runs" / f"budget-{key[:32]}.json")

    def recall(self, *names: str) -> list[int] | None:
        """The numbers that were chosen, by name; None if none were."""
        if self.fresh:
            return None
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return [int(found[name]) for name in names]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, chosen: Mapping[str, int]) -> None:
        """Remember what was chosen."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(chosen) + "\n")
        except OSError as error:
            terminal.note(
                f"The choice could not be kept in {self.path.parent} ({error.strerror or error}): "
                "stopped, this command begins anew."
            )

    def delete_checkpoint(self) -> None:
        """The command is done."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def look_ahead(
    cards: Sequence[TeacherCard], images: Images, bars: Bars, watch: Watch, device: str
) -> tuple[Asking, list[Step], list[str]]:
    """What asking these teachers takes, what is fetched for it, and what cannot be had."""
    from zoo.pace import measure_asking
    from zoo.system.devices import choose_device

    check_alone()
    choose_device(device)  # even where nobody has to be asked
    absent = [card for card in cards if card.folder is None]
    rows = pull(absent, bars, dry_run=True) if absent else []
    lost = {row.name: row.reason for row in rows if row.reason}
    fetching = [Step(f"fetch {row.name}", row.bytes, "bytes", None) for row in rows if row.bytes]
    present = [card for card in cards if card.name not in lost]
    asking = measure_asking(present, images, seconds=measuring_time(watch.budget), device=device)
    return asking, fetching, [f"{name} cannot be had: {reason}" for name, reason in lost.items()]


@dataclass(frozen=True)
class RankingAhead:
    """A ranking that is to come, as `zoo rank` was asked for it."""

    task: Task
    zoo: str
    metric: str | None
    shortlist: int | None
    device: str
    watch: Watch

    def foresee(
        self, images: Images, pool: int, bars: Bars, *, dry_run: bool
    ) -> tuple[Outlook, int, int]:
        """What it would do, and on how many labeled and unlabeled images at most.

        Raises:
            ZooError: the budget is too small.
        """
        whole = images.sample(max_unlabeled=pool, seed=self.task.seed)
        steps, fetching, notes = self._measure(images, whole, bars)
        begun = Step("read and measure", len(images), "images", self.watch.spent)
        labeled, chosen = MAX_LABELED, {}
        if self.watch.budget:
            memory = self._memory(images)
            kept = memory.recall("labeled", "probe")
            labeled, pool = kept or choose_probe(
                steps,
                budget=self.watch.budget,
                spent=self.watch.spent,
                labeled=(2 * len(images.classes), labeled),
                pool=pool,
            )
            chosen = {"labeled": labeled, "probe": pool}
            if not dry_run:
                memory.keep(chosen)
            notes = [*notes, GOES_ON] if kept else notes
        counted = [step for step in steps(labeled, pool) if step.count]
        outlook = Outlook((begun, *fetching, *counted), chosen, self.watch.budget, tuple(notes))
        return outlook, labeled, pool

    def done(self, images: Images) -> None:
        """The ranking is saved: the next one may choose anew."""
        if self.watch.budget:
            self._memory(images).delete_checkpoint()

    def _memory(self, images: Images) -> Memory:
        return Memory.of(
            images.digest, self.task.seed, self.zoo, self.metric, self.shortlist, self.watch.budget
        )

    def _measure(
        self, images: Images, whole: Images, bars: Bars
    ) -> tuple[Callable[[int, int], list[Step]], list[Step], list[str]]:
        """The steps for so many labeled and unlabeled images; downloads; what to tell."""
        from selection.pace import measure_scoring
        from zoo.features.controls import NAMES, start_card
        from zoo.pace import measure_asking

        cards, unsure = ranked_cards(self.zoo), []
        if self.shortlist is not None:
            cards, unsure = _largest(self.zoo, self.shortlist)
        asking, fetching, lost = look_ahead(cards, images, bars, self.watch, self.device)
        controls = measure_asking([start_card()], images, seconds=0, device=self.device)
        scoring = measure_scoring(whole.labels, metric=self.metric)

        def steps(labeled: int, pool: int) -> list[Step]:
            probe = images.sample(max_labeled=labeled, max_unlabeled=pool, seed=self.task.seed)
            student = controls.step("ask the controls", probe.digests, unit="images")
            # the other controls take about as long as the initial student
            asked = replace(student, seconds=len(NAMES) * (student.seconds or 0.0))
            return [
                asking.step("ask the teachers", probe.digests),
                asked,
                scoring_step(len(cards) + len(NAMES), probe.labeled, scoring),
            ]

        return steps, fetching, [*unsure, *lost]


def _largest(zoo: str, shortlist: int) -> tuple[list[TeacherCard], list[str]]:
    """The most that a shortlist may take, which is known only when the images are looked at."""
    cards = sorted(list_cards(zoo), key=lambda card: -card.bytes)[:shortlist]
    note = "Which teachers a shortlist takes is found by looking: the largest are counted here."
    asked = {card.name: card for card in (*cards, reference_card())}
    return list(asked.values()), [note]
