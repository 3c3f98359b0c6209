"""Starts: the initial weights of a student, on this machine or pinned on the Hub."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import StudentError, TeacherBroken
from zoo.system.runtime import ProgressBars, no_progress
from zoo.teachers import catalogue
from zoo.teachers.card import CARD_FILE, EXTRA, Preprocessing, TeacherCard
from zoo.teachers.collection import describe_folder

if TYPE_CHECKING:
    from timm.models import PretrainedCfg
    from torch import Tensor

ALIASES = {
    "mobilenetv3": "mobilenetv3_large_100",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "mobilenetv3_small": "mobilenetv3_small_100",
    # timm's networks of these very names have no weights, but for the first
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite1": "tf_efficientnet_lite1",
    "efficientnet_lite2": "tf_efficientnet_lite2",
}
"""Names of students that mean another one of timm."""

KINDS = ("auto", "builtin", "hub", "random")
"""Starts by name; any other name is a folder."""

IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
"""Preprocessing of a student with random weights."""


@dataclass(frozen=True)
class Start:
    """The initial weights of a student, and where they come from in plain words.

    The card of random ones has the network and the preprocessing.
    """

    origin: str
    card: TeacherCard

    @property
    def is_random(self) -> bool:
        """Whether there is nothing to load."""
        return self.card.source == "random" and self.card.folder is None

    @property
    def is_embedded(self) -> bool:
        """Whether the weights come with source-zoo: they are weaker than those of ImageNet."""
        return self.card.source.startswith("builtin:")

    @property
    def sha256(self) -> str:
        """Of the weights file, 64 hex digits; empty for random weights and before a download."""
        return self.card.sha256

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the images that the weights were trained on, at their native size."""
        return self.card.input

    def __str__(self) -> str:
        """The origin, with the first 12 hex digits of the hash."""
        return f"{self.origin} (SHA-256 {self.sha256[:12]})" if self.sha256 else self.origin

    def to_json(self) -> dict[str, Any]:
        """All that a report states of it."""
        names = ("network", "sha256", "revision", "license", "data", "data_license")
        entries = {name: getattr(self.card, name) for name in names}
        look = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.preprocessing).items()
        }
        return {"origin": self.origin, **entries, "preprocessing": look}

    def fetch(self, progress: ProgressBars = no_progress) -> Start:
        """The same on this machine: weights of the Hub are downloaded and pinned, or a HubError."""
        if self.card.folder or self.is_random:
            return self
        from zoo.hub.client import fetch

        return _of_hub(fetch(self.card, progress=progress(f"pulling {self.card.name}")))

    def state(self) -> dict[str, Tensor]:
        """Tensors by timm's names, those of its own classifier too; none for random weights.

        Raises:
            StudentError: the files are not here, damaged, or no network of timm.
        """
        if self.is_random:
            return {}
        from zoo.teachers.loading import build_network

        try:
            return build_network(self.card).state_dict()
        except TeacherBroken as error:
            raise StudentError(f"The initial weights cannot be read: {error}") from error


def find_start(name: str, arch: str) -> Start:
    """Find the initial weights of a student; nothing is downloaded.

    Args:
        name: `random`; `builtin` for the extra `imagenet` or else the embedded initial students;
            `hub` for timm's weights on the Hub; `auto` for those if they were pulled
            (`zoo pull --start`), and else as `builtin`; or a folder in timm's Hub layout.
        arch: timm's name of the network.

    Raises:
        StudentError: there are none.
    """
    if name == "random":
        return _random_start(arch)
    if name not in KINDS:
        return _folder_start(Path(name))
    hub = hub_start(arch)
    if name == "hub" and hub is None:
        raise StudentError(
            f"timm has no weights for {arch!r} and square images on the Hub: use another --start."
        )
    if hub and (name == "hub" or (name == "auto" and hub.card.folder)):
        return hub
    if found := _builtin_start(arch):
        return found
    ways = [
        *([f"`zoo pull --start {arch}` downloads timm's"] if hub else []),
        "--start FOLDER uses yours",
        "--start random does without",
        f"{EXTRA} has some for --arch efficientnet_lite0, efficientnet_lite1, efficientnet_lite2",
    ]
    raise StudentError(f"No initial weights for {arch!r} on this machine: {'; '.join(ways)}.")


