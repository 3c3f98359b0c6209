"""Methods against each other on the user's own labels: what `zoo compare` does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cli import terminal
from cli.asking import Asked, ask
from cli.distilling import Method, Plan, check_names, recipe_for, teach
from cli.workflow import Bars, Task, rank_target, saving
from zoo.errors import StudentError
from zoo.images.folder import Images
from zoo.system.distributed import join
from zoo.system.files import write_atomic

if TYPE_CHECKING:
    from distill.evaluation.comparison import Bools, Comparison
    from selection import Ranking

METHODS: tuple[Method, ...] = ("transfer", "fixmatch", "nearest", "weighted")
"""What is compared, the simplest first."""


@dataclass
class Record:
    """The finished students of a comparison, kept in a file.

    Attributes:
        path: of the file.
        run: SHA-256 of all that the comparison depends on but its methods.
        cells: by `method/fold`, `hits` as a text of 0 and 1, and `seconds`.
        writes: whether this process keeps the file.
        other: the `run` of another comparison that the file holds; empty if it holds none.
    """

    path: Path
    run: str
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: bool = True
    other: str = ""

    @classmethod
    def open(cls, path: Path, run: str, *, writes: bool = True) -> Record:
        """What a file holds of this comparison; nothing of another one.

        Raises:
            StudentError: the file is something else, which stays as it is.
        """
        if not path.exists():
            return cls(path, run, writes=writes)
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            cells = {key: dict(cell) for key, cell in document["cells"].items()}
            if document["run"] == run:
                return cls(path, run, cells, writes)
            return cls(path, run, {}, writes, str(document["run"]) if cells else "")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StudentError(
                f"{path} is no comparison of ours: choose another --save."
            ) from error

    def make_way(self) -> str:
        """Move another comparison aside; what to tell of it.

        Raises:
            ZooError: it cannot be moved.
        """
        if not (self.other and self.writes):
            return ""
        aside = self.path.with_name(f"{self.path.stem}-{self.other[:8]}{self.path.suffix}")
        with saving("other comparison", aside):
            self.path.replace(aside)
        return f"{self.path} held another comparison: it is {aside} now."

    def add(self, key: str, right: Bools, seconds: float) -> None:
        """Keep a student's answers.

        Raises:
            ZooError: the file cannot be written.
        """
        hits = "".join("01"[int(hit)] for hit in right)
        self.cells[key] = {"hits": hits, "seconds": round(seconds, 2)}
        self.save()

    def save(self, **more: Any) -> None:
        """Write the file, whole.

        Raises:
            ZooError: it cannot be written.
        """
        if not self.writes:
            return
        document = {**more, "run": self.run, "cells": self.cells}
        with saving("comparison", self.path):
            write_atomic(self.path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def gather(self, keys: Sequence[str]) -> tuple[Bools, float]:
        """The answers of some students one after the other, and the seconds of all."""
        hits = "".join(self.cells[key]["hits"] for key in keys)
        seconds = sum(self.cells[key]["seconds"] for key in keys)
        return np.array([hit == "1" for hit in hits]), seconds


def compare_methods(
    plan: Plan,
    task: Task,
    images: Images,
    bars: Bars,
    *,
    methods: Sequence[Method],
    test: Images | None,
    folds: int,
    settle: Callable[[Plan], Plan] | None = None,
) -> Comparison:
    """Teach a student by each method and test all on the same images.

    With `test` each method teaches one student on all labels; without, one per fold, tested on
    the labeled images that the fold holds back. Each finished student's answers are kept in
    `plan.save`, and the same comparison goes on from there.

    With `settle` all teachers are asked before the first student is taught; then it is called
    for the plan that is followed.

    Raises:
        ZooError: a student cannot be taught or tested, or the file cannot be written.
    """
    from distill.evaluation.comparison import compare, divide
    from distill.evaluation.evaluate import predict
    from distill.student import round_as_saved
    from distill.training.checkpoint import delete_checkpoint

    parts, folds = divide(images, test, folds)
    rankings: dict[int, Ranking] = {}
    plan = check_names(plan)

    def asked(method: Method, number: int) -> tuple[Plan, Asked]:
        own = replace(plan, method=method, recipe=recipe_for(method, plan.recipe))
        lesson = parts[number][0]
        if method in ("nearest", "weighted") and number not in rankings:
            zoo = plan.zoo or "builtin"
            rankings[number], _ = rank_target(task, lesson, bars, zoo=zoo, device=plan.device)
        ranking = rankings.get(number)
        return own, ask(own, task, lesson, bars, ranking=ranking, processes=processes)

    cells: list[tuple[Method, int]] = [
        (each, fold) for fold in range(len(parts)) for each in methods
    ]
    with join() as processes:
        if settle:
            Record.open(plan.save, "")  # a file that is none of ours is named before any work
            for method, number in cells:
                asked(method, number)  # what they say stays in the store
            plan = settle(plan)
        run = _fingerprint(plan, images, test, folds)
        record = Record.open(plan.save, run, writes=processes.is_first)
        processes.wait()  # all go on from the same file, before one of them writes it
        terminal.note(record.make_way())
        for method, number in cells:
            key = f"{method}/{number}"
            if key in record.cells:
                continue
            lesson, exam = parts[number]
            taught = teach(*asked(method, number), lesson, bars, processes=processes)
            round_as_saved(taught.network)
            answers = predict(taught.network, exam, taught.preprocessing).argmax(axis=1)
            truth = np.array(exam.classes)[exam.labels]
            record.add(key, np.array(images.classes)[answers] == truth, taught.seconds)
            delete_checkpoint(taught.state)
    found = {
        method: record.gather([f"{method}/{number}" for number in range(len(parts))])
        for method in methods
    }
    comparison = compare(found, folds=folds)
    record.save(**comparison.to_json())
    return comparison


def _fingerprint(plan: Plan, images: Images, test: Images | None, folds: int) -> str:
    """SHA-256 of what the answers depend on."""
    tasks = [(each.digests, each.labels.tolist()) for each in (images, test) if each]
    numbers = (plan.objective, plan.zoo, plan.arch, plan.start, plan.image_size, plan.recipe)
    return hashlib.sha256(repr((tasks, folds, numbers)).encode()).hexdigest()
