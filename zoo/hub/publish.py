"""Publish a network on the Hub: weights, `config.json`, and a model card with a license."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, get_token

from zoo.errors import HubError, TeacherBroken
from zoo.hub.errors import one_line
from zoo.system import json_files as js
from zoo.system.files import write_atomic
from zoo.teachers.card import CARD_FILE, TeacherCard
from zoo.teachers.config import CONFIG_FILE, check_inside, find_weights, read_layout
from zoo.teachers.model_card import LOCAL, escape_markdown, set_license, teacher_model_card

README = "README.md"


def publish(folder: Path, repo: str, license: str | None, *, private: bool = False) -> str:
    """Upload what `stage` copies as one commit, to a new repository if there is none; its address.

    Raises:
        TeacherBroken: see `stage`.
        HubError: it could not be published.
    """
    with tempfile.TemporaryDirectory() as staging:
        stage(folder, Path(staging), license, repo)
        with one_line(repo):
            if not get_token():
                raise HubError(f"{repo}: publishing needs a write token of the Hub: set HF_TOKEN.")
            api, message = HfApi(), "From source-zoo"
            address = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=staging, commit_message=message)
    return str(address)


def stage(folder: Path, staging: Path, license: str | None, repo: str = "") -> None:
    """Copy the publishable files of a student or teacher into an empty folder.

    Reports and rankings are left out: they hold paths of this machine. The license is an identifier
    of the Hub, such as `cc-by-4.0`, or the folder's own; the model card loads them from `repo`.

    Raises:
        TeacherBroken: the folder is not in timm's layout, states no license, or cannot be copied.
    """
    layout = read_layout(folder)
    weights = find_weights(folder)
    for name in (weights, CONFIG_FILE, README):
        check_inside(folder, name)
    card = TeacherCard.load(folder) if (folder / CARD_FILE).exists() else None
    stated = license or (card.license if card else layout.license)
    # `other` is the default of students
    if not stated or (license is None and stated in ("unknown", "other")):
        raise TeacherBroken(f"{folder} states no license: name one with --license.")
    advice = "Make or copy it again."
    config = js.read_json(
        folder / CONFIG_FILE, js.mapping(js.any_json), error=TeacherBroken, advice=advice
    )
    config["pretrained_cfg"]["license"] = stated
    own = folder / README
    try:
        shutil.copyfile(folder / weights, staging / weights)
        js.write_json(staging / CONFIG_FILE, config)
        if own.is_file():
            content = js.read_regular_file(own, js.LIMIT).replace(b"\r\n", b"\n")
            text = content.decode("utf-8", "replace")
        elif card:
            text = teacher_model_card(card)
        else:
            classes = escape_markdown(", ".join(layout.labels)) or layout.classes
            text = f"# {layout.network}\n\nClasses: {classes}.\n"
        if repo:
            text = text.replace(LOCAL, f"hf-hub:{repo}")
        write_atomic(staging / README, set_license(text, stated))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise TeacherBroken(f"{folder} cannot be copied: {why}.") from error
