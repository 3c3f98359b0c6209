"""Labels from a CSV file with the columns path,label."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from .errors import ImagesError


def read_label_file(path: Path, target: Path) -> dict[Path, str | None]:
    """Labels by path below `target`; an empty label stands for unlabelled.

    Raises:
        ImagesError: the file cannot be read, a line is not `path,label`, or labels contradict.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = reader.fieldnames or ()
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImagesError(f"The label file {path} cannot be read: {error}.") from error
    if not {"path", "label"} <= set(header):
        raise ImagesError(f"The label file {path} does not begin with the line `path,label`.")
    named: dict[Path, str | None] = {}
    for line, row in rows:
        image, label = row["path"], row["label"]
        if not image or label is None:
            raise ImagesError(
                f"Line {line} of {path} lacks a path or a label: "
                "the first line is `path,label`, each other line an image and its class."
            )
        inner = target / os.path.normpath(image.strip())
        if named.setdefault(inner, label.strip() or None) != (label.strip() or None):
            raise ImagesError(f"Line {line} of {path} gives {image} a second label: keep one.")
    return named
