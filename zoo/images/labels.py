"""Read a label file: a table of paths and classes, as any spreadsheet writes it."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from zoo.errors import ImagesError
from zoo.system.json_files import read_regular_file

LIMIT = 1 << 28
"""Bytes of a label file at most."""
DELIMITERS = ",;\t|"
"""Between the columns."""

Labels = dict[Path, tuple[str | None, int]]
"""Class and line by path; None for an image without a label."""


def same_text(text: str) -> str:
    """Text in Unicode's composed form (NFC): file systems and programs differ in it."""
    return unicodedata.normalize("NFC", text)


def read_label_file(path: Path, target: Path) -> Labels:
    """Label and line by path below `target`; an empty label stands for unlabeled.

    The columns `path` and `label` are found in the first line, with commas, semicolons, tabs or
    bars between; paths may be absolute, or have the backslashes of Windows. The file is UTF-8, but
    for the names of images that are not: these are the bytes of the file system.

    Raises:
        ImagesError: the file cannot be read, a line is not a path and its label, labels contradict,
            or images have several.
    """
    rows = _read_rows(path)
    named: Labels = {}
    for line, row in rows:
        image, label = row["path"], row["label"]
        more = any(row.get(None) or ())  # pyright: ignore
        if not image or label is None or more:
            wrong = "has more fields than the first" if more else "lacks a path or a label"
            raise ImagesError(
                f"Line {line} of {path} {wrong}: each line is an image and its class."
            )
        inner = target / os.path.normpath(image.strip())
        if "\\" in image and not inner.exists():
            inner = target / os.path.normpath(image.strip().replace("\\", "/"))
        if not (_is_text(label) and (_is_text(image) or inner.exists())):
            raise _not_utf8(path)
        name = same_text(label.strip()) or None
        if named.setdefault(inner, (name, line))[0] != name:
            raise ImagesError(f"Line {line} of {path} gives {image} a second label: keep one.")
    _refuse_several(path, named)
    return named


def _read_rows(path: Path) -> Sequence[tuple[int, Mapping[str, str | None]]]:
    """Line and columns of every row, by the column's name in lower case."""
    try:
        text = read_regular_file(path, LIMIT).decode("utf-8-sig", "surrogateescape")
        first = text.partition("\n")[0]
        if not _is_text(first):
            raise _not_utf8(path)
        for delimiter in DELIMITERS:
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            if {"path", "label"} <= set(reader.fieldnames):
                return [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"The label file {path} cannot be read ({why}): name a CSV file with --labels."
        ) from error
    raise ImagesError(
        f"The label file {path} begins with {first.strip()[:60]!r}: the first line has to be "
        "`path,label`."
    )


def _is_text(text: str) -> bool:
    """Whether text holds no bytes that are not UTF-8."""
    return not any("\udc80" <= sign <= "\udcff" for sign in text)


def _not_utf8(path: Path) -> ImagesError:
    return ImagesError(f"The label file {path} is not UTF-8: save it as UTF-8.")


def _refuse_several(path: Path, named: Labels) -> None:
    """Refuse (ImagesError) labels such as `cat,dog` where `cat` or `dog` is a label too."""
    known = {name for name, _ in named.values() if name}
    for name, line in named.values():
        parts = [part.strip() for part in re.split("[,;|]", name or "")]
        if len(parts) > 1 and all(parts) and known & set(parts):
            raise ImagesError(
                f"Line {line} of {path} has several labels ({name!r}), and an image has one class "
                "here: keep one label per image."
            )


def match_paths(named: Labels, paths: Iterable[Path]) -> dict[Path, tuple[str | None, int]]:
    """The entries of a label file by the paths of images; those without an image are left in it.

    Paths match as they are written, or by the file that they lead to, in any form of Unicode.
    """
    matched = {path: named.pop(path) for path in paths if path in named}
    if not named:
        return matched
    real = {_real(path): path for path in named}
    for path in paths:
        if path not in matched and (written := real.get(_real(path))):
            matched[path] = named[written]
    for path in {real[key] for key in map(_real, matched) if key in real}:
        named.pop(path, None)
    return matched


def _real(path: Path) -> str:
    return same_text(os.path.realpath(path))


def near_equal(names: Sequence[str]) -> list[str]:
    """Names that differ from another only in case, spaces, hyphens or underscores."""

    def plain(name: str) -> str:
        return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name)).casefold()

    counts = Counter(map(plain, names))
    return [name for name in names if counts[plain(name)] > 1]
