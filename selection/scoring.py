"""rank: score every teacher, say what is chance and what is a tie, and deal out shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from selection.bootstrap import RESAMPLES, measure
from selection.messages import BEATEN, LEFT_OUT
from selection.metrics import METRICS, Labels
from selection.metrics.checks import check_labels
from selection.metrics.unlabeled import UNLABELED
from selection.ranking import RankedTeacher, Ranking
from selection.score_store import Scored, ScoreStore, score_key
from selection.shares import POWER, SHAREABLE, choose, share_by_power
from zoo.errors import RankingError
from zoo.features.store import Features

METRIC = "probe,logme"
"""The default with labels, and without: docs/metrics.md has the table that chose them."""
BLIND_METRIC = "agreement"


@dataclass(frozen=True, eq=False)
class _Row(Scored):
    """A row in the making."""

    name: str

    @property
    def score(self) -> float:
        """By the first metric."""
        return next(iter(self.scores.values()))


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

    Every teacher meets the same resamples, so its interval does not depend on who else is ranked.
    Several metrics order by the mean of their ranks. Shares come from the first metric: who is
    clearly worse than a control gets none, unless everybody is. Where no score is above 0, or
    scores of this metric cannot become shares, shares are equal.

    Args:
        features: of each teacher for the same N images, by name.
        labels: [N], -1 for an unlabeled image.
        metric: a name in `METRICS`, or in `UNLABELED` to do without labels, or several with
            commas between.
        power: the larger, the more the nearest teachers get; finite, 0 is equal shares.
        top: give shares to so many teachers only, that are close and do not say the same; None
            for all.
        seed: of the resamples.
        resamples: for the intervals; 0 for none, and then nobody is clearly worse.
        domains: what each teacher's images show, by name.
        failures: why a teacher could not be run, by name; it becomes a failed row.
        controls: features of the same images that know nothing of any domain, by name.
        store: scores that are known, and where new ones go; None computes all and keeps none.
        progress: called with (done, total) after each teacher.

    Raises:
        RankingError: the labels can rank nobody, or every teacher failed.
    """
    metrics = [name.strip() for name in metric.split(",")]
    for name in metrics:
        if name not in METRICS | UNLABELED:
            known = ", ".join([*METRICS, *UNLABELED])
            raise RankingError(f"No metric is called {name!r}. Choose among {known}.")
    if not (math.isfinite(power) and power >= 0):
        raise RankingError(f"The power is {power}. Choose a finite number of 0 or more.")
    if not set(metrics) <= UNLABELED.keys():
        check_labels(labels)
    everyone = {**features, **controls}
    for name, outputs in everyone.items():
        if len(outputs) != len(labels):
            raise ValueError(f"{len(labels)} labels, but {len(outputs)} images seen by {name!r}")
    failed = dict(failures)
    scored: list[_Row] = []
    blind = {name: UNLABELED[name](everyone) for name in metrics if name in UNLABELED}
    for done, (name, outputs) in enumerate(everyone.items(), start=1):
        try:
            known = {metric: scores[name] for metric, scores in blind.items()}
            given = (outputs, labels, metrics, known, seed, resamples)
            compute = partial(_measure, *given)
            found = store.load_or_compute(score_key(*given), compute) if store else compute()
            scored.append(_Row(found.scores, found.drawn, found.dealt, name))
        except RankingError as error:
            failed[name] = str(error)
        if progress:
            progress(done, len(everyone))
    teachers = [row for row in scored if row.name in features]
    if not teachers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise RankingError(f"No teacher could be ranked ({reasons or 'none was given'}).")
    bars = [row for row in scored if row.name in controls]
    beaten = {row.name for row in teachers if any(_is_clearly_better(bar, row) for bar in bars)}
    shares = _share(teachers, metrics[0], power, beaten)
    reasons = dict.fromkeys(beaten, BEATEN)
    if top is not None:
        candidates, shares = shares, choose(shares, features, top)
        reasons |= dict.fromkeys(candidates.keys() - shares.keys(), LEFT_OUT)
    order = _order(scored)
    places = _place([row for row in order if row.name in features])
    rows = [
        _row(row, domains, shares, places, metrics, reasons, control=row.name not in features)
        for row in order
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


def _measure(
    outputs: Features,
    labels: Labels,
    metrics: list[str],
    known: Mapping[str, float],
    seed: int,
    resamples: int,
) -> Scored:
    first = metrics[0]
    score, drawn, dealt = known.get(first, 0.0), np.empty(0), np.empty(0)
    if first not in known:
        score, drawn, dealt = measure(first, outputs, labels, resamples=resamples, seed=seed)
    scores = {first: score}
    for other in metrics[1:]:
        scores[other] = known[other] if other in known else METRICS[other](outputs, labels)
    if not all(math.isfinite(value) for value in scores.values()):
        raise RankingError("its score is not a finite number")
    return Scored(scores, drawn, dealt)


def _order(scored: list[_Row]) -> list[_Row]:
    """By the mean over metrics of the rank, then by the first score, then by name."""
    table = np.array([[*row.scores.values()] for row in scored])
    # of equal scores each has the mean of their ranks
    ranks = (table[:, None] < table[None]).sum(axis=1) + (table[:, None] == table[None]).sum(
        axis=1
    ) / 2
    means = ranks.mean(axis=1)
    by = sorted(range(len(scored)), key=lambda i: (means[i], -scored[i].score, scored[i].name))
    return [scored[i] for i in by]


def _place(order: list[_Row]) -> dict[str, int]:
    """1 + the number of teachers that are clearly better: in 97.5 % of the resamples.

    None has a place without resamples.
    """
    if not all(len(row.drawn) for row in order):
        return {}
    places: dict[str, int] = {}
    least = 1
    for row in order:
        better = sum(_is_clearly_better(other, row) for other in order)
        places[row.name] = least = max(least, 1 + better)
    return places


def _is_clearly_better(one: _Row, other: _Row) -> bool:
    """In 97.5 % of the resamples that both met; never without resamples."""
    if not (len(one.drawn) and len(other.drawn)):
        return False
    return bool(one.score > other.score and np.mean(one.drawn > other.drawn) >= 0.975)


def _share(teachers: list[_Row], metric: str, power: float, beaten: Set[str]) -> dict[str, float]:
    """Shares of those that no control beats; of all, where the controls beat everybody."""
    scores = {row.name: row.score for row in teachers}
    unbeaten = {name: score for name, score in scores.items() if name not in beaten} or scores
    known = metric in SHAREABLE and max(unbeaten.values()) > 0
    return share_by_power(unbeaten, power if known else 0.0)


def _row(
    row: _Row,
    domains: Mapping[str, str],
    shares: Mapping[str, float],
    places: Mapping[str, int],
    metrics: list[str],
    reasons: Mapping[str, str],
    *,
    control: bool,
) -> RankedTeacher:
    low, high = (
        map(float, np.nanpercentile(row.drawn, (2.5, 97.5))) if len(row.drawn) else (None, None)
    )
    return RankedTeacher(
        name=row.name,
        domain=domains.get(row.name, ""),
        score=row.score,
        low=low,
        high=high,
        share=shares.get(row.name, 0.0),
        status="control" if control else "ok",
        reason=reasons.get(row.name, ""),
        chance=float(np.nanpercentile(row.dealt, 95)) if len(row.dealt) else None,
        place=places.get(row.name),
        scores=row.scores if len(metrics) > 1 else {},
    )
