"""Find the image files below a folder, and name what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import ImagesError
from zoo.images.decoding import HEIF, SUFFIXES, has_image_header

SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "@recycle", "__macosx", "$recycle.bin", "system volume information",
     "lost+found", "__pycache__"}
)  # fmt: skip
"""Folders that operating systems and network drives make, in lower case."""
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


@dataclass
class Found:
    """What lies below a folder: files that look like images, and others.

    An image is one by its suffix, or by its first bytes without a suffix. `system` are names of
    folders of the system, which are left out, `folders` of those directly below.
    """

    images: list[Path] = field(default_factory=lambda: [])
    others: list[Path] = field(default_factory=lambda: [])
    system: set[str] = field(default_factory=lambda: set())
    folders: list[str] = field(default_factory=lambda: [])

    def left_out(self, root: Path) -> list[str]:
        """A sentence on the files and one on the folders that were left out, if there are any."""
        notes: list[str] = []
        if self.others:
            suffixes = sorted(path.suffix.lower() for path in self.others)
            kinds = Counter(suffix or "without a suffix" for suffix in suffixes)
            named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
            more = ", ..." * (len(kinds) > 5)
            inner = [path.relative_to(root).parts for path in self.others]
            classes = Counter(parts[0] for parts in inner if parts[1:])
            of = ", ".join(f"{name} ({count})" for name, count in classes.most_common(3))
            of = f", in {of}{', ...' * (len(classes) > 3)}" if of else ""
            heif = " `pip install 'source-zoo[heic]'` reads .heic." if HEIF & kinds.keys() else ""
            count = len(self.others)
            notes.append(
                f"Left out {count} file{'s' * (count > 1)} that {'is' if count == 1 else 'are'} "
                f"no image by the suffix: {named}{more}{of}.{heif}"
            )
        if self.system:
            names = ", ".join(sorted(self.system))
            notes.append(f"Left out folders of the system: {names}.")
        return notes


def check_folder(folder: Path) -> None:
    """Raise an ImagesError for what is no folder, or not there."""
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "does not exist"
        raise ImagesError(f"The image folder {folder} {kind}: name a folder of images.")


def find_files(folder: Path, without: Path | None = None) -> Found:
    """Files below a folder but not below another, hidden ones left out, every folder visited once.

    Raises:
        ImagesError: there is no such folder, or one cannot be read.
    """
    check_folder(folder)
    found = Found()
    for parent, folders, files in _walk(folder, without, found.system):
        if parent == folder:
            found.folders = [*folders]
        for name in files:
            path = parent / name
            suffix = path.suffix.lower()
            if name.startswith(".") or name.lower() in SYSTEM_FILES:
                continue
            is_image = suffix in SUFFIXES or (not suffix and has_image_header(path))
            (found.images if is_image else found.others).append(path)
    found.images.sort()
    return found


def _walk(
    folder: Path, without: Path | None, system: set[str]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`: names of folders and files; fills in the folders of the system."""

    def refuse(error: OSError) -> None:
        raise ImagesError(
            f"The folder {error.filename} cannot be read ({error.strerror}): "
            "change its permissions or move it away."
        ) from error

    seen: set[str] = {os.path.realpath(without)} if without else set()
    roots = [folder]
    for root in roots:  # it grows: links come last, so that folders keep their own names
        for parent, folders, files in os.walk(root, onerror=refuse):
            if (real := os.path.realpath(parent)) in seen:
                folders.clear()
                continue
            seen.add(real)
            system |= {name for name in folders if name.lower() in SYSTEM_FOLDERS}
            folders[:] = sorted(
                name for name in folders if not name.startswith(".") and name not in system
            )
            roots += [link for name in folders if (link := Path(parent, name)).is_symlink()]
            yield Path(parent), folders, files
