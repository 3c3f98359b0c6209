"""Distillation: from teachers and images to a small student."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.evaluation.evaluate import evaluate, predict
    from distill.recipe import Recipe
    from distill.report.report import Report
    from distill.report.student_folder import save_student
    from distill.student import Student, load_network
    from distill.training.loop import Trained, train

__all__ = [
    "Recipe",
    "Report",
    "Student",
    "Trained",
    "evaluate",
    "load_network",
    "predict",
    "save_student",
    "train",
]

_HOME = {
    "Recipe": "recipe",
    "Report": "report.report",
    "Student": "student",
    "Trained": "training.loop",
    "evaluate": "evaluation.evaluate",
    "load_network": "student",
    "predict": "evaluation.evaluate",
    "save_student": "report.student_folder",
    "train": "training.loop",
}


def __getattr__(name: str) -> Any:
    """A public name, its file imported at first use: torch and timm are slow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