def hub_start(arch: str) -> Start | None:
    """The default weights of timm for a network, which `zoo pull --start` downloads and pins.

    They have no folder before that; None where timm has none, or none for square images.
    """
    config = _timm_config(arch)
    if config is None or not config.hf_hub_id:
        return None
    card = catalogue.repository_card(config.hf_hub_id)
    if not card.network:
        try:
            look = Preprocessing.of_timm(config.to_dict())
        except ValueError:
            return None
        card = replace(card, network=arch, preprocessing=look)
    if card.data == "unknown":
        tag = config.tag or ""
        # ra_in1k saw ImageNet-1k alone, augreg_in21k_ft_in1k other images before
        plain = tag.endswith("in1k") and "ft_" not in tag
        data = ("ImageNet-1k", "ImageNet terms") if plain else (f"timm's tag {tag}", "unknown")
        card = replace(card, domain="photographs", data=data[0], data_license=data[1])
    return _of_hub(card)


def local_starts() -> dict[str, tuple[str, ...]]:
    """Initial weights on this machine by timm's network, each as `find_start` names it."""
    pulled = {card.network for card in catalogue.list_cards("hub") if _is_hub_start(card)}
    installed = {card.network for card in catalogue.list_cards("builtin") if _installed(card)}
    embedded = {folder.name for folder in catalogue.STUDENTS.iterdir()}
    known = {"hub": pulled, "builtin": installed | embedded}
    return {
        arch: tuple(name for name, archs in known.items() if arch in archs)
        for arch in pulled | installed | embedded
    }


def default_arch(start: str) -> str:
    """The student when none is named: of a folder's network, or else what begins strong and small.

    Of `auto` and `builtin` that is efficientnet_lite0 if the extra `imagenet` is installed, as
    initial weights of ImageNet count more than the network; not so of `auto` where those of
    mobilenetv3 were pulled from the Hub. Else it is mobilenetv3.
    """
    if start not in KINDS:
        return _folder_start(Path(start)).card.network
    starts = local_starts()
    large, lite = ALIASES["mobilenetv3"], ALIASES["efficientnet_lite0"]
    strong = start in ("auto", "builtin") and "builtin" in starts.get(lite, ())
    pulled = start == "auto" and "hub" in starts.get(large, ())
    return lite if strong and not pulled else large


def _is_hub_start(card: TeacherCard) -> bool:
    """Whether a pulled teacher has timm's own weights of its network: others are no start of it."""
    start = hub_start(card.network) if card.folder else None
    return start is not None and start.card.repo == card.repo


def _timm_config(arch: str) -> PretrainedCfg | None:
    """What timm knows of its weights for a network; None where it knows none, or no such tag."""
    import timm

    try:
        return timm.get_pretrained_cfg(arch)
    except RuntimeError:
        return None


def _of_hub(card: TeacherCard) -> Start:
    commit = f", commit {card.revision[:12]}" if card.revision else ""
    return Start(f"{card.repo} on the Hub{commit}", card)


def _builtin_start(arch: str) -> Start | None:
    """The weights of an installed package, or else the embedded ones; None without both."""
    for card in catalogue.list_cards("builtin"):
        if _installed(card) and card.network == arch:
            return Start(f"{card.data}, of the installed package {card.package}", card)
    folder = catalogue.STUDENTS / arch
    if not folder.is_dir():
        return None
    card = _read_card(folder)
    return Start(f"embedded, trained on {card.data}", card)


def _installed(card: TeacherCard) -> bool:
    """Whether its weights lie in a package of the extra `imagenet` on this machine."""
    return bool(card.package and card.folder)


def _folder_start(folder: Path) -> Start:
    return Start(f"the folder {folder}", _read_card(folder))


def _read_card(folder: Path) -> TeacherCard:
    """The card in a folder, or else one of what its files state."""
    try:
        if (folder / CARD_FILE).is_file():
            return TeacherCard.load(folder)
        return describe_folder(folder, "start", "")  # nobody sees this name
    except (TeacherBroken, OSError) as error:
        raise StudentError(
            f"The initial weights cannot be read: {str(error).rstrip('.')}. "
            "--start takes a folder in timm's Hub layout."
        ) from error


def _random_start(arch: str) -> Start:
    config = _timm_config(arch)
    size = config.input_size[-1] if config else IMAGENET.size
    look = replace(IMAGENET, size=size)
    return Start("random", TeacherCard("random", "", "random", arch, 0, "", "", "", look))
