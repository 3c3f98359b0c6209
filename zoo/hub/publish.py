"""Prepare a network for the Hub: weights, `config.json`, and a model card with a license."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from zoo.errors import TeacherBroken
from zoo.system.files import write_atomic
from zoo.system.json_files import any_json, mapping, read_json, write_json
from zoo.teachers.card import CARD_FILE, TeacherCard
from zoo.teachers.config import CONFIG_FILE, Layout, find_weights, read_layout

README = "README.md"


def stage(folder: Path, staging: Path, license: str | None) -> None:
    """Copy the publishable files of a student or teacher.

    Reports and rankings are left out: they hold paths of this machine.

    Args:
        folder: in timm's Hub layout.
        staging: an empty folder.
        license: an identifier of the Hub, such as `cc-by-4.0`; None for the folder's own.

    Raises:
        TeacherBroken: the folder is not in that layout, states no license, or cannot be copied.
    """
    layout = read_layout(folder)
    weights = find_weights(folder)
    card = TeacherCard.load(folder) if (folder / CARD_FILE).exists() else None
    stated = license or (card.license if card else layout.license)
    # `other` is the default of students
    if not stated or (license is None and stated in ("unknown", "other")):
        raise TeacherBroken(f"{folder} states no license: name one with --license.")
    advice = "Make or copy it again."
    config = read_json(folder / CONFIG_FILE, mapping(any_json), error=TeacherBroken, advice=advice)
    config["pretrained_cfg"]["license"] = stated
    try:
        shutil.copyfile(folder / weights, staging / weights)
        write_json(staging / CONFIG_FILE, config)
        text = _model_card(folder, layout, card)
        write_atomic(staging / README, _state_license(text, stated))
    except OSError as error:
        raise TeacherBroken(f"{folder} cannot be copied: {error.strerror or error}.") from error


def _state_license(text: str, license: str) -> str:
    """The model card with this license in its front matter."""
    head = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    kept = head[1] if head else "library_name: timm\npipeline_tag: image-classification\n"
    # with the lines of a list or folded text below it
    kept = re.sub(r"^license:.*\n(?:[ \t]+\S.*\n|- .*\n)*", "", kept, flags=re.MULTILINE)
    return f"---\nlicense: {license}\n{kept}---\n{text[head.end() if head else 0 :]}"


def _model_card(folder: Path, layout: Layout, card: TeacherCard | None) -> str:
    """The folder's own model card, else one from its teacher card, else from `config.json`."""
    if (folder / README).is_file():
        return (folder / README).read_text(encoding="utf-8", errors="replace")
    if card is None:
        return f"# {layout.network}\n\nClasses: {', '.join(layout.labels) or layout.classes}.\n"
    accuracy = "unknown"
    if card.accuracy is not None:
        accuracy = f"{card.accuracy:.1%} of {card.accuracy_images} held-out images"
    return (
        f"\n# {card.name}\n\nA teacher of source-zoo: {card.domain}.\n\n"
        f"- network: `{card.network}`, {card.params / 1e6:.1f} M parameters\n"
        f"- classes: {', '.join(card.labels) or 'none: used for its features'}\n"
        f"- trained on: {card.data} ({card.data_license})\n- accuracy: {accuracy}\n"
        f"- made by: `{card.recipe or 'unknown'}`\n\n"
        "```python\nimport timm\n"
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n```\n'
    )
