"""Selection: how close each teacher is to the target task."""

from .metrics import BOOTSTRAPS, METRICS, check_labels, knn, parc, probe
from .neighbours import find_nearest
from .ranking import RankedTeacher, Ranking, rank
from .shares import POWER

__all__ = [
    "BOOTSTRAPS",
    "METRICS",
    "POWER",
    "RankedTeacher",
    "Ranking",
    "check_labels",
    "find_nearest",
    "knn",
    "parc",
    "probe",
    "rank",
]
