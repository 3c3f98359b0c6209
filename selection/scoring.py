"""rank: score teachers, compare them with chance, controls and each other, compute shares."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # pyright: ignore

from selection.metrics import HIT_RATES, METRICS, UNLABELED, parse_metrics
from selection.metrics.checks import Floats, Labels, check_features, check_labels
from selection.ranking import LEFT_OUT, WORSE, RankedTeacher, Ranking
from selection.resampling import PAIRS, find_interval, measure
from selection.shares import POWER, SHAREABLE, choose, find_evidence, share_by_power
from selection.significance import count_error, find_better, find_chance
from zoo.errors import RankingError
from zoo.features.store import Features
from zoo.system.files import cache_folder
from zoo.system.tensors import read_tensors, write_tensors

METRIC = "linear_probe,cka,hscore"
"""The default metric with labels; docs/metrics.md has the table that chose it."""
BLIND_METRIC = "agreement"
"""The default metric without labels."""

KNOWN = 1 / 3
"""Degrees of freedom of a difference of scores, per pair of subsamples. The squared errors of equal
teachers vary as with 15 to 27 for 30 pairs, and the largest of many ratios has one of the smallest:
with a third, equal teachers are separated as rarely as they should be (docs/metrics.md)."""

LARGEST_SEED = 2**31
"""As of training."""

WORKERS = 8
"""Teachers that are scored at once, at most: each holds a copy of its features."""

SCORES_FORMAT = "5"
"""Version of the stored scores: raise it when the file changes, or a metric gives other scores."""


def rank(
    features: Mapping[str, Features],
    labels: NDArray[np.int64],
    *,
    metric: str = METRIC,
    power: float = POWER,
    top: int | None = None,
    seed: int = 0,
    resamples: int = PAIRS,
    domains: Mapping[str, str] = {},
    failures: Mapping[str, str] = {},
    excluded: Mapping[str, str] = {},
    controls: Mapping[str, Features] = {},
    store: ScoreStore | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Order teachers by how close they are to the task that labels describe.

    Every teacher gets the same subsamples, so its interval does not depend on the other teachers.
    A teacher's `rank` is 1 + the number of teachers that are significantly better by the first
    metric: of all claims about pairs of teachers and controls in a ranking, none is wrong with a
    probability of 95 % (`significance.find_better`). Teachers of one rank do not differ
    significantly. Rows are ordered by the score, or by the mean over several metrics of the ranks
    that the scores have: a row may have a smaller `rank` than the one above it. Shares come from
    the first metric and the H-score (`shares.find_evidence`): teachers significantly worse than a
    control get share 0, unless all are. Where no score is above 0, or scores of this metric cannot
    become shares, shares are equal.

    Args:
        features: of each teacher for the same N images, by name.
        labels: [N], -1 for an unlabeled image.
        metric: a name in `METRICS`, or in `UNLABELED` to do without labels, or several with
            commas between.
        power: the larger, the more the nearest teachers get; finite, 0 is equal shares.
        top: number of teachers that get a share, close and not redundant; None for all.
        seed: of the subsamples.
        resamples: pairs of subsamples for the intervals; 0 for none, and then no teacher is
            significantly worse.
        domains: what each teacher's images show, by name.
        failures: why a teacher could not be run, by name; it becomes a failed row.
        excluded: why a teacher gets no share, by name, unless all are excluded.
        controls: features of the same images from domain-agnostic baselines, by name.
        store: keeps scores between calls; None computes all of them.
        progress: called with (done, total) after each teacher.

    Raises:
        RankingError: an unknown metric, labels that cannot rank, or every teacher failed.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
        >>> labels = np.arange(8) % 2
        >>> noise, good = Features(rows, rows), Features(rows + 9 * labels[:, None], rows)
        >>> rank({"noise": noise, "good": good}, labels, metric="knn").nearest()
        'good'
    """
    metrics = parse_metrics(metric)
    _check_numbers(power, seed)
    if not set(metrics) <= UNLABELED.keys():
        check_labels(labels)
    elif len(labels) < 2:
        raise RankingError("A single image cannot tell teachers apart. Add more images.")
    scored, broken = _score_all(
        {**features, **controls}, controls, labels, metrics, seed, resamples, store, progress
    )
    failed = {**failures, **broken}
    teachers = {name: row for name, row in scored.items() if name in features}
    if not teachers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise RankingError(f"No teacher could be ranked ({reasons or 'none was given'}).")
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    labeled = int(counts.sum())
    classes, most = len(counts), float(counts.max(initial=0) / max(1, labeled))
    beaten = _find_beaten(scored, metrics[0], labeled, classes)
    worse = {name for name in teachers if beaten.get(name, set()) & controls.keys()}
    without = _exclude(teachers, [excluded, dict.fromkeys(worse, WORSE)])
    scores = {name: row.scores for name, row in teachers.items() if name not in without}
    evidence = find_evidence(scores, metrics[0], classes, most)
    shareable = metrics[0] in SHAREABLE and max(evidence.values()) > 0
    shares = share_by_power(evidence, power if shareable else 0.0)
    if top is not None:
        candidates, shares = shares, choose(shares, features, top)
        without |= dict.fromkeys(candidates.keys() - shares.keys(), LEFT_OUT)
    rows = _describe(scored, teachers, beaten, metrics, labels)
    rows = [
        replace(row, share=shares.get(row.name, 0.0), reason=without.get(row.name, ""),
                domain=domains.get(row.name, ""))
        for row in rows
    ]  # fmt: skip
    rows += [
        RankedTeacher(name, domains.get(name, ""), None, None, None, 0.0, "failed", reason)
        for name, reason in sorted(failed.items())
        if name not in controls
    ]
    return Ranking(
        metric=",".join(metrics),
        images=len(labels),
        labeled=labeled,
        classes=classes,
        most_frequent=most,
        teachers=tuple(rows),
        seed=seed,
        power=power,
    )


