"""Data sets of the Hub, `hf://datasets/OWNER/NAME:SPLIT`, as a folder of images in the cache."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from zoo.errors import ImagesError, first_line
from zoo.images.decoding import FORMATS, MAX_BYTES, UNREADABLE
from zoo.system.files import atomic_new_folder
from zoo.system.runtime import Runtime

MOST = 200_000
"""Images of a data set, at most: more do not belong into a cache."""
LABEL_COLUMNS = ("label", "labels", "class", "category")
"""Columns that hold the label where no column has classes as its type."""
Row = Mapping[str, Any]


def is_dataset(target: Path) -> bool:
    """Whether a target is an address such as `hf://datasets/OWNER/NAME:train`."""
    return re.match(r"hf:/+datasets/", target.as_posix()) is not None


def fetch_dataset(target: Path, runtime: Runtime) -> tuple[Path, Path]:
    """The images of a data set of the Hub as a folder of the cache, and their label file.

    The target is `hf://datasets/OWNER/NAME`, with `:SPLIT` behind it if not train.

    Raises:
        ImagesError: the address is malformed, the data set cannot be had or has no images.
    """
    found = re.fullmatch(r"hf:/+datasets/([\w.-]+/[\w.-]+)(?::([\w.-]+))?", target.as_posix())
    if not found:
        given = re.sub("^hf:/+", "hf://", target.as_posix())  # a Path has one slash
        raise ImagesError(f"{given} is not an address: write hf://datasets/OWNER/NAME:SPLIT.")
    name, split = found[1], found[2] or "train"
    key = hashlib.sha256(f"{name}:{split}".encode()).hexdigest()[:16]
    place = runtime.cache / "datasets" / f"{name.replace('/', '--')}-{split}-{key}"
    if not place.exists():
        save_dataset(load_rows(name, split), place, runtime.progress(f"fetching {name}"))
    return place / "images", place / "labels.csv"


def load_rows(path: str, split: str) -> Any:
    """A split of a data set, of the Hub or a folder of parquet files; images stay undecoded.

    Raises:
        ImagesError: `datasets` is not installed, or cannot load it.
    """
    try:
        import datasets  # type: ignore
    except ImportError as error:
        raise ImagesError("hf:// needs datasets: pip install 'source-zoo[datasets]'.") from error
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(path, split=split)
    except Exception as error:  # of the network, the Hub, pyarrow, the split
        raise ImagesError(
            f"The data set {path}:{split} cannot be loaded: {first_line(error).rstrip('.')}. Check "
            "its name and split, or name a folder."
        ) from error


def save_dataset(rows: Any, place: Path, progress: Any = lambda *_: None) -> None:
    """Write the images of a data set of `datasets` as files, and their labels as a CSV file.

    A column holds images, and one may hold labels; the new folder gets `images/` and `labels.csv`.

    Raises:
        ImagesError: it has no column of images, too many of them, several labels per image, or the
            disk is full.
    """
    import datasets  # type: ignore

    features: Mapping[str, Any] = rows.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise ImagesError(
            f"The data set has no column of images: its columns are {', '.join(features)}."
        )
    if len(rows) > MOST:
        raise ImagesError(f"The data set has {len(rows)} images, more than {MOST}: name a folder.")
    label, names = _label_column(features)
    rows = rows.cast_column(images[0], datasets.Image(decode=False))
    try:
        with atomic_new_folder(place) as part:
            (part / "images").mkdir()
            written = _write(rows, images[0], label, names, part, progress)
            if not written:
                raise ImagesError(
                    "The data set holds its images elsewhere: fetch them, and name a folder."
                )
    except OSError as error:
        if place.exists():  # another process fetched it meanwhile
            return
        raise ImagesError(f"{place} cannot be written: {error.strerror or error}.") from error


def _label_column(features: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """The column of the labels and the names of the classes; empty where there are none."""
    for name, kind in features.items():
        if names := getattr(kind, "names", None):
            return name, names
    return next((name for name in LABEL_COLUMNS if name in features), ""), ()


def _write(
    rows: Iterable[Row], image: str, label: str, names: Sequence[str], part: Path, progress: Any
) -> int:
    """Write each image and a line for its label; returns the number of images."""
    written, total = 0, len(rows)  # type: ignore[arg-type]
    with (part / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("path", "label"))
        for number, row in enumerate(rows):
            content, value = (row[image] or {}).get("bytes"), row[label] if label else None
            if isinstance(value, list):
                raise ImagesError(
                    f"The column {label!r} of the data set holds several labels per image, and an "
                    "image has one class here: name a folder."
                )
            if content and len(content) <= MAX_BYTES:  # a path in a file of others is not followed
                path = f"{number:06}{_suffix(content)}"
                (part / "images" / path).write_bytes(content)
                written += 1
                if isinstance(value, int) and names:
                    value = names[value] if 0 <= value < len(names) else None
                if value is not None:
                    lines.writerow((path, str(value)))
            progress(number + 1, total)
    return written


def _suffix(content: bytes) -> str:
    """Suffix of an image file by its first bytes.

    What is no image gets one too: it is named as unreadable when the folder is read.
    """
    with suppress(*UNREADABLE), Image.open(io.BytesIO(content), formats=[*FORMATS]) as opened:
        return FORMATS[opened.format or ""].split()[0]
    return ".jpg"  # also a JPEG of several pictures, which Pillow calls MPO
