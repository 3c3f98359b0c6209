"""The Hugging Face Hub: find the files of a teacher and download them at a pinned commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import constants, hf_hub_download

from zoo.errors import HubError, HubUnreachable, TeacherBroken
from zoo.hub.download import download, link, request_json
from zoo.hub.errors import one_line
from zoo.hub.retry import retry
from zoo.system import json_files as js
from zoo.system.runtime import Progress
from zoo.teachers.card import CARD_FILE, TeacherCard, absence, sha256_of
from zoo.teachers.catalogue import pulled_folder
from zoo.teachers.config import CONFIG_FILE, WEIGHTS_FILES, read_layout

LICENSE = 200
"""Characters of a license at most."""


@dataclass(frozen=True)
class Files:
    """The files of a teacher at a commit of the Hub, the weights last.

    Sizes are in bytes, 0 when unknown; the SHA-256 of the weights and the license are empty
    where the Hub states none.
    """

    repo: str
    revision: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    sha256: str
    license: str

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.sizes)


def find_files(card: TeacherCard, *, online: bool = True) -> Files:
    """Find the files of a teacher on the Hub and their commit; nothing is downloaded.

    Unless `online`, it raises HubUnreachable at once: no second wait for an unreachable Hub.

    Raises:
        HubUnreachable: there is no connection to the Hub.
        HubError: there is no such repository or commit, or no weights that timm loads.
    """
    if not online:
        raise HubUnreachable(f"{card.repo}: the Hub was just unreachable: pull again later.")
    with one_line(card.repo, _lost_pin(card)):
        commit = f"/revision/{card.revision}" if card.revision else ""
        url = f"{constants.ENDPOINT}/api/models/{card.repo}{commit}?blobs=True"
        info = retry(lambda: request_json(url, _DESCRIPTION))
    entries = {entry["rfilename"]: entry for entry in info["siblings"]}
    wanted = WEIGHTS_FILES if card.loader == "hf-hub" else (card.weights,)
    weights = next((name for name in wanted if name in entries), None)
    if weights is None or (card.loader == "hf-hub" and CONFIG_FILE not in entries):
        lacking = CONFIG_FILE if weights else " or ".join(wanted)
        raise HubError(f"{card.repo} holds no {lacking}: it is not in a layout that timm loads.")
    names = _names(card, weights)
    return Files(
        repo=info["id"],
        revision=info["sha"],
        names=names,
        sizes=tuple(entries[name]["size"] for name in names),
        sha256=entries[weights]["lfs"]["sha256"],
        license=_license(info["cardData"]),
    )


def _names(card: TeacherCard, weights: str) -> tuple[str, ...]:
    return (CONFIG_FILE, weights) if card.loader == "hf-hub" else (weights,)


def _license(entries: Mapping[str, Any]) -> str:
    """The license in the front matter of a README; empty where there is none of a license's length.

    Front matter is free text: an odd one leaves the license unknown.
    """
    stated = entries["license"]
    if stated == "other":
        stated = entries["license_name"] or stated
    names = stated if isinstance(stated, list) else [stated or ""]
    try:
        return js.text(most=LICENSE)(", ".join(map(str, names)), "license")
    except ValueError:
        return ""


_HASH = js.pattern("[0-9a-f]{64}", "a SHA-256")
_FILE = js.record(
    {
        "rfilename": js.text(),
        "size": js.optional(js.integer(), 0),
        "lfs": js.optional(
            js.record({"sha256": js.optional(_HASH, "")}), MappingProxyType({"sha256": ""})
        ),
    }
)
_NO_CARD = MappingProxyType({"license": None, "license_name": None})
_DESCRIPTION = js.record(
    {
        "id": js.pattern(r"\w[\w.-]*/\w[\w.-]*", "OWNER/NAME"),
        "sha": js.pattern("[0-9a-f]{40}", "a commit of 40 hex digits"),
        "siblings": js.optional(js.listing(_FILE), ()),
        "cardData": js.optional(
            js.record(dict.fromkeys(_NO_CARD, js.optional(js.any_json))), _NO_CARD
        ),
    }
)
"""What is read in the Hub's description of a repository."""


def _lost_pin(card: TeacherCard) -> str:
    """The message when the Hub has the repository, but not the commit."""
    if not card.revision:
        return "the commit that the Hub names is not there: run the same command again later"
    folder = pulled_folder(card)
    pulled = (folder / CARD_FILE).exists()
    advice = f": remove {folder} and pull again for the current one" if pulled else ""
    return f"the commit {card.revision[:12]} that it is pinned to is no longer there{advice}"


