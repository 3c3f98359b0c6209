"""The zoo: teachers, images, and what teachers say of images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .card import Preprocessing, TeacherCard
    from .catalogue import find_card, list_cards
    from .errors import ZooError
    from .features import Features, FeatureStore
    from .images import Images, read_images
    from .memory import keep_freed_memory
    from .observation import Observation, observe
    from .teacher import Teacher, load_teacher

__version__ = "0.1.0"

__all__ = [
    "FeatureStore",
    "Features",
    "Images",
    "Observation",
    "Preprocessing",
    "Teacher",
    "TeacherCard",
    "ZooError",
    "find_card",
    "keep_freed_memory",
    "list_cards",
    "load_teacher",
    "observe",
    "read_images",
]

_HOME = {
    "FeatureStore": "features",
    "Features": "features",
    "Images": "images",
    "Observation": "observation",
    "Preprocessing": "card",
    "Teacher": "teacher",
    "TeacherCard": "card",
    "ZooError": "errors",
    "find_card": "catalogue",
    "keep_freed_memory": "memory",
    "list_cards": "catalogue",
    "load_teacher": "teacher",
    "observe": "observation",
    "read_images": "images",
}


def __getattr__(name: str) -> Any:
    """A public name, its file imported at first use: torch and timm are slow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
