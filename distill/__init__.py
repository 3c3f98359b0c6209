"""Distillation: from teachers and images to a small student."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation import evaluate, predict
    from .recipe import Recipe
    from .report import Report, save_student
    from .student import Student, load_network
    from .training import Trained, train

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
    "Report": "report",
    "Student": "student",
    "Trained": "training",
    "evaluate": "evaluation",
    "load_network": "student",
    "predict": "evaluation",
    "save_student": "report",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """A public name, its file imported at first use: torch and timm are slow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
