"""TeacherCard: all that is known of a teacher before its weights load; JSON in and out."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from .errors import TeacherBroken

CARD_FILE = "card.json"
CARD_FORMAT = 1


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images.

    Attributes:
        size: height and width of the input, in pixels.
        mean: per channel (red, green, blue), of values in 0..1.
        std: per channel, of values in 0..1.
        interpolation: `bilinear` or `bicubic`, antialiased.
        crop_pct: share of the resized image that the crop keeps, in (0, 1].
        crop_mode: `center` resizes the shorter side and crops; `squash` ignores the aspect ratio.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0
    crop_mode: Literal["center", "squash"] = "center"

    def __post_init__(self) -> None:
        if self.size < 8 or not 0 < self.crop_pct <= 1:
            raise ValueError(f"size {self.size} or crop_pct {self.crop_pct} is out of range")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"unknown interpolation {self.interpolation!r}")
        if self.crop_mode not in ("center", "squash"):
            raise ValueError(f"unknown crop mode {self.crop_mode!r}")

    @property
    def geometry(self) -> tuple[int, str, float, str]:
        """What decides the decoded uint8 pixels: teachers that share it share one decode."""
        return (self.size, self.interpolation, self.crop_pct, self.crop_mode)


@dataclass(frozen=True)
class TeacherCard:
    """What is known of a teacher.

    Attributes:
        name: unique within a zoo.
        domain: what its images show, in a word or two.
        source: `builtin:NAME`, or where else its files come from.
        revision: commit of that source, 40 hex digits, empty where the source has none.
        network: timm's name of the architecture.
        labels: its classes, in the order of its logits.
        params: parameters, classifier included.
        bytes: size of the weights file.
        sha256: of the weights file, 64 hex digits.
        license: of the weights.
        data: the data it was taught on.
        data_license: of that data, as commonly stated.
        preprocessing: how it wants its images.
        accuracy: top-1 on held-out images of its own domain, in 0..1; None when unknown.
        accuracy_images: how many images that was measured on.
        recipe: the command and numbers that made it.
        folder: where its files are on this machine; None when they are not.
    """

    name: str
    domain: str
    source: str
    revision: str
    network: str
    labels: tuple[str, ...]
    params: int
    bytes: int
    sha256: str
    license: str
    data: str
    data_license: str
    preprocessing: Preprocessing
    accuracy: float | None = None
    accuracy_images: int = 0
    recipe: str = ""
    folder: Path | None = None

    def save(self, folder: Path) -> None:
        """Write `card.json` into the teacher's folder, whole or not at all."""
        document = {"format": CARD_FORMAT, **asdict(self)}
        del document["folder"]
        write_whole(folder / CARD_FILE, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TeacherCard:
        """Read the card of a teacher's folder.

        Raises:
            TeacherBroken: there is no card, or it is not one.
        """
        path = folder / CARD_FILE
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if document.pop("format", None) != CARD_FORMAT:
                raise ValueError(f"its format is not {CARD_FORMAT}")
            known = {field.name for field in fields(cls)}
            if unknown := sorted(document.keys() - known):
                raise ValueError(f"unknown entries {unknown}")
            shape = document.pop("preprocessing")
            shape |= {"mean": tuple(shape["mean"]), "std": tuple(shape["std"])}
            document["labels"] = tuple(document["labels"])
            return cls(**document, preprocessing=Preprocessing(**shape), folder=folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TeacherBroken(
                f"The teacher card {path} cannot be used: {error}. Install source-zoo again."
            ) from error

    def summary(self) -> dict[str, Any]:
        """The card as `zoo list --json` shows it."""
        return {
            "name": self.name,
            "domain": self.domain,
            "source": self.source,
            "revision": self.revision,
            "network": self.network,
            "classes": len(self.labels),
            "params": self.params,
            "bytes": self.bytes,
            "license": self.license,
            "data": self.data,
            "data_license": self.data_license,
            "local": self.folder is not None,
            "accuracy": self.accuracy,
            "accuracy_images": self.accuracy_images,
        }


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    # a name of its own: two processes may write the same file
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
