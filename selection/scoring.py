"""rank: score teachers, test them against chance, controls and each other, compute shares."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selection.bootstrap import RESAMPLES, measure
from selection.metrics import METRICS, UNLABELED, parse_metrics
from selection.metrics.checks import Floats, Labels, check_labels
from selection.ranking import LEFT_OUT, WORSE, RankedTeacher, Ranking
from selection.shares import POWER, SHAREABLE, choose, share_by_power
from zoo.errors import RankingError
from zoo.features.store import Features
from zoo.system.files import cache_folder
from zoo.system.tensors import read_tensors, write_tensors

METRIC = "linear_probe,logme"
"""The default metric with labels; docs/metrics.md has the table that chose it."""
BLIND_METRIC = "agreement"
"""The default metric without labels."""

CONFIDENT = 0.975
"""Share of the resamples in which a significantly better teacher is ahead."""
SCORES_FORMAT = "1"
"""Version of the stored scores: raise it when the file changes, or a metric gives other scores."""


def rank(
    features: Mapping[str, Features],
    labels: NDArray[np.int64],
    *,
    metric: str = METRIC,
    power: float = POWER,
    top: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    domains: Mapping[str, str] = {},
    failures: Mapping[str, str] = {},
    controls: Mapping[str, Features] = {},
    store: ScoreStore | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Order teachers by how close they are to the task that labels describe.

    Every teacher gets the same resamples, so its interval does not depend on the other teachers.
    Several metrics order by the mean of their ranks. A teacher's `rank` is 1 + the number of
    teachers that are ahead of it in 97.5 % of the resamples, and at least that of the teacher
    before it: teachers that share a rank do not differ significantly. Shares come from the first
    metric: teachers significantly worse than a control get share 0, unless all are. Where no score
    is above 0, or scores of this metric cannot become shares, shares are equal.

    Args:
        features: of each teacher for the same N images, by name.
        labels: [N], -1 for an unlabeled image.
        metric: a name in `METRICS`, or in `UNLABELED` to do without labels, or several with
            commas between.
        power: the larger, the more the nearest teachers get; finite, 0 is equal shares.
        top: number of teachers that get a share, close and not redundant; None for all.
        seed: of the resamples.
        resamples: for the intervals; 0 for none, and then no teacher is significantly worse.
        domains: what each teacher's images show, by name.
        failures: why a teacher could not be run, by name; it becomes a failed row.
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
    if not (math.isfinite(power) and power >= 0):
        raise RankingError(f"The power is {power}. Choose a finite number of 0 or more.")
    if not set(metrics) <= UNLABELED.keys():
        check_labels(labels)
    scored, broken = _score_all(
        {**features, **controls}, labels, metrics, seed, resamples, store, progress
    )
    failed = {**failures, **broken}
    teachers = {name: row for name, row in scored.items() if name in features}
    if not teachers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise RankingError(f"No teacher could be ranked ({reasons or 'none was given'}).")
    baselines = [row for name, row in scored.items() if name in controls]
    shares, without = _share(teachers, baselines, metrics[0], power)
    if top is not None:
        candidates, shares = shares, choose(shares, features, top)
        without |= dict.fromkeys(candidates.keys() - shares.keys(), LEFT_OUT)
    ordered = {name: scored[name] for name in _order(scored)}
    ranks = _compute_ranks({name: row for name, row in ordered.items() if name in features})
    rows = [
        RankedTeacher(
            name=name,
            domain=domains.get(name, ""),
            score=_score(row),
            low=_percentile(row.bootstrap, 2.5),
            high=_percentile(row.bootstrap, 97.5),
            share=shares.get(name, 0.0),
            status="ok" if name in features else "control",
            reason=without.get(name, ""),
            chance=_percentile(row.permutations, 95),
            rank=ranks.get(name),
            scores=row.scores if len(metrics) > 1 else {},
        )
        for name, row in ordered.items()
    ]
    rows += [
        RankedTeacher(name, domains.get(name, ""), None, None, None, 0.0, "failed", reason)
        for name, reason in sorted(failed.items())
        if name not in controls
    ]
    return Ranking(
        metric=",".join(metrics),
        images=len(labels),
        labeled=int(np.count_nonzero(labels >= 0)),
        classes=len(np.unique(labels[labels >= 0])),
        teachers=tuple(rows),
        seed=seed,
        power=power,
    )


def _score_all(
    features: Mapping[str, Features],
    labels: Labels,
    metrics: list[str],
    seed: int,
    resamples: int,
    store: ScoreStore | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, ScoreSamples], dict[str, str]]:
    """Scores of each teacher and control by name, and why the others have none."""
    for name, outputs in features.items():
        if len(outputs) != len(labels):
            raise ValueError(f"{len(labels)} labels, but {len(outputs)} images of {name!r}")
    scored: dict[str, ScoreSamples] = {}
    failed: dict[str, str] = {}
    unlabeled = {name: UNLABELED[name](features) for name in metrics if name in UNLABELED}
    for done, (name, outputs) in enumerate(features.items(), start=1):
        try:
            known = {metric: scores[name] for metric, scores in unlabeled.items()}
            given = (outputs, labels, metrics, known, seed, resamples)
            compute = partial(_measure, *given)
            scored[name] = store.load_or_compute(score_key(*given), compute) if store else compute()
        except RankingError as error:
            failed[name] = str(error)
        if progress:
            progress(done, len(features))
    return scored, failed


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
    bootstrap = permutations = np.empty(0)
    for name in metrics:
        if name in known:
            scores[name] = known[name]
        elif not scores:
            measured = measure(name, outputs, labels, resamples=resamples, seed=seed)
            scores[name], bootstrap, permutations = measured
        else:
            scores[name] = METRICS[name](outputs, labels)
    if not all(math.isfinite(value) for value in scores.values()):
        raise RankingError("its score is not a finite number")
    return ScoreSamples(scores, bootstrap, permutations)


def _score(row: ScoreSamples) -> float:
    """By the first metric."""
    return next(iter(row.scores.values()))


def _percentile(samples: Floats, percent: float) -> float | None:
    return float(np.nanpercentile(samples, percent)) if len(samples) else None


def _order(scored: Mapping[str, ScoreSamples]) -> list[str]:
    """Names by the mean over metrics of the rank, then by the first score, then by name."""
    table = np.array([[*row.scores.values()] for row in scored.values()])
    # of equal scores each has the mean of their ranks
    above = (table[:, None] < table).sum(axis=1)
    ranks = above + (table[:, None] == table).sum(axis=1) / 2
    means = dict(zip(scored, ranks.mean(axis=1).tolist(), strict=True))
    return sorted(scored, key=lambda name: (means[name], -_score(scored[name]), name))


def _compute_ranks(ordered: Mapping[str, ScoreSamples]) -> dict[str, int]:
    """1 + the number of teachers that are significantly better, and never less than the one before.

    Empty without resamples.
    """
    if not all(len(row.bootstrap) for row in ordered.values()):
        return {}
    ranks: dict[str, int] = {}
    least = 1
    for name, row in ordered.items():
        better = sum(_is_better(other, row) for other in ordered.values())
        ranks[name] = least = max(least, 1 + better)
    return ranks


def _is_better(one: ScoreSamples, other: ScoreSamples) -> bool:
    """Whether `one` is significantly better: ahead in 97.5 % of the resamples that both have."""
    if not (len(one.bootstrap) and len(other.bootstrap)):
        return False
    ahead = np.mean(one.bootstrap > other.bootstrap)
    return bool(_score(one) > _score(other) and ahead >= CONFIDENT)


def _share(
    teachers: Mapping[str, ScoreSamples],
    baselines: Sequence[ScoreSamples],
    metric: str,
    power: float,
) -> tuple[dict[str, float], dict[str, str]]:
    """Shares of the teachers that are not worse than a control, or of all where all are.

    Returns:
        The shares above 0, and the reason of each teacher that is worse.
    """
    scores = {name: _score(row) for name, row in teachers.items()}
    worse = {name for name, row in teachers.items() if any(_is_better(b, row) for b in baselines)}
    rest = {name: score for name, score in scores.items() if name not in worse} or scores
    known = metric in SHAREABLE and max(rest.values()) > 0
    return share_by_power(rest, power if known else 0.0), dict.fromkeys(worse, WORSE)


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Scores of one teacher.

    Attributes:
        scores: by metric.
        bootstrap: resamples of the first metric's score; empty without.
        permutations: the first metric's scores for permuted labels; empty without.
    """

    scores: dict[str, float]
    bootstrap: Floats
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
                json.loads(metadata["scores"]), arrays["bootstrap"], arrays["permutations"]
            )
        scored = compute()
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {"bootstrap": scored.bootstrap, "permutations": scored.permutations}
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
