"""Selection: how close each teacher is to the target task."""

from .checks import check_labels
from .metrics import METRICS, knn, parc, probe
from .neighbours import find_nearest
from .ranking import RankedTeacher, Ranking
from .score_store import ScoreStore
from .scoring import BLIND_METRIC, METRIC, rank
from .shares import POWER
from .unlabeled import UNLABELED

__all__ = [
    "BLIND_METRIC",
    "METRIC",
    "METRICS",
    "POWER",
    "UNLABELED",
    "RankedTeacher",
    "Ranking",
    "ScoreStore",
    "check_labels",
    "find_nearest",
    "knn",
    "parc",
    "probe",
    "rank",
]
