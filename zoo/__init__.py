"""The zoo: teachers, images, and the features that teachers compute."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.errors import ZooError
    from zoo.features.extraction import TeacherOutputs, extract_features
    from zoo.features.inference import Teacher, load_teacher
    from zoo.features.store import Features, FeatureStore
    from zoo.images.folder import Images, read_images
    from zoo.images.source import ImageSource
    from zoo.system.memory import keep_freed_memory
    from zoo.system.runtime import Runtime
    from zoo.teachers.card import Preprocessing, TeacherCard
    from zoo.teachers.catalogue import find_card, list_cards

__version__ = "0.1.0"

__all__ = [
    "FeatureStore",
    "Features",
    "ImageSource",
    "Images",
    "Preprocessing",
    "Runtime",
    "Teacher",
    "TeacherCard",
    "TeacherOutputs",
    "ZooError",
    "extract_features",
    "find_card",
    "keep_freed_memory",
    "list_cards",
    "load_teacher",
    "read_images",
]

_HOME = {
    "FeatureStore": "features.store",
    "Features": "features.store",
    "ImageSource": "images.source",
    "Images": "images.folder",
    "Preprocessing": "teachers.card",
    "Runtime": "system.runtime",
    "Teacher": "features.inference",
    "TeacherCard": "teachers.card",
    "TeacherOutputs": "features.extraction",
    "ZooError": "errors",
    "extract_features": "features.extraction",
    "find_card": "teachers.catalogue",
    "keep_freed_memory": "system.memory",
    "list_cards": "teachers.catalogue",
    "load_teacher": "features.inference",
    "read_images": "images.folder",
}


def __getattr__(name: str) -> Any:
    """A public name, its module imported at first use: torch and timm are slow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
