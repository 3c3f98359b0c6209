"""compare_methods: several methods on a user's own labels, exactly what `zoo compare` does."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.catalogue import summarize_student
from distill.evaluation.comparison import Bools, Comparison, Cost, compare
from distill.evaluation.folds import split
from distill.pipeline import load_test, train_student, warn_of_overlap
from distill.recipe import LARGEST_SEED, RANKED, TRAINING_FORMAT, Distillation, Method
from distill.teachers import (
    Ranker,
    TeacherRanking,
    Teachers,
    check_ranker,
    plan_teachers,
    prepare_teachers,
)
from zoo.errors import StudentError
from zoo.images.folder import Images
from zoo.images.source import ImageSource, check_output, load_images, source_of
from zoo.system import json_files as js
from zoo.system.files import saving
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, SavedChoice
from zoo.teachers.catalogue import cards_to_rank
from zoo.teachers.starts import find_start

if TYPE_CHECKING:
    from distill.budget import TrainingPlan
    from distill.training.loop import Trained

METHODS: tuple[Method, ...] = ("probe", "transfer", "fixmatch", "nearest", "weighted")
"""What is compared, the simplest first."""

SEEDS = 3
"""Students of each method on each fold, where a budget holds them."""

_CELL = js.record({"hits": js.pattern("[01]+", "a text of 0 and 1"), "seconds": js.number(0)})
_RUN = js.pattern("[0-9a-f]{64}", "a SHA-256")
_RECORD = js.record({"run": _RUN, "cells": js.optional(js.mapping(_CELL), {})})


@dataclass
class FinishedStudents:
    """The finished students of a comparison, kept in a file; only one process writes it.

    `run` is the SHA-256 of all that the comparison depends on but its methods, `other` that of
    another comparison in the file, if it holds one: it is moved aside at the first write, and
    `warn` called with where to. `cells` have by `method/fold`, or
    `method/fold/n` of the n-th further seed, `hits` as a text of 0 and 1, and `seconds`. `parts`
    are files of other jobs that were joined.
    """

    path: Path
    run: str
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: bool = True
    other: str = ""
    parts: Sequence[Path] = ()
    warn: Callable[[str], None] = lambda _: None

    @classmethod
    def open(cls, path: Path, run: str, *, writes: bool = True) -> FinishedStudents:
        """What a file holds of this comparison; nothing of another one.

        Raises:
            StudentError: the file is something else, which stays as it is.
        """
        if not path.exists():
            return cls(path, run, writes=writes)
        advice = "It is not a comparison of source-zoo: choose another --save."
        document = js.read_json(path, _RECORD, error=StudentError, advice=advice, limit=256 << 20)
        if document["run"] == run:
            return cls(path, run, document["cells"], writes)
        return cls(path, run, {}, writes, document["run"] if document["cells"] else "")

    def holds(self, key: str, images: int) -> bool:
        """Whether there are the results of a student on so many images."""
        return key in self.cells and len(self.cells[key]["hits"]) == images

    def add(self, key: str, right: Bools, seconds: float) -> None:
        """Keep the results of a student; a ZooError if the file cannot be written."""
        hits = "".join("01"[int(hit)] for hit in right)
        self.cells[key] = {"hits": hits, "seconds": round(seconds, 2)}
        self.save()

    def save(self, result: Mapping[str, Any] | None = None) -> None:
        """Write the file atomically, or raise a ZooError; a result ends the files of parts."""
        if self.writes:
            self._move_other()
            with saving("comparison", self.path):
                js.write_json(self.path, {**(result or {}), "run": self.run, "cells": self.cells})
            for path in self.parts if result else ():
                path.unlink(missing_ok=True)

    def _move_other(self) -> None:
        """Make room for this comparison where another one is in the file."""
        if not self.other:
            return
        aside = self.path.with_name(f"{self.path.stem}-{self.other[:8]}{self.path.suffix}")
        with saving("other comparison", aside):
            self.path.replace(aside)
        self.other = ""
        self.warn(f"{self.path} held another comparison, which was moved to {aside}.")

    def join(self, save: Path, runtime: Runtime) -> None:
        """Add the students that other jobs of the comparison in `save` kept in files of parts.

        All processes continue with the same students, also where they do not see one file.

        Raises:
            StudentError: one of the files is something else.
        """
        found = {path: FinishedStudents.open(path, self.run) for path in (*_find_parts(save), save)}
        for record in found.values():
            self.cells = {**record.cells, **self.cells}
        self.parts = [path for path, record in found.items() if path != save and not record.other]
        self.cells = runtime.processes.share(lambda: self.cells)

    def gather(self, name: str, seeds: int, folds: int) -> tuple[Bools, float]:
        """The results of a row's students [S, N], its folds one after the other; all seconds."""
        keys = [[_key(name, fold, seed) for fold in range(folds)] for seed in range(seeds)]
        hits = ["".join(self.cells[key]["hits"] for key in row) for row in keys]
        seconds = sum(self.cells[key]["seconds"] for row in keys for key in row)
        return np.array([[hit == "1" for hit in row] for row in hits]), seconds


