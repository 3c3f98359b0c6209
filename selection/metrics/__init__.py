"""How close a teacher is to the target task: scores of (features, labels), higher is closer.

To add a metric, write a function with the signature of `Metric` in the file of its family and add
it to METRICS; one that needs no labels goes into UNLABELED. A label of -1 marks an unlabeled image:
it may help to fit a projection or a scale and is never scored. All metrics raise RankingError for
labels or features that cannot be scored (`checks.check_input`). A metric whose work does not depend
on the labels can share that work between all resamples: SCORERS.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Protocol

from selection.metrics.accuracy import knn, linear_probe, prepare_knn, prepare_linear_probe
from selection.metrics.checks import Labels, Scorer
from selection.metrics.empirical_prediction import leep, nce, nleep
from selection.metrics.evidence import hscore, logme, prepare_logme
from selection.metrics.pairs import parc, prepare_parc
from selection.metrics.separation import gbc, ncti, transrate
from selection.metrics.similarity import cka, cka_rbf
from selection.metrics.unlabeled import agreement, clusters, confidence
from zoo.errors import RankingError
from zoo.features.store import Features

Metric = Callable[[Features, Labels], float]


class UnlabeledMetric(Protocol):
    """Scores of all teachers, and of all controls, by name, from their features by name."""

    def __call__(
        self, features: Mapping[str, Features], controls: Mapping[str, Features] = ..., /
    ) -> dict[str, float]:
        """See `agreement` for an example."""
        ...


METRICS: dict[str, Metric] = {
    "parc": parc,
    "knn": knn,
    "linear_probe": linear_probe,
    "logme": logme,
    "hscore": hscore,
    "leep": leep,
    "nce": nce,
    "nleep": nleep,
    "gbc": gbc,
    "transrate": transrate,
    "ncti": ncti,
    "cka": cka,
    "cka_rbf": cka_rbf,
}
"""Metrics that need labels, by name."""

HIT_RATES = frozenset({"knn", "linear_probe"})
"""Those that are a fraction of the labeled images: their error is that of a count at least."""

SCORERS: dict[str, Callable[[Features, Labels], Scorer]] = {
    "parc": prepare_parc,
    "knn": prepare_knn,
    "linear_probe": prepare_linear_probe,
    "logme": prepare_logme,
}
"""Those that are prepared once for all subsamples and permutations."""

UNLABELED: dict[str, UnlabeledMetric] = {
    "agreement": agreement,
    "clusters": clusters,
    "confidence": confidence,
}
"""Metrics that need no labels, but the features of all teachers at once, by name."""

RENAMED = {"probe": "linear_probe"}
"""Names of version 0.1, which are still accepted."""


def current_name(metric: str) -> str:
    """The name of a metric, or of several with commas, as it is today."""
    names = [name.strip() for name in metric.split(",")]
    return ",".join(RENAMED.get(name, name) for name in names)


def parse_metrics(metric: str) -> list[str]:
    """The names in a list with commas; an unknown one, or one twice, is a RankingError."""
    names = current_name(metric).split(",")
    for name in names:
        if name not in METRICS | UNLABELED:
            known = [*METRICS, *UNLABELED]
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise RankingError(
                f"No metric is called {name!r}.{hint} Choose among {', '.join(known)}."
            )
        if names.count(name) > 1:
            raise RankingError(f"The metric {name!r} is named twice.")
    return names
