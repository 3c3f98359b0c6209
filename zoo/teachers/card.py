"""TeacherCard: all that is known of a teacher before its weights load; JSON in and out."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Self, get_args

from zoo.errors import TeacherBroken
from zoo.system.files import write_atomic

CARD_FILE = "card.json"
CARD_FORMAT = 2
HUB = "hf-hub:"
"""What the source of a teacher on the Hugging Face Hub begins with; `OWNER/NAME` follows."""

Loader = Literal["timm", "hf-hub", "overlay"]
Evidence = Literal["measured", "timm", "seen", "recalled", ""]


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float | None": (float, int, NoneType),
    "tuple[str, ...]": (list, tuple),
    "tuple[tuple[float, ...], ...]": (list, tuple),
    "Mapping[str, Any]": (dict,),
}
"""What an entry of a card may be in JSON, by its annotation."""


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
        channels: their order, `rgb` or `bgr`; mean and standard deviation are in that order.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0
    crop_mode: Literal["center", "squash"] = "center"
    channels: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        channels = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, channels)):
            raise ValueError(f"mean {self.mean} or std {self.std} is not three numbers")
        if type(self.size) is not int or min(self.std) <= 0:
            raise ValueError(f"size {self.size!r} is not whole or std {self.std} not above 0")
        if self.size < 8 or not 0 < self.crop_pct <= 1:
            raise ValueError(f"size {self.size} or crop_pct {self.crop_pct} is out of range")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"unknown interpolation {self.interpolation!r}")
        if self.crop_mode not in ("center", "squash"):
            raise ValueError(f"unknown crop mode {self.crop_mode!r}")
        if self.channels not in ("rgb", "bgr"):
            raise ValueError(f"unknown order of channels {self.channels!r}")

    @classmethod
    def of_timm(cls, config: Mapping[str, Any]) -> Self:
        """What the `pretrained_cfg` of timm asks for.

        Raises:
            ValueError, KeyError, TypeError: something that is not supported.
        """
        channels, height, width = config["input_size"]
        if channels != 3 or height != width:
            raise ValueError(f"the input size {config['input_size']} is not 3 x S x S")
        return cls(
            size=height,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config.get("interpolation", "bilinear"),
            crop_pct=config.get("crop_pct", 1.0),
            crop_mode=config.get("crop_mode", "center"),
        )

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
        source: `builtin:NAME`, `hf-hub:OWNER/NAME`, or where else its files come from.
        network: timm's name of the architecture; empty until a file of the source says it.
        classes: K, the width of its logits; 0 for a teacher that is used for its features alone.
        license: of the weights.
        data: the data it was taught on.
        data_license: of that data, as commonly stated.
        preprocessing: how it wants its images; None until a file of the source says it.
        revision: commit of the source, 40 hex digits, empty where there is none or none is known.
        labels: its classes' names, in the order of its logits; empty where they have none.
        params: parameters, classifier included; 0 when unknown.
        bytes: size of the weights file; 0 when unknown.
        sha256: of the weights file, 64 hex digits; empty until it was fetched.
        weights: name of that file.
        loader: `hf-hub` when `config.json` beside the weights says how to build the network, `timm`
            when timm's own registry does, `overlay` when this card does (`overlay`).
        model_args: further arguments of the network's factory.
        overlay: entries of timm's `pretrained_cfg` that these weights need otherwise.
        accuracy: top-1 on held-out images of its own domain, in 0..1; None when unknown.
        accuracy_images: how many images that was measured on.
        recipe: the command and numbers that made it.
        evidence: how the entries of this card are known: `measured` here, from `timm`, `seen` on a
            public page, `recalled` from memory.
        gated: its owner has to be asked before it can be fetched.
        default: one of the few that are pulled by default.
        note: what one should know before using it.
        golden: embeddings [2, D] of two synthetic images (`zoo.teachers.verify`); empty when unknown.
        folder: where its files are on this machine; None when they are not.
    """

    name: str
    domain: str
    source: str
    network: str
    classes: int
    license: str
    data: str
    data_license: str
    preprocessing: Preprocessing | None
    revision: str = ""
    labels: tuple[str, ...] = ()
    params: int = 0
    bytes: int = 0
    sha256: str = ""
    weights: str = "model.safetensors"
    loader: Loader = "hf-hub"
    model_args: Mapping[str, Any] = field(default_factory=lambda: {})
    overlay: Mapping[str, Any] = field(default_factory=lambda: {})
    accuracy: float | None = None
    accuracy_images: int = 0
    recipe: str = ""
    evidence: Evidence = ""
    gated: bool = False
    default: bool = False
    note: str = ""
    golden: tuple[tuple[float, ...], ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.classes} classes")
        if self.loader not in get_args(Loader) or self.evidence not in get_args(Evidence):
            raise ValueError(f"unknown loader {self.loader!r} or evidence {self.evidence!r}")
        if not self.weights or self.weights == ".." or Path(self.weights).name != self.weights:
            raise ValueError(f"weights {self.weights!r} is not the name of a file")

    @property
    def repo(self) -> str:
        """`OWNER/NAME` on the Hub; empty for a teacher from elsewhere."""
        return self.source.removeprefix(HUB) if self.source.startswith(HUB) else ""

    @property
    def file_name(self) -> str:
        """The name as a folder can have it: teachers named by repository hold a slash."""
        return self.name.replace("/", "--")

    @property
    def input(self) -> Preprocessing:
        """How it wants its images.

        Raises:
            TeacherBroken: nothing says so yet.
        """
        if self.preprocessing is None:
            raise TeacherBroken(f"Nobody knows yet how {self.name!r} wants its images: pull it.")
        return self.preprocessing

    def to_json(self) -> dict[str, Any]:
        """The card without its folder; what is as by default is left out."""
        plain: dict[str, Any] = {
            entry.name: entry.default if entry.default is not MISSING else {}
            for entry in fields(self)
            if entry.default is not MISSING or entry.default_factory is not MISSING
        }
        return {
            name: value
            for name, value in asdict(self).items()
            if name != "folder" and (name not in plain or value != plain[name])
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], folder: Path | None = None) -> Self:
        """The card that `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is none.
        """
        entries = dict(document)
        if unknown := sorted(entries.keys() - {entry.name for entry in fields(cls)}):
            raise ValueError(f"unknown entries {unknown}")
        for entry in fields(cls):
            kinds = _KINDS.get(str(entry.type))
            if kinds and entry.name in entries and type(entries[entry.name]) not in kinds:
                raise ValueError(f"{entry.name} cannot be {entries[entry.name]!r}")
        shape: Any = entries.pop("preprocessing")
        if shape:
            shape = {**shape, "mean": tuple(shape["mean"]), "std": tuple(shape["std"])}
        entries["labels"] = tuple(entries.get("labels", ()))
        if any(type(label) is not str for label in entries["labels"]):
            raise ValueError("labels are words")
        entries["golden"] = tuple(tuple(row) for row in entries.get("golden", ()))
        shape = Preprocessing(**shape) if shape else None
        return cls(**entries, preprocessing=shape, folder=folder)

    def save(self, folder: Path) -> None:
        """Write `card.json` into the teacher's folder, whole or not at all."""
        document = {"format": CARD_FORMAT, **self.to_json()}
        text = json.dumps(document, indent=1, ensure_ascii=False)
        # a line a list of numbers: golden embeddings are hundreds of them
        text = re.sub(r"\[[-\d.e,\s]*\]", lambda found: "".join(found[0].split()), text)
        write_atomic(folder / CARD_FILE, text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the card of a teacher's folder.

        Raises:
            TeacherBroken: there is no card, or it is not one.
        """
        path = folder / CARD_FILE
        try:
            document: dict[str, Any] = json.loads(
                path.read_text(encoding="utf-8"), parse_constant=_refuse
            )
            if type(document) is not dict or document.pop("format", None) != CARD_FORMAT:
                raise ValueError(f"its format is not {CARD_FORMAT}")
            return cls.from_json(document, folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise TeacherBroken(
                f"The teacher card {path} cannot be used: {error}. "
                "Install source-zoo, or add or pull the teacher, again."
            ) from error

    def summary(self) -> dict[str, Any]:
        """The card as `zoo list --json` shows it."""
        shown = (
            "name", "domain", "source", "revision", "network", "classes", "params", "bytes",
            "license", "data", "data_license", "accuracy", "accuracy_images", "loader",
            "evidence", "gated", "default",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in shown}, "local": self.folder is not None}


def absence(card: TeacherCard) -> str:
    """Why a teacher whose files are elsewhere cannot be used, in a line."""
    return f"The files of {card.name!r} are not on this machine: `zoo pull {card.name}`."


def _refuse(constant: str) -> float:
    """What JSON of other makers calls a number: it could not be written again."""
    raise ValueError(f"{constant} is no number")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