def _find_parts(save: Path) -> list[Path]:
    """Files of parts beside that of a comparison; some may be of another comparison."""
    name = re.compile(rf"{re.escape(save.stem)}-part\d+of\d+{re.escape(save.suffix)}")
    return sorted(path for path in save.parent.glob("*") if name.fullmatch(path.name))


def _key(name: str, fold: int, seed: int) -> str:
    """Where a record keeps a student; files of version 0.1 hold the first seed alone."""
    return f"{name}/{fold}" + (f"/{seed}" if seed else "")


def compare_methods(
    images: str | Path | ImageSource | Images,
    how: Distillation | None = None,
    *,
    methods: Sequence[Method] = METHODS,
    archs: Sequence[str] = (),
    ranker: Ranker | None = None,
    test: str | Path | Images | None = None,
    folds: int = 3,
    seeds: int | None = None,
    save: str | Path = "comparison.json",
    runtime: Runtime | None = None,
) -> Comparison:
    """Train a student by each method and test all on the same images, as `zoo compare` does.

    With `test` each method trains a student per seed on all labels; without, one per seed and fold,
    tested on the labeled images that the fold holds out. Results of finished students are kept in
    `save`; an interrupted comparison resumes from there.

    Args:
        images: a folder, an `ImageSource`, or images that are read already; some labeled.
        how: student, recipe and zoo; its method is replaced by each of `methods`.
        methods: to compare, the simplest first: of equally good ones the first is recommended.
        archs: students to train by each method instead of that of `how`, as timm's names or
            aliases; milliseconds and megabytes of several are weighed against accuracy.
        ranker: ranks the teachers for `nearest` and `weighted`: `selection.ranker`; None if none of
            these is compared.
        test: held-out labeled images, or their folder.
        folds: of the cross-validation without `test`.
        seeds: students of each method on each fold, which differ in their random seed: the first
            has that of `how.recipe`; None for 3. With one, the verdict is about these students.
        save: file of the comparison.
        runtime: device, cache, progress and processes.

    Raises:
        ZooError: a student cannot be trained or tested, or the file cannot be written.

    Example:
        >>> from distill import compare_methods
        >>> from selection import ranker
        >>> comparison = compare_methods("imgs", ranker=ranker)
        >>> comparison.best
    """
    runtime = runtime or Runtime()
    read = load_images(images, runtime)
    return ComparisonJob(
        read,
        how or Distillation(),
        methods=methods,
        archs=archs,
        ranker=ranker,
        test=load_test(test, read, runtime),
        folds=folds,
        seeds=seeds,
        save=Path(save),
        runtime=runtime,
    ).run()


@dataclass(frozen=True, eq=False)
class _Students:
    """The students of a comparison, whether trained or not, and the record of their results.

    `rows` has how those of each row are trained, by its name: the method, and the architecture
    where there are several. Each is trained and tested on the images of each split, `seeds` times.
    """

    rows: Mapping[str, Distillation]
    splits: Sequence[tuple[Images, Images]]
    seeds: int
    record: FinishedStudents

    @property
    def cells(self) -> list[tuple[int, int, str]]:
        """Seed, fold and row of each, in the order in which they are trained."""
        return [*product(range(self.seeds), range(len(self.splits)), self.rows)]

    def is_trained(self, seed: int, fold: int, row: str) -> bool:
        """Whether there are its results on the test images of this fold."""
        return self.record.holds(_key(row, fold, seed), len(self.splits[fold][1]))


