"""The zoo: teachers, images, and the features that teachers compute from images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.errors import ZooError
    from zoo.features.extraction import TeacherOutputs, extract_features
    from zoo.features.store import Features, FeatureStore
    from zoo.images.folder import Images, read_images
    from zoo.images.source import ImageSource
    from zoo.system.runtime import Runtime, keep_freed_memory
    from zoo.teachers.card import Preprocessing, TeacherCard
    from zoo.teachers.catalogue import find_card, list_cards
    from zoo.teachers.loading import Teacher, load_teacher

__version__ = "0.2.0"

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

_NAMES = {
    "errors": "ZooError",
    "features.extraction": "TeacherOutputs extract_features",
    "features.store": "Features FeatureStore",
    "images.folder": "Images read_images",
    "images.source": "ImageSource",
    "system.runtime": "Runtime keep_freed_memory",
    "teachers.card": "Preprocessing TeacherCard",
    "teachers.catalogue": "find_card list_cards",
    "teachers.loading": "Teacher load_teacher",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """A public name, its module imported at first use: torch and timm are slow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
