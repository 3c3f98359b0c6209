"""Read a label file: a table of paths and classes, as any spreadsheet writes it."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
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
    is_folder = cache(lambda name: _exists(target / name) and (target / name).is_dir())
    named: Labels = {}
    for line, row in rows:
        image, label = row["path"], row["label"]
        more = any(row.get(None) or ())  # pyright: ignore
        if not image or label is None or more:
            wrong = "has more fields than the first" if more else "lacks a path or a label"
            raise ImagesError(
                f"Line {line} of {path} {wrong}: each line is an image and its class."
            )
        inner = _find(image, target)
        if not (_is_text(label) and (_is_text(image) or _exists(inner))):
            raise _not_utf8(path)
        if "\n" in label or "\r" in label:
            raise ImagesError(
                f"Line {line} of {path} ends a label of several lines, {label[:40]!r}: is there a "
                "quotation mark too many?"
            )
        # a folder may have such a name, and files of `zoo check` name it
        name = same_text(label if is_folder(label) else label.strip()) or None
        if named.setdefault(inner, (name, line))[0] != name:
            raise ImagesError(f"Line {line} of {path} gives {image} a second label: keep one.")
    _refuse_several(path, named, is_folder)
    return named


def _find(image: str, target: Path) -> Path:
    """Where an image lies that a line names, as it is written if there is one."""
    written = [image, image.strip(), image.strip().replace("\\", "/")]
    places = [target / os.path.normpath(each) for each in written]
    return next((place for place in places if _exists(place)), places[1])


def _exists(path: Path) -> bool:
    """Whether a path exists; a name that no file can have does not."""
    try:
        return path.exists()
    except OSError:
        return False


def _read_rows(path: Path) -> Sequence[tuple[int, Mapping[str, str | None]]]:
    """Line and columns of every row, by the column's name in lower case."""
    try:
        text = read_regular_file(path, LIMIT).decode("utf-8-sig", "surrogateescape")
        first = text.partition("\n")[0]
        if not _is_text(first):
            raise _not_utf8(path)
        for delimiter in DELIMITERS:
            lines = io.StringIO(text, newline="")
            # strict: a quotation mark without its partner would take all lines that follow
            reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            columns = Counter(reader.fieldnames)
            if columns["path"] and columns["label"]:
                if columns["path"] + columns["label"] > 2:
                    raise ImagesError(
                        f"The label file {path} has two columns of one name: keep one `path` and "
                        "one `label`."
                    )
                return _number_rows(reader)
    except (OSError, ValueError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"The label file {path} cannot be read ({why}): name a CSV file with --labels."
        ) from error
    raise ImagesError(
        f"The label file {path} begins with {first.strip()[:60]!r}: the first line has to be "
        "`path,label`."
    )


def _number_rows(
    reader: csv.DictReader[str],
) -> Sequence[tuple[int, Mapping[str, str | None]]]:
    """The rows, each with the number of its last line."""
    rows: list[tuple[int, Mapping[str, str | None]]] = []
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise csv.Error(f"line {begin}: {error}; look for a quotation mark") from error
        if row is None:
            return rows
        rows.append((reader.line_num, row))


def _is_text(text: str) -> bool:
    """Whether text holds no bytes that are not UTF-8."""
    return not any("\udc80" <= sign <= "\udcff" for sign in text)


def _not_utf8(path: Path) -> ImagesError:
    return ImagesError(f"The label file {path} is not UTF-8: save it as UTF-8.")


def _refuse_several(path: Path, named: Labels, is_folder: Callable[[str], bool]) -> None:
    """Refuse (ImagesError) labels such as `cat,dog` where `cat` or `dog` is a label too.

    A label that is the name of a folder of the target is one.
    """
    known = {name for name, _ in named.values() if name}
    for name, line in named.values():
        parts = [part.strip() for part in re.split("[,;|]", name or "")]
        if not (len(parts) > 1 and all(parts) and known & set(parts)):
            continue
        if not is_folder(name or ""):
            raise ImagesError(
                f"Line {line} of {path} has several labels ({name!r}), and an image has one class "
                "here: keep one label per image."
            )


def match_paths(named: Labels, paths: Iterable[Path], file: Path) -> Labels:
    """The entries of a label file by the paths of images; those without an image are left in it.

    Paths match as they are written, or by the file that they lead to, in any form of Unicode.

    Raises:
        ImagesError: two paths of one image have different labels.
    """
    matched = {path: named.pop(path) for path in paths if path in named}
    if not named:
        return matched
    aliases: dict[str, list[Path]] = defaultdict(list)
    for path in named:
        aliases[_real(path)].append(path)
    for path in paths:
        for other in aliases.get(_real(path), ()):
            name, line = named[other]
            if matched.setdefault(path, (name, line))[0] != name:
                raise ImagesError(f"Line {line} of {file} gives {other} a second label: keep one.")
    for other in {other for path in matched for other in aliases.get(_real(path), ())}:
        del named[other]
    return matched


def _real(path: Path) -> str:
    return same_text(os.path.realpath(path))


def near_equal(names: Sequence[str]) -> list[str]:
    """Names that differ from another only in case, spaces, hyphens or underscores."""

    def plain(name: str) -> str:
        return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name)).casefold()

    counts = Counter(map(plain, names))
    return [name for name in names if counts[plain(name)] > 1]