def fetch(
    card: TeacherCard, *, check: bool = True, online: bool = True, progress: Progress | None = None
) -> TeacherCard:
    """Download a teacher's files and pin their commit; one from elsewhere is returned as it is.

    An interrupted download is resumed. Files on this machine are not downloaded again, unless
    `check` finds that they differ from their hash; without a network, or unless `online`, they are
    taken from the Hub's cache. The card gets its folder and the entries that the files determine.

    Raises:
        HubUnreachable: the files are not here, and there is no connection or none is wanted.
        HubError, TeacherBroken: it cannot be downloaded, or its files are not usable.
    """
    if not card.repo and card.folder is None:
        raise TeacherBroken(absence(card))
    if not card.repo or (card.folder is not None and not (check and _is_damaged(card))):
        return card
    if card.folder not in (None, pulled_folder(card)):
        raise TeacherBroken(
            f"{card.folder} is damaged or differs from its card: remove it and add the teacher "
            "again."
        )
    files = _find_files_or_cached(card, online=online)
    paths = _download(card, files, progress)
    found = sha256_of(paths[-1])
    if wrong := [known for known in (card.sha256, files.sha256) if known not in ("", found)]:
        raise HubError(
            f"{files.repo}: {files.names[-1]} has the hash {found[:12]}, not {wrong[0][:12]}: "
            "the file is damaged or was replaced; not used."
        )
    return _link_files(card, files, paths, found)


def _is_damaged(card: TeacherCard) -> bool:
    """Whether the files of a pulled teacher differ from its card."""
    folder = card.folder or Path()
    try:
        if sha256_of(folder / card.weights) != card.sha256:
            return True
        return card.loader == "hf-hub" and _complete(card) != card
    except (OSError, TeacherBroken):
        return True


def _find_files_or_cached(card: TeacherCard, *, online: bool) -> Files:
    """The files of a teacher on the Hub, or those in its cache if the Hub fails."""
    try:
        return find_files(card, online=online)
    except HubError:
        revision = card.revision or None
        for weights in WEIGHTS_FILES if card.loader == "hf-hub" else (card.weights,):
            try:
                found = hf_hub_download(
                    card.repo, weights, revision=revision, local_files_only=True
                )
            except (OSError, ValueError):  # not there, or not readable
                continue
            path, names = Path(found), _names(card, weights)
            if not re.fullmatch("[0-9a-f]{40}", path.parent.name):
                continue
            # the Hub's cache names large files by their hash
            hashed = path.resolve().name
            sha256 = hashed if re.fullmatch("[0-9a-f]{64}", hashed) else ""
            return Files(card.repo, path.parent.name, names, (0,) * len(names), sha256, "")
        raise


def _download(card: TeacherCard, files: Files, progress: Progress | None) -> list[Path]:
    paths: list[Path] = []
    with one_line(card.repo, _lost_pin(card)):
        for name in files.names[:-1]:
            paths.append(download(files.repo, name, files.revision, most=js.LIMIT))
            if name == CONFIG_FILE:
                read_layout(paths[-1].parent)  # before the download of weights that do not load
        weights = download(
            files.repo, files.names[-1], files.revision, sha256=files.sha256, progress=progress
        )
    return [*paths, weights]


def _link_files(card: TeacherCard, files: Files, paths: Sequence[Path], sha256: str) -> TeacherCard:
    """Link the files into one folder, with a card that pins their commit."""
    folder = pulled_folder(card)
    pinned = replace(
        card,
        revision=files.revision,
        weights=files.names[-1],
        bytes=paths[-1].stat().st_size,
        sha256=sha256,
        license=card.license if card.evidence else files.license or card.license,
        folder=folder,
    )
    try:
        for path in paths:
            link(path.absolute(), folder / path.name)
        if card.loader == "hf-hub":
            pinned = _complete(pinned)
        pinned.save(folder)
    except OSError as error:
        raise HubError(
            f"{folder} cannot be written ({error.strerror or error}): set SOURCE_ZOO_CACHE."
        ) from error
    return pinned


def _complete(card: TeacherCard) -> TeacherCard:
    """The card with the entries that `config.json` determines."""
    layout = read_layout(card.folder or Path())
    features_only = bool(card.evidence) and card.classes == 0
    shape = layout.preprocessing
    license = card.license
    if license == "unknown" and not card.evidence:
        license = layout.license or license
    if card.preprocessing:
        # a card may override the size; config.json has no order of channels
        size = card.input.size if "img_size" in card.model_args else shape.size
        shape = replace(shape, size=size, channels=card.input.channels)
    return replace(
        card,
        license=license,
        network=layout.network,
        classes=0 if features_only else layout.classes,
        labels=() if features_only else layout.labels,
        preprocessing=shape,
    )