def _check_numbers(power: float, seed: int) -> None:
    """Refuse what a ranking's file does not hold."""
    if not (math.isfinite(power) and power >= 0):
        raise RankingError(f"The power is {power}. Choose a finite number of 0 or more.")
    if not 0 <= seed <= LARGEST_SEED:
        raise RankingError(f"The seed is {seed}. Choose a whole number from 0 to {LARGEST_SEED}.")


def _describe(
    scored: Mapping[str, ScoreSamples],
    teachers: Mapping[str, ScoreSamples],
    beaten: Mapping[str, set[str]],
    metrics: Sequence[str],
    labels: Labels,
) -> list[RankedTeacher]:
    """Rows of teachers and controls in order, without shares."""
    levels = dict(zip(teachers, find_chance(*_stack(teachers, "permutations")), strict=True))
    rows: list[RankedTeacher] = []
    for name in _order(scored):
        row, own = scored[name], name in teachers
        low, high = find_interval(metrics[0], _score(row), row.subsamples, labels) or (None, None)
        rows.append(
            RankedTeacher(
                name=name,
                domain="",
                score=_score(row),
                low=low,
                high=high,
                share=0.0,
                status="ok" if own else "control",
                chance=levels.get(name),
                rank=1 + len(beaten[name] & teachers.keys()) if own and beaten else None,
                scores=row.scores if len(metrics) > 1 else {},
            )
        )
    return rows


def _score_all(
    features: Mapping[str, Features],
    controls: Container[str],
    labels: Labels,
    metrics: list[str],
    seed: int,
    resamples: int,
    store: ScoreStore | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, ScoreSamples], dict[str, str]]:
    """Scores of each teacher and control by name, and why the others have none.

    Features are of both; `controls` are the names of some.
    """
    for name, outputs in features.items():
        if len(outputs) != len(labels):
            raise ValueError(f"{len(labels)} labels, but {len(outputs)} images of {name!r}")
    scored: dict[str, ScoreSamples] = {}
    failed: dict[str, str] = {}
    for name, outputs in features.items():
        try:
            check_features(outputs)
        except RankingError as error:
            failed[name] = str(error)
    sound = {name: outputs for name, outputs in features.items() if name not in failed}
    parts = [{name: each for name, each in sound.items() if (name in controls) is control}
             for control in (False, True)]  # fmt: skip
    unlabeled = {name: UNLABELED[name](*parts) for name in metrics if name in UNLABELED}

    def score(name: str) -> ScoreSamples | str:
        known = {metric: scores[name] for metric, scores in unlabeled.items()}
        given = (sound[name], labels, metrics, known, seed, resamples)
        compute = partial(_measure, *given)
        try:
            return store.load_or_compute(score_key(*given), compute) if store else compute()
        except RankingError as error:
            return str(error)
        except np.linalg.LinAlgError as error:
            return f"its score cannot be computed ({error})"

    # a thread for each teacher, not for each product: hundreds of small products whose threads wait
    # for each other take twenty times as long where other programs are running
    with (
        one_blas_thread(),
        ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool,
    ):
        for done, (name, result) in enumerate(zip(sound, pool.map(score, sound), strict=True), 1):
            if isinstance(result, str):
                failed[name] = result
            else:
                scored[name] = result
            if progress:
                progress(done, len(sound))
    return scored, failed


def one_blas_thread() -> AbstractContextManager[object]:
    """Products by one thread each while it is open: see docs/decisions/0025."""
    return threadpool_limits(1, "blas")


