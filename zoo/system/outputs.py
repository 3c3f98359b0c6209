"""Files that a command writes: what may be replaced, and one clear error when writing fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError


def check_replaced(path: Path, mark: bytes, kind: str, option: str = "--save") -> None:
    """Refuse to replace a file, named by this option, that source-zoo did not write.

    Args:
        path: of the file.
        mark: bytes that every file of this kind contains.
        kind: what these files are called.
        option: that names the file.

    Raises:
        ZooError: it is something else.
    """
    if path.is_file() and mark not in path.read_bytes():
        raise ZooError(
            f"{path} is not a {kind} of source-zoo: move it away or choose another {option}."
        )


@contextmanager
def saving(what: str, path: Path, option: str = "--save") -> Iterator[None]:
    """Turn an error of writing a file, named by this option, into one line.

    Raises:
        ZooError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ZooError(
            f"The {what} could not be saved as {path}: {error.strerror or error}. "
            f"Choose another {option}."
        ) from error
