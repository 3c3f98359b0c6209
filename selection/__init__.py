"""Selection: how close each teacher is to the target task."""

from selection.check.findings import DataCheck
from selection.check.pipeline import check_images
from selection.index import find_nearest
from selection.metrics import METRICS, UNLABELED, knn, linear_probe, parc
from selection.metrics.checks import check_labels
from selection.pipeline import RankingJob, rank_images, ranker
from selection.ranking import RankedTeacher, Ranking
from selection.scoring import BLIND_METRIC, METRIC, ScoreStore, rank
from selection.shares import POWER

__all__ = [
    "BLIND_METRIC",
    "METRIC",
    "METRICS",
    "POWER",
    "UNLABELED",
    "DataCheck",
    "RankedTeacher",
    "Ranking",
    "RankingJob",
    "ScoreStore",
    "check_images",
    "check_labels",
    "find_nearest",
    "knn",
    "linear_probe",
    "parc",
    "rank",
    "rank_images",
    "ranker",
]
