"""The door to the Hugging Face Hub: fetch a teacher at a pinned commit, publish a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from .card import TeacherCard, sha256_of
from .catalogue import pulled_folder
from .download import Progress, download
from .errors import HubError, ZooError
from .hub_errors import one_line, retry
from .layout import CONFIG_FILE, WEIGHTS_FILES, read_layout


@dataclass(frozen=True)
class Files:
    """The files of a teacher on the Hub.

    Attributes:
        repo: `OWNER/NAME`.
        revision: commit, 40 hex digits.
        names: of the files that are needed, the weights last.
        sizes: bytes of each; 0 when unknown.
        sha256: of the weights as the Hub states it; empty when it does not.
        license: of the repository; empty when it states none.
    """

    repo: str
    revision: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    sha256: str
    license: str

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(self.sizes)


def find_files(card: TeacherCard) -> Files:
    """Ask the Hub which files a teacher needs, and at which commit; nothing is fetched.

    Raises:
        HubError: there is no network, no such repository or commit, or no weights that load.
    """
    with one_line(card.repo):
        info = retry(
            lambda: HfApi().model_info(
                card.repo, revision=card.revision or None, files_metadata=True
            )
        )
    entries = {entry.rfilename: entry for entry in info.siblings or []}
    wanted = WEIGHTS_FILES if card.loader == "hf-hub" else (card.weights,)
    weights = next((name for name in wanted if name in entries), None)
    if weights is None or (card.loader == "hf-hub" and CONFIG_FILE not in entries):
        lacking = CONFIG_FILE if weights else " or ".join(wanted)
        raise HubError(f"{card.repo} holds no {lacking}: it is not in a layout that timm loads.")
    names = (CONFIG_FILE, weights) if card.loader == "hf-hub" else (weights,)
    lfs = entries[weights].lfs
    return Files(
        repo=info.id or card.repo,
        revision=str(info.sha),
        names=names,
        sizes=tuple(entries[name].size or 0 for name in names),
        sha256=lfs.sha256 if lfs else "",
        license=str(getattr(info.card_data, "license", None) or ""),
    )


def fetch(
    card: TeacherCard, *, check: bool = True, progress: Progress | None = None
) -> TeacherCard:
    """Bring a teacher's files to this machine and pin their commit.

    A download that was cut goes on where it ended. Files that are here already are not fetched
    again, without a network they are taken from the Hub's own cache.

    Args:
        card: a teacher of the Hub; another one is returned as it is.
        check: whether files that are here are held against their hash.
        progress: of the weights.

    Returns:
        The card with what the files say, and its folder.

    Raises:
        HubError, TeacherBroken: it cannot be had, or is not what it should be.
    """
    if not card.repo:
        return card
    broken = False
    if card.folder is not None:
        broken = check and sha256_of(card.folder / card.weights) != card.sha256
        if not broken:
            return card
    files = _find_files_or_cached(card)
    paths = _download(card, files, progress, force=broken)
    found = sha256_of(paths[-1])
    if files.sha256 and found != files.sha256:
        # what lies in the Hub's cache is not what the Hub has: once more, from the start
        paths = _download(card, files, progress, force=True)
        found = sha256_of(paths[-1])
    if found != (expected := files.sha256 or found) or (card.sha256 and found != card.sha256):
        raise HubError(
            f"{files.repo}: {files.names[-1]} came with the hash {found[:12]}, not "
            f"{(card.sha256 or expected)[:12]}: the file is damaged or was replaced; not used."
        )
    return _keep(card, files, paths, found)


def fetch_all(
    cards: Sequence[TeacherCard],
    *,
    check: bool = True,
    progress: Callable[[str], Progress] | None = None,
) -> tuple[list[TeacherCard], dict[str, str]]:
    """Fetch many teachers; one that cannot be had is a reason by its name, the others go on."""
    fetched: list[TeacherCard] = []
    failures: dict[str, str] = {}
    for card in cards:
        try:
            bar = progress(card.name) if progress and card.repo else None
            fetched.append(fetch(card, check=check, progress=bar))
        except ZooError as error:
            failures[card.name] = str(error).removeprefix(f"{card.repo}: ")
    return fetched, failures


def publish(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder to the Hub as one commit; makes the repository if there is none.

    Returns:
        The address of the repository.

    Raises:
        HubError: it could not be published.
    """
    with one_line(repo):
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="From source-zoo")
    return str(address)


def _find_files_or_cached(card: TeacherCard) -> Files:
    """What the Hub says of a teacher; without a network, what its cache holds."""
    try:
        return find_files(card)
    except HubError:
        for weights in WEIGHTS_FILES if card.loader == "hf-hub" else (card.weights,):
            try:
                path = Path(
                    hf_hub_download(
                        card.repo, weights, revision=card.revision or None, local_files_only=True
                    )
                )
            except (LocalEntryNotFoundError, ValueError):
                continue
            names = (CONFIG_FILE, weights) if card.loader == "hf-hub" else (weights,)
            return Files(card.repo, path.parent.name, names, (0,) * len(names), "", "")
        raise


def _download(
    card: TeacherCard, files: Files, progress: Progress | None, *, force: bool
) -> list[Path]:
    weights = files.names[-1]
    with one_line(card.repo):
        return [
            download(
                files.repo,
                name,
                files.revision,
                progress=progress if name == weights else None,
                force=force,
            )
            for name in files.names
        ]


def _keep(card: TeacherCard, files: Files, paths: Sequence[Path], sha256: str) -> TeacherCard:
    """Link the files into one folder, beside the card that pins their commit."""
    folder = pulled_folder(card)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            _link(path, folder / path.name)
    except OSError as error:
        raise HubError(f"{folder} cannot be written: {error.strerror or error}.") from error
    pinned = replace(
        card,
        revision=files.revision,
        weights=files.names[-1],
        bytes=paths[-1].stat().st_size,
        sha256=sha256,
        license=card.license if card.evidence else files.license or "unknown",
        folder=folder,
    )
    if card.loader == "hf-hub":
        pinned = _complete(pinned)
    pinned.save(folder)
    return pinned


def _complete(card: TeacherCard) -> TeacherCard:
    """The card with what `config.json` says of the network."""
    layout = read_layout(card.folder or Path())
    features_only = bool(card.evidence) and card.classes == 0
    shape = layout.preprocessing
    if card.preprocessing:
        # an overridden size, an order of channels that no config.json can state
        size = card.input.size if "img_size" in card.model_args else shape.size
        shape = replace(shape, size=size, channels=card.input.channels)
    return replace(
        card,
        network=layout.network,
        classes=0 if features_only else layout.classes,
        labels=() if features_only else layout.labels,
        preprocessing=shape,
    )


def _link(path: Path, link: Path) -> None:
    """A symbolic link to a file, or a copy where the system has none."""
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(path)
    except OSError:
        shutil.copyfile(path, link)