def _measure(
    outputs: Features,
    labels: Labels,
    metrics: list[str],
    known: Mapping[str, float],
    seed: int,
    resamples: int,
) -> ScoreSamples:
    """Scores of one teacher by each metric; `known` has those of metrics without labels."""
    scores: dict[str, float] = {}
    subsamples = permutations = np.empty(0)
    for name in metrics:
        if name in known:
            scores[name] = known[name]
        elif not scores:
            measured = measure(name, outputs, labels, resamples=resamples, seed=seed)
            scores[name], subsamples, permutations = measured
        else:
            scores[name] = METRICS[name](outputs, labels)
    if not all(math.isfinite(value) for value in scores.values()):
        raise RankingError("its score is not a finite number")
    return ScoreSamples(scores, subsamples, permutations)


def _score(row: ScoreSamples) -> float:
    """By the first metric."""
    return next(iter(row.scores.values()))


def _stack(rows: Mapping[str, ScoreSamples], name: str) -> tuple[Floats, Floats]:
    """First scores [T] of some teachers and their samples of this name [T, B], B = 0 for none."""
    samples = [np.asarray(getattr(row, name)) for row in rows.values()]
    count = min(map(len, samples))
    return np.array([*map(_score, rows.values())]), np.array([each[:count] for each in samples])


def _order(scored: Mapping[str, ScoreSamples]) -> list[str]:
    """Names by the mean over metrics of the rank, then by the first score, then by name."""
    table = np.array([[*row.scores.values()] for row in scored.values()])
    # of equal scores each has the mean of their ranks
    above = (table[:, None] < table).sum(axis=1)
    ranks = above + (table[:, None] == table).sum(axis=1) / 2
    means = dict(zip(scored, ranks.mean(axis=1).tolist(), strict=True))
    return sorted(scored, key=lambda name: (means[name], -_score(scored[name]), name))


def _find_beaten(
    scored: Mapping[str, ScoreSamples], metric: str, labeled: int, classes: int
) -> dict[str, set[str]]:
    """By teacher and control, which are significantly better; nothing without subsamples."""
    scores, subsamples = _stack(scored, "subsamples")
    if not subsamples.size:
        return {}
    least = count_error(scores, labeled) if metric in HIT_RATES else 0.0
    names = np.array([*scored])
    # a standard error is noisy by the images and by the subsamples: relative variances add
    freedom = 1 / (1 / max(1, labeled - classes) + 1 / (subsamples.shape[1] * KNOWN))
    freedom = max(1.0, freedom)
    better = find_better(scores, subsamples, freedom=freedom, least=least)
    return {name: {*names[column].tolist()} for name, column in zip(scored, better.T, strict=True)}


def _exclude(
    teachers: Mapping[str, ScoreSamples], reasons: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Why some teachers get no share, by name: what would leave none of them does not count."""
    found: dict[str, str] = {}
    for each in reasons:
        more = {name: reason for name, reason in each.items() if name in teachers}
        if found.keys() | more.keys() < teachers.keys():
            found = {**more, **found}
    return found


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Scores of one teacher by metric.

    Subsamples, see `resampling.measure`, and scores for permuted labels are of the first metric;
    they are empty without.
    """

    scores: dict[str, float]
    subsamples: Floats
    permutations: Floats


class ScoreStore:
    """A folder of scores, one file per teacher and task, each written atomically.

    A file that is damaged, of another format or key, or cannot be written only costs time: the
    scores are computed again.

    Example:
        >>> ranking = rank(outputs.features, images.labels, store=ScoreStore())
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "scores"

    def load_or_compute(self, key: str, compute: Callable[[], ScoreSamples]) -> ScoreSamples:
        """The stored scores of a key, else those that `compute` returns, which are stored."""
        path = self.folder / f"{key}.safetensors"
        identity = {"format": SCORES_FORMAT, "key": key}
        with suppress(OSError, ValueError, KeyError):
            arrays, metadata = read_tensors(path, identity)
            return ScoreSamples(
                json.loads(metadata["scores"]), arrays["subsamples"], arrays["permutations"]
            )
        scored = compute()
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {"subsamples": scored.subsamples, "permutations": scored.permutations}
            write_tensors(path, arrays, {**identity, "scores": json.dumps(scored.scores)})
        return scored


def score_key(
    features: Features,
    labels: NDArray[np.int64],
    metrics: Sequence[str],
    known: Mapping[str, float],
    seed: int,
    resamples: int,
) -> str:
    """Everything that scores depend on except the code, as a hash."""
    how = [list(metrics), sorted(known.items()), seed, resamples]
    shapes = [features.embeddings.shape, features.logits.shape]
    digest = hashlib.sha256(repr([how, shapes]).encode())
    for array in (features.embeddings, features.logits, labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