@dataclass(frozen=True)
class ComparisonJob:
    """A comparison before it is made: it can be planned, and run. See `compare_methods`.

    Example:
        >>> job = ComparisonJob(images, ranker=ranker)
        >>> plan = job.plan()
        >>> comparison = job.run()
    """

    images: Images
    how: Distillation = field(default_factory=Distillation)
    methods: Sequence[Method] = METHODS
    archs: Sequence[str] = ()
    ranker: Ranker | None = None
    test: Images | None = None
    folds: int = 3
    seeds: int | None = None
    save: Path = Path("comparison.json")
    runtime: Runtime = field(default_factory=Runtime)

    def check(self) -> None:
        """Refuse a file that may not be written, before any work.

        Raises:
            ZooError: it lies among the images, or is not a comparison, or a method ranks teachers
                and there is no ranker.
        """
        check_ranker(self.methods, self.ranker)
        check_output(self.save, source_of(self.images).folders)
        if self.test:
            check_output(self.save, source_of(self.test).folders)
        FinishedStudents.open(self.save, "")

    def run(self, plan: TrainingPlan | None = None) -> Comparison:
        """Train and test all students; see `compare_methods`.

        Args:
            plan: what a budget chose: all teachers are run before the number of updates is
                settled.
        """
        students = self._train(plan)
        record, tests = students.record, [test for _, test in students.splits]
        comparison = compare(
            {row: record.gather(row, students.seeds, len(tests)) for row in students.rows},
            folds=[] if self.test else [*map(len, tests)],
            costs={row: self._cost(how) for row, how in students.rows.items()},
            labels=np.concatenate([test.labels for test in tests]),
        )
        record.save(comparison.to_json())
        return comparison

    def run_part(self, part: int, parts: int) -> int:
        """Train and test every `parts`-th student, from the `part`-th on, for jobs of a queue.

        Each part keeps its students in a file of its own beside `save`; `run` joins them.

        Args:
            part: from 1.
            parts: of the comparison.

        Returns:
            How many students of other parts are not there yet.

        Example:
            >>> if not job.run_part(1, 4):
            ...     comparison = job.run()
        """
        students = self._train(None, part, parts)
        return sum(not students.is_trained(*cell) for cell in students.cells)

    def _train(self, plan: TrainingPlan | None, part: int = 1, parts: int = 1) -> _Students:
        """Train the students of a part that have no results yet."""
        from distill.training.checkpoint import delete_checkpoint

        self.check()
        warn_of_overlap(self.images, self.test, self.runtime)
        hows, splits = self._students(), self._splits()
        with self.runtime.join() as runtime:

            @cache
            def rank(fold: int) -> TeacherRanking | None:
                zoo = self.how.zoo or "builtin"
                return self.ranker(splits[fold][0], zoo, runtime).run() if self.ranker else None

            def teachers_of(how: Distillation, fold: int) -> Teachers:
                ranking = rank(fold) if how.method in RANKED else None
                return prepare_teachers(how, splits[fold][0], runtime, ranking=ranking)

            if plan and plan.again:
                for fold, method in product(range(len(splits)), self.methods):
                    # their outputs stay in the store
                    teachers_of(replace(hows[0], method=method), fold)
            hows = [plan.settle(how, runtime) if plan else how for how in hows]
            students = _Students(
                {
                    self._name(how, method): replace(how, method=method)
                    for method in self.methods
                    for how in hows
                },
                splits,
                self.seeds or (plan and plan.chosen.get("seeds")) or SEEDS,
                self._open_record(hows, part, parts, runtime),
            )
            overall, record = runtime.progress("students"), students.record
            own_cells = students.cells[part - 1 :: parts]
            for done, (seed, fold, row) in enumerate(own_cells):
                overall(done, len(own_cells))
                if students.is_trained(seed, fold, row):
                    continue
                how = students.rows[row]
                own_seed = (how.recipe.seed + seed) % (LARGEST_SEED + 1)
                how = replace(how, recipe=replace(how.recipe, seed=own_seed))
                right, trained = self._test(how, teachers_of(how, fold), splits[fold], runtime)
                record.add(_key(row, fold, seed), right, trained.seconds)
                delete_checkpoint(trained.state)
            overall(len(own_cells), len(own_cells))
            record.join(self.save, runtime)
        return students

    def _open_record(
        self, hows: Sequence[Distillation], part: int, parts: int, runtime: Runtime
    ) -> FinishedStudents:
        """The file of a part, or of the whole, with the results of all parts."""
        name = f"{self.save.stem}-part{part}of{parts}{self.save.suffix}"
        path = self.save if parts == 1 else self.save.with_name(name)
        record = FinishedStudents.open(
            path, self._fingerprint(hows), writes=runtime.processes.is_first
        )
        record.warn = runtime.warn
        record.join(self.save, runtime)
        return record

    def _test(
        self, how: Distillation, teachers: Teachers, parts: tuple[Images, Images], runtime: Runtime
    ) -> tuple[Bools, Trained]:
        """Train a student, and which images of the test it has right."""
        from distill.evaluation.evaluate import predict
        from distill.student import round_as_saved

        train, test = parts
        trained = train_student(how, teachers, train, runtime)
        if trained.warning:
            runtime.warn(trained.warning)
        round_as_saved(trained.network)
        probabilities = predict(
            trained.network, test, trained.preprocessing,
            device=runtime.device,
            progress=runtime.progress(f"testing ({how.method})"),
        )  # fmt: skip
        labels = np.array(test.classes)[test.labels]
        return np.array(self.images.classes)[probabilities.argmax(axis=1)] == labels, trained

    def plan(self, deadline: Deadline | None = None) -> TrainingPlan:
        """What `run` is going to do, with times measured on this machine; nothing is fetched.

        Raises:
            ZooError: something that can be known before is wrong, or the budget is too small.
        """
        from distill.budget import plan_training

        self.check()
        deadline = deadline or Deadline()
        how, *others = self._students()
        if others:
            raise StudentError("--budget and --dry-run plan one student: name one --arch.")
        parts = self._splits()
        digests = (self.images.digest, self.test and self.test.digest)
        folds, device = 0 if self.test else self.folds, self.runtime.device
        depends = (*digests, folds, self.seeds, how, deadline.budget, device)
        saved = SavedChoice.of(self.runtime.cache, *depends)
        if not self.save.exists():
            saved.delete()
        teachers = plan_teachers(
            how, self.images, deadline, self.runtime,
            ranking=None, ranker=self.ranker, methods=self.methods, rankings=len(parts),
        )  # fmt: skip
        return plan_training(
            parts, self.methods, how, teachers,
            deadline=deadline, runtime=self.runtime, saved=saved,
            seeds=[self.seeds] if self.seeds else [*range(SEEDS, 0, -1)],
        )  # fmt: skip

    def _splits(self) -> list[tuple[Images, Images]]:
        """Images to train on and to test on, of each fold; one pair with test images."""
        return [(self.images, self.test)] if self.test else split(self.images, self.folds)

    def _students(self) -> list[Distillation]:
        """The distillation of each architecture, resolved."""
        hows = [replace(self.how, arch=arch) for arch in self.archs or [self.how.arch]]
        resolved = [how.resolve(self.images, self.runtime) for how in hows]
        return [*{how.arch: how for how in resolved}.values()]

    def _name(self, how: Distillation, method: Method) -> str:
        """Of a row: its method, and the student where there are several."""
        return f"{method} {how.arch}" if len(self.archs) > 1 else method

    def _cost(self, how: Distillation) -> Cost:
        """Milliseconds and megabytes of a student, measured once."""
        student = summarize_student(how.arch, how.size, {}, cache=self.runtime.cache)
        return Cost(how.arch, student.milliseconds, student.bytes / 1e6)

    def _fingerprint(self, hows: Sequence[Distillation]) -> str:
        """SHA-256 of what the results depend on; starts of the Hub are downloaded for it."""
        tasks = [
            (each.digests, each.labels.tolist(), each.classes)
            for each in (self.images, self.test)
            if each
        ]
        # a repository stands for its weights, which are not known before they are downloaded
        teachers = [(c.name, c.repo or c.sha256) for c in cards_to_rank(self.how.zoo or "builtin")]
        numbers: list[object] = [teachers]
        for how in hows:
            start = find_start(how.start, how.arch).fetch(self.runtime.progress)
            numbers += [how.objective, how.zoo, how.arch, start.sha256, how.image_size, how.recipe,
                        how.power, sorted(how.shares.items()), self.runtime.seed]  # fmt: skip
        depends = (TRAINING_FORMAT, tasks, 0 if self.test else self.folds, tuple(numbers))
        return hashlib.sha256(repr(depends).encode()).hexdigest()
