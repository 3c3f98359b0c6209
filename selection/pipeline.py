"""rank_images: from a folder of images to a ranking of teachers, exactly what `zoo rank` does."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selection.metrics import METRICS, parse_metrics
from selection.ranking import TRAINED, Ranking
from selection.resampling import PAIRS, PERMUTATIONS, draw_pairs, prepare
from selection.scoring import BLIND_METRIC, METRIC, ScoreStore, one_blas_thread, rank
from selection.shares import POWER
from selection.shortlist import largest_teachers, shortlist_teachers
from zoo.errors import RankingError
from zoo.features.controls import NAMES as CONTROLS
from zoo.features.controls import extract_controls, start_card
from zoo.features.extraction import TeacherOutputs, extract_together
from zoo.features.store import Features
from zoo.hub.pull import pull_missing
from zoo.images.folder import MAX_LABELED, MAX_UNLABELED, Images, count_trained_on
from zoo.images.source import ImageSource, load_images, source_of
from zoo.system import timing
from zoo.system.arguments import convert_numbers
from zoo.system.distributed import SINGLE
from zoo.system.runtime import Runtime
from zoo.system.timing import Deadline, Plan, SavedChoice, Step
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import absolute_zoo, cards_to_rank, list_cards, missing_packages

if TYPE_CHECKING:
    from zoo.features.throughput import ForwardPasses

RANDOM_WIDTH, RANDOM_CLASSES = 256, 10
"""Embeddings and classes of the random teacher that scoring is measured with."""


def rank_images(
    images: str | Path | ImageSource | Images,
    *,
    zoo: str | Path = "builtin",
    metric: str | None = None,
    power: float = POWER,
    top: int | None = None,
    shortlist: int | None = None,
    max_labeled: int = MAX_LABELED,
    max_unlabeled: int = MAX_UNLABELED,
    runtime: Runtime | None = None,
) -> Ranking:
    """Rank the teachers of a zoo by how close they are to images, as `zoo rank` does.

    Outputs of teachers and scores are kept in the cache: ranking the same images again runs no
    teacher. A teacher that cannot be used becomes a failed row of the ranking.

    Args:
        images: a folder (sub-folders are classes, loose images are unlabeled), an `ImageSource`
            for label files and further folders, or images that are read already.
        zoo: where the teachers are: `builtin`, `hub`, `all`, a folder, `OWNER/NAME`, or several of
            these with commas.
        metric: a name in `METRICS` or `UNLABELED`, or several with commas; None for the default
            with or without labels.
        power: share of a teacher is its score to this power.
        top: give shares to so many teachers only; None for all.
        shortlist: rank only so many teachers, those of the nearest fingerprints; None ranks all.
        max_labeled: labeled images that the teachers are run on, about, at most.
        max_unlabeled: unlabeled images, at most.
        runtime: device, cache, seed, progress and processes.

    Raises:
        ImagesError: the images cannot be used.
        RankingError: the labels cannot rank teachers, or every teacher failed.

    Example:
        >>> from selection import rank_images
        >>> ranking = rank_images("imgs")
        >>> ranking.teachers[0].name, ranking.weights()
    """
    runtime = runtime or Runtime()
    return RankingJob(
        load_images(images, runtime, need_labels=False),
        zoo=str(zoo),
        metric=metric,
        power=power,
        top=top,
        shortlist=shortlist,
        max_labeled=max_labeled,
        max_unlabeled=max_unlabeled,
        runtime=runtime,
    ).run()


@dataclass(frozen=True, kw_only=True)
class RankingPlan(Plan):
    """The plan of a ranking: the job with the numbers that the budget chose, saved in a file."""

    job: RankingJob
    saved: SavedChoice


@dataclass(frozen=True)
class RankingJob:
    """A ranking before it is made: it can be planned, and run. Arguments of `rank_images`.

    Example:
        >>> job = RankingJob(read_images(Path("imgs")))
        >>> plan = job.plan()
        >>> ranking = job.run()
    """

    images: Images
    zoo: str = "builtin"
    metric: str | None = None
    power: float = POWER
    top: int | None = None
    shortlist: int | None = None
    max_labeled: int = MAX_LABELED
    max_unlabeled: int = MAX_UNLABELED
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        convert_numbers(self)
        if self.shortlist is not None and self.shortlist < 1:
            raise RankingError(f"The shortlist is of {self.shortlist} teachers. Choose 1 or more.")

    @property
    def sample(self) -> Images:
        """The images that the teachers are run on."""
        return self.images.sample(
            max_labeled=self.max_labeled, max_unlabeled=self.max_unlabeled, seed=self.runtime.seed
        )

    def run(self) -> Ranking:
        """Rank; see `rank_images`."""
        sample, runtime = self.sample, self.runtime
        if self.shortlist is None:
            chosen = cards_to_rank(self.zoo)
            if missing := missing_packages(list_cards(self.zoo)):
                runtime.warn(missing)
        else:
            chosen = shortlist_teachers(self.zoo, self.shortlist, sample, runtime)
        cards, absent = pull_missing(chosen, runtime)
        with runtime.join() as joined:
            outputs = extract_together(cards, sample, joined)
            # by one process: another kind of processor would round otherwise
            ranking = joined.processes.share(lambda: self._score(cards, sample, outputs, absent))
        source = source_of(self.images)
        return replace(
            ranking,
            zoo=absolute_zoo(self.zoo),
            target=str(source.target.absolute()),
            unlabeled=str(source.unlabeled.absolute()) if source.unlabeled else None,
            labels=str(source.labels.absolute()) if source.labels else None,
            labels_per_class=source.labels_per_class,
            labels_seed=None if source.labels_per_class is None else source.seed,
            images=len(self.images),
            labeled=self.images.labeled,
            digest=self.images.digest,
            forward_passes=outputs.forward_passes,
        )

    def _score(
        self,
        cards: Sequence[TeacherCard],
        sample: Images,
        outputs: TeacherOutputs,
        absent: Mapping[str, str],
    ) -> Ranking:
        """The ranking by the outputs of the teachers for the sample, and of controls.

        One process calls it, so none of its steps may wait for others.
        """
        alone = replace(self.runtime, processes=SINGLE)
        trained_on = {card.name: count_trained_on(self.images, card.folder) for card in cards}
        trained_on = {name: count for name, count in trained_on.items() if count}
        ranking = rank(
            outputs.features,
            sample.labels,
            metric=self.metric or (METRIC if self.images.labeled else BLIND_METRIC),
            power=self.power,
            top=self.top,
            seed=self.runtime.seed,
            domains={card.name: card.domain for card in cards},
            failures={**absent, **outputs.failures},
            excluded=dict.fromkeys(trained_on, TRAINED),
            controls=extract_controls(sample, alone),
            store=ScoreStore(self.runtime.cache / "scores"),
            progress=self.runtime.progress("scoring teachers"),
        )
        for row in ranking.teachers:
            if row.name in trained_on and row.status == "ok":
                self.runtime.warn(
                    f"{row.name} was trained on {trained_on[row.name]} of the "
                    f"{self.images.labeled} labeled images: its score is too high"
                    + (
                        ", and all shares are such teachers'."
                        if row.share
                        else f", and it has no share (--teacher {quote(row.name)}=1 uses it)."
                    )
                )
        return ranking

    def measure(self, deadline: Deadline) -> RankingWork:
        """What `run` is going to do, at the measured speed of this machine; nothing is fetched."""
        from zoo.features.throughput import plan_passes

        cards, warnings = cards_to_rank(self.zoo), list[str]()
        if self.shortlist is not None:
            cards = largest_teachers(self.zoo, self.shortlist)
            warnings = ["The shortlist is not known yet: the largest teachers are counted."]
        passes, fetching, lost = plan_passes(cards, self.images, deadline, self.runtime)
        controls, _, _ = plan_passes([start_card()], self.images, deadline, self.runtime)
        scoring = measure_scoring(self.sample.labels, metric=self.metric)
        return RankingWork(self, cards, passes, controls, scoring, fetching, [*warnings, *lost])

    def plan(self, deadline: Deadline | None = None) -> RankingPlan:
        """The plan of `run`; a budget gives up unlabeled images first, then labeled ones.

        Raises:
            ZooError: the budget is too small.
        """
        deadline = deadline or Deadline()
        work = self.measure(deadline)
        begun = Step("read and measure", len(self.images), "images", deadline.spent)
        zoo, seed = absolute_zoo(self.zoo), self.runtime.seed
        depends = (self.images.digest, seed, zoo, self.metric, self.shortlist, deadline.budget)
        saved = SavedChoice.of(self.runtime.cache, *depends)
        chosen, warnings = dict[str, int](), [*work.warnings]
        if deadline.budget:
            resumed = saved.load()
            chosen = resumed or work.choose(deadline.budget, deadline.spent)
            warnings += [timing.RESUMES] if resumed else []
        job = replace(self, **chosen)
        steps = (begun, *replace(work, job=job).steps)
        return RankingPlan(steps, chosen, deadline.budget, tuple(warnings), job=job, saved=saved)


@dataclass(frozen=True)
class RankingWork:
    """What a ranking is going to do: downloads, forward passes on all images, scoring.

    `controls` are the passes of the largest control, `scoring` the seconds to score a teacher, per
    labeled image; warnings say what is unavailable or unknown.
    """

    job: RankingJob
    cards: Sequence[TeacherCard]
    passes: ForwardPasses
    controls: ForwardPasses
    scoring: float
    fetching: Sequence[Step]
    warnings: Sequence[str]

    @property
    def sample(self) -> Images:
        """The images that the teachers are run on."""
        return self.job.sample

    @property
    def steps(self) -> Sequence[Step]:
        """Downloads, forward passes and scoring."""
        sample = self.sample
        control = self.controls.step("run controls", sample.digests)
        # the other controls take about as long as the initial student
        seconds = len(CONTROLS) * (control.seconds or 0.0)
        count = len(self.cards) + len(CONTROLS)
        steps = [
            *self.fetching,
            self.passes.step("run teachers", sample.digests),
            Step(control.what, control.count, "images", seconds),
            Step("score teachers", count, "scores", count * sample.labeled * self.scoring),
        ]
        return [step for step in steps if step.count]

    def choose(self, budget: float, spent: float) -> dict[str, int]:
        """The most labeled and unlabeled images that a budget holds; a ZooError if too few."""

        def needed(labeled: int, unlabeled: int) -> float:
            job = replace(self.job, max_labeled=labeled, max_unlabeled=unlabeled)
            return spent + timing.total_seconds(replace(self, job=job).steps)

        most, least = self.job.max_labeled, 2 * len(self.job.images.classes)
        counts = range(self.job.max_unlabeled + 1)
        fitting = bisect_right(counts, budget, key=lambda count: needed(most, count))
        if fitting:
            return {"max_labeled": most, "max_unlabeled": counts[fitting - 1]}
        counts = range(least, max(least, most) + 1)
        fitting = bisect_right(counts, budget, key=lambda count: needed(count, 0))
        if not fitting:
            raise timing.too_small(budget, needed(least, 0), f"{least} labeled images")
        return {"max_labeled": counts[fitting - 1], "max_unlabeled": 0}


def ranker(images: Images, zoo: str, runtime: Runtime) -> RankingJob:
    """A ranking to be made, for `distill.distill_images` and `distill.compare_methods`.

    Example:
        >>> from distill import distill_images
        >>> from selection import ranker
        >>> report = distill_images("imgs", ranker=ranker)
    """
    return RankingJob(images, zoo=zoo, runtime=runtime)


def measure_scoring(labels: NDArray[np.int64], *, metric: str | None = None) -> float:
    """Seconds to score a teacher, per labeled image, from one subsample of random features.

    Scoring without labels takes no time worth counting.
    """
    known = labels[labels >= 0]
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(len(labels), RANDOM_WIDTH + RANDOM_CLASSES)).astype(np.float32)
    features = Features(rows[:, :RANDOM_WIDTH], rows[:, RANDOM_WIDTH:])
    first = parse_metrics(metric or METRIC)[0]
    stamps = [timing.clock()]
    try:
        if not len(known) or first not in METRICS:
            return 0.0
        rank({"random": features}, labels, metric=metric or METRIC, resamples=0)
        stamps.append(timing.clock())
        with one_blas_thread():
            scorer = prepare(first, features, labels)
            stamps.append(timing.clock())
            scorer(draw.permutation(known))
            stamps.append(timing.clock())
            kept = draw_pairs(first, known, draw, 1)[0][:, 0].all(axis=0)
            scorer(np.where(kept, known, -1))
            stamps.append(timing.clock())
    except RankingError:  # the ranking itself reports it
        return 0.0
    once, _, permutation, subsample = np.diff(stamps).tolist()
    return (once + PERMUTATIONS * permutation + 2 * PAIRS * subsample) / len(known)
