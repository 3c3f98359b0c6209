"""What is published of a network: weights, `config.json` and a model card that states a license."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from zoo.errors import TeacherBroken
from zoo.teachers.card import CARD_FILE, TeacherCard
from zoo.teachers.config import CONFIG_FILE, find_weights, read_layout
from zoo.teachers.model_card import set_license, teacher_model_card

README = "README.md"


def stage(folder: Path, staging: Path, license: str | None) -> None:
    """Copy what may be published of a student's or teacher's folder.

    Reports and rankings stay behind: they name folders of this machine.

    Args:
        folder: in timm's Hub layout.
        staging: an empty folder.
        license: an identifier of the Hub, such as `cc-by-4.0`; None for the folder's own.

    Raises:
        TeacherBroken: the folder is not in that layout, states no license, or cannot be copied.
    """
    try:
        _stage(folder, staging, license)
    except OSError as error:
        raise TeacherBroken(f"{folder} cannot be copied: {error.strerror or error}.") from error


def _stage(folder: Path, staging: Path, license: str | None) -> None:
    layout = read_layout(folder)
    weights = find_weights(folder)
    card = TeacherCard.load(folder) if (folder / CARD_FILE).is_file() else None
    stated = license or (card.license if card else layout.license)
    # students say `other`: nobody chose it
    if not stated or (license is None and stated in ("unknown", "other")):
        raise TeacherBroken(f"{folder} states no license: say which with --license.")
    shutil.copyfile(folder / weights, staging / weights)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config["pretrained_cfg"]["license"] = stated
    _write(staging / CONFIG_FILE, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    own = folder / README
    text = (
        own.read_text(encoding="utf-8", errors="replace")
        if own.is_file()
        else card and teacher_model_card(card)
    )
    if not text:
        text = f"# {layout.network}\n\nClasses: {', '.join(layout.labels) or layout.classes}.\n"
    _write(staging / README, set_license(text, stated))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
