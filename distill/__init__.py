"""Distillation: from teachers and images to a small student."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.catalogue import StudentSummary, list_students
    from distill.compare import ComparisonJob, compare_methods
    from distill.estimator import StudentClassifier
    from distill.evaluation.comparison import Comparison
    from distill.evaluation.evaluate import evaluate, evaluate_student, predict
    from distill.evaluation.metrics import Evaluation
    from distill.evaluation.prediction import Prediction, predict_files
    from distill.pipeline import DistillationJob, distill_images
    from distill.recipe import Distillation, Recipe
    from distill.report.report import Report
    from distill.report.student_folder import save_student
    from distill.student import Student, load_network
    from distill.training.loop import Trained, train

__all__ = [
    "Comparison",
    "ComparisonJob",
    "Distillation",
    "DistillationJob",
    "Evaluation",
    "Prediction",
    "Recipe",
    "Report",
    "Student",
    "StudentClassifier",
    "StudentSummary",
    "Trained",
    "compare_methods",
    "distill_images",
    "evaluate",
    "evaluate_student",
    "list_students",
    "load_network",
    "predict",
    "predict_files",
    "save_student",
    "train",
]

_NAMES = {
    "catalogue": "StudentSummary list_students",
    "compare": "ComparisonJob compare_methods",
    "evaluation.comparison": "Comparison",
    "evaluation.evaluate": "evaluate evaluate_student predict",
    "evaluation.metrics": "Evaluation",
    "evaluation.prediction": "Prediction predict_files",
    "estimator": "StudentClassifier",
    "pipeline": "DistillationJob distill_images",
    "recipe": "Distillation Recipe",
    "report.report": "Report",
    "report.student_folder": "save_student",
    "student": "Student load_network",
    "training.loop": "Trained train",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name, its module imported at first use: torch and timm are slow."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
