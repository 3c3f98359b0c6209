"""The door to the Hugging Face Hub: fetch a teacher at a pinned commit, publish a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token, hf_hub_download

from zoo.errors import HubError, HubUnreachable, TeacherBroken, ZooError
from zoo.hub.download import Progress, download, link
from zoo.hub.errors import one_line, retry
from zoo.teachers.card import CARD_FILE, TeacherCard, sha256_of
from zoo.teachers.catalogue import pulled_folder
from zoo.teachers.config import CONFIG_FILE, WEIGHTS_FILES, read_layout


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


def find_files(card: TeacherCard, *, ask: bool = True) -> Files:
    """Ask the Hub which files a teacher needs, and at which commit; nothing is fetched.

    Args:
        card: a teacher of the Hub.
        ask: False where the Hub did not answer for another teacher: it is not waited for again.

    Raises:
        HubUnreachable: the Hub does not answer.
        HubError: there is no network, no such repository or commit, or no weights that load.
    """
    if not ask:
        raise HubUnreachable(f"{card.repo}: the Hub did not answer a moment ago: pull again later.")
    with one_line(card.repo, _lost_pin(card)):
        info = retry(
            lambda: HfApi().model_info(
                card.repo,
                revision=card.revision or None,
                files_metadata=True,
                timeout=constants.HF_HUB_ETAG_TIMEOUT,  # or it would wait for ever
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
        license=_license(info.card_data),
    )


def _license(card_data: object) -> str:
    """What the front matter of a README says; empty where it says nothing."""
    stated = getattr(card_data, "license", None) or ""
    if stated == "other":
        stated = getattr(card_data, "license_name", None) or stated
    return stated if isinstance(stated, str) else ", ".join(map(str, stated))


def _lost_pin(card: TeacherCard) -> str:
    """What to say and do when the Hub has the repository, but not the commit."""
    text = f"the commit {card.revision[:12]} that it is pinned to is no longer there"
    folder = pulled_folder(card)
    if (folder / CARD_FILE).exists():
        return f"{text}: remove {folder} and pull again to take the present one"
    return text


def fetch(
    card: TeacherCard, *, check: bool = True, ask: bool = True, progress: Progress | None = None
) -> TeacherCard:
    """Bring a teacher's files to this machine and pin their commit.

    A download that was cut goes on where it ended. Files that are here already are not fetched
    again, without a network they are taken from the Hub's own cache.

    Args:
        card: a teacher of the Hub; another one is returned as it is.
        check: whether files that are here are held against their hash, and fetched anew if
            they are damaged.
        ask: whether the Hub is asked; else only its cache is looked at.
        progress: of the weights.

    Returns:
        The card with what the files say, and its folder.

    Raises:
        HubUnreachable: the Hub does not answer, or is not to be asked, and the files are not here.
        HubError, TeacherBroken: it cannot be had, or is not what it should be.
    """
    if not card.repo or (card.folder is not None and not (check and _is_damaged(card))):
        return card
    files = _find_files_or_cached(card, ask=ask)
    paths = _download(card, files, progress)
    found = sha256_of(paths[-1])
    if wrong := [known for known in (card.sha256, files.sha256) if known not in ("", found)]:
        raise HubError(
            f"{files.repo}: {files.names[-1]} came with the hash {found[:12]}, not "
            f"{wrong[0][:12]}: the file is damaged or was replaced; not used."
        )
    return _keep(card, files, paths, found)


def _is_damaged(card: TeacherCard) -> bool:
    """Whether the files of a pulled teacher are not those of its card."""
    folder = card.folder or Path()
    try:
        if sha256_of(folder / card.weights) != card.sha256:
            return True
        return card.loader == "hf-hub" and _complete(card) != card
    except (OSError, TeacherBroken):
        return True


def fetch_all(
    cards: Sequence[TeacherCard],
    *,
    check: bool = True,
    progress: Callable[[str], Progress] | None = None,
) -> tuple[list[TeacherCard], dict[str, str]]:
    """Fetch many teachers; one that cannot be had is a reason by its name, the others go on."""
    fetched: list[TeacherCard] = []
    failures: dict[str, str] = {}
    ask = True
    for card in cards:
        try:
            bar = progress(card.name) if progress and card.repo and not card.folder else None
            fetched.append(fetch(card, check=check, ask=ask, progress=bar))
        except ZooError as error:
            ask = ask and not isinstance(error, HubUnreachable)
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
        if not get_token():
            raise HubError(
                f"{repo}: publishing needs a token of the Hub that may write: set HF_TOKEN."
            )
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="From source-zoo")
    return str(address)


def _find_files_or_cached(card: TeacherCard, *, ask: bool) -> Files:
    """What the Hub says of a teacher; without a network, what its cache holds."""
    try:
        return find_files(card, ask=ask)
    except HubError:
        for weights in WEIGHTS_FILES if card.loader == "hf-hub" else (card.weights,):
            try:
                path = Path(
                    hf_hub_download(
                        card.repo, weights, revision=card.revision or None, local_files_only=True
                    )
                )
            except (OSError, ValueError):  # what is there cannot be read, or nothing is
                continue
            names = (CONFIG_FILE, weights) if card.loader == "hf-hub" else (weights,)
            # the Hub's cache names large files by their hash
            named = path.resolve().name
            sha256 = named if re.fullmatch("[0-9a-f]{64}", named) else ""
            return Files(card.repo, path.parent.name, names, (0,) * len(names), sha256, "")
        raise


def _download(card: TeacherCard, files: Files, progress: Progress | None) -> list[Path]:
    paths: list[Path] = []
    with one_line(card.repo, _lost_pin(card)):
        for name in files.names[:-1]:
            paths.append(download(files.repo, name, files.revision))
            if name == CONFIG_FILE:
                read_layout(paths[-1].parent)  # before weights come that nothing could load
        weights, sha256 = files.names[-1], files.sha256
        paths.append(
            download(files.repo, weights, files.revision, sha256=sha256, progress=progress)
        )
    return paths


def _keep(card: TeacherCard, files: Files, paths: Sequence[Path], sha256: str) -> TeacherCard:
    """Link the files into one folder, beside the card that pins their commit."""
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
    """The card with what `config.json` says of the network."""
    layout = read_layout(card.folder or Path())
    features_only = bool(card.evidence) and card.classes == 0
    shape = layout.preprocessing
    license = card.license
    if license == "unknown" and not card.evidence:
        license = layout.license or license
    if card.preprocessing:
        # an overridden size, an order of channels that no config.json can state
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
