"""Labels from a CSV file with the columns path,label."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from zoo.errors import ImagesError


def read_label_file(path: Path, target: Path) -> dict[Path, tuple[str | None, int]]:
    """Label and line by path below `target`; an empty label stands for unlabeled.

    Raises:
        ImagesError: the file cannot be read, a line is not `path,label`, or labels contradict.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = reader.fieldnames or ()
        rows = [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise ImagesError(f"The label file {path} is not UTF-8: save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"The label file {path} cannot be read ({why}): name a CSV file with --labels."
        ) from error
    if not {"path", "label"} <= set(header):
        raise ImagesError(
            f"The label file {path} begins with {','.join(header)[:60]!r}: the first line has to "
            "be `path,label`, in lower case and with a comma."
        )
    named: dict[Path, tuple[str | None, int]] = {}
    for line, row in rows:
        image, label = row["path"], row["label"]
        more = any(row.get(None) or ())  # pyright: ignore
        if not image or label is None or more:
            wrong = "has more fields than the first" if more else "lacks a path or a label"
            raise ImagesError(
                f"Line {line} of {path} {wrong}: each line is an image and its class."
            )
        inner = target / os.path.normpath(image.strip())
        name = label.strip() or None
        if named.setdefault(inner, (name, line))[0] != name:
            raise ImagesError(f"Line {line} of {path} gives {image} a second label: keep one.")
    return named
