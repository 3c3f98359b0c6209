"""Files and folders written atomically: complete or absent, also after a kill or a full disk."""

from __future__ import annotations

import errno
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from zoo.errors import ZooError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file: a reader finds the old content or the new one, also after an OSError."""
    part = _part(path)
    try:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def check_regular(path: Path) -> None:
    """Raise an OSError unless a file is regular: a pipe would block, a device never end."""
    if not path.is_file() and path.exists():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


@contextmanager
def atomic_folder(folder: Path, first: str = "") -> Iterator[Path]:
    """A temporary folder whose files move into `folder` at the end; none of them on an error.

    It lies inside `folder`: until then `is_unused` is true of a new one. The file named `first`
    moves first: it tells what the folder is, should the process be killed then.

    Raises:
        OSError: it cannot be written; the files in `folder` are still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = _part(folder / "unfinished")
    part.mkdir()
    try:
        yield part
        for path in sorted(part.iterdir(), key=lambda path: (path.name != first, path.name)):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def atomic_new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to `folder` at the end, or removed on an error.

    Its name begins with a dot.

    Raises:
        OSError: it cannot be written, or `folder` is there and not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = _part(folder.with_name(f".{folder.name}"))
    part.mkdir()
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_unused(folder: Path) -> bool:
    """Whether a folder holds nothing but unfinished files."""
    return all(path.suffix == ".part" for path in folder.iterdir())


def _part(path: Path) -> Path:
    """Temporary name of a file or folder, unique to this process; removes those of dead ones."""
    begin = f"{path.name}.{platform.node()}."
    for part in path.parent.glob(f"{escape(begin)}*.part"):
        if _is_left(part.name.removeprefix(begin).removesuffix(".part")):
            remove = shutil.rmtree if part.is_dir() else os.unlink
            with suppress(OSError):
                remove(part)
    return path.with_name(f"{begin}{os.getpid()}.part")


def _is_left(writer: str) -> bool:
    """Whether the process of this number is dead, or is this one, which only begins to write."""
    if not writer.isdecimal() or os.name == "nt":  # on Windows os.kill would end the process
        return False
    try:
        os.kill(int(writer), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return int(writer) == os.getpid()


def cache_folder() -> Path:
    """`SOURCE_ZOO_CACHE`, else `source-zoo` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    if own := os.environ.get("SOURCE_ZOO_CACHE"):
        return expand_user(own)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expand_user(base) / "source-zoo"


def expand_user(path: str) -> Path:
    """A path with the home folder for `~`; as it is where that user has none, as in a shell."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_replaced(path: Path, mark: bytes, kind: str, option: str = "--save") -> None:
    """Refuse to replace a file, named by this option, that source-zoo did not write.

    Every file of the kind contains the mark.

    Raises:
        ZooError: it is something else.
    """
    if path.is_file() and mark not in path.read_bytes():
        raise ZooError(
            f"{path} is not a {kind} of source-zoo: move it away or choose another {option}."
        )


@contextmanager
def saving(what: str, path: Path, option: str = "--save") -> Iterator[None]:
    """Turn an OSError of writing a file, named by this option, into a ZooError of one line."""
    try:
        yield
    except OSError as error:
        raise ZooError(
            f"The {what} could not be saved as {path}: {error.strerror or error}. "
            f"Choose another {option}."
        ) from error
