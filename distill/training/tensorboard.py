"""Writes the losses of a run for TensorBoard; needs the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from zoo.errors import StudentError

Record = Callable[[Mapping[str, float]], None]
"""Called with every new entry of a training history."""

FLUSH_SECONDS = 10


def check_extra() -> None:
    """Check that TensorBoard is installed.

    Raises:
        StudentError: it is not.
    """
    try:
        import_module("tensorboard")
    except ImportError as error:
        raise StudentError(
            "--tensorboard needs TensorBoard: pip install 'source-zoo[tensorboard]'."
        ) from error


@contextmanager
def event_file(folder: Path | None) -> Iterator[Record | None]:
    """Open an event file in a folder and yield its writer; None without a folder.

    Raises:
        StudentError: it cannot be written.
    """
    if folder is None:
        yield None
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    try:
        writer = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
    except OSError as error:
        reason = error.strerror or error
        raise StudentError(f"{folder}: {reason}. Choose another --tensorboard.") from error
    with writer:

        def record(entry: Mapping[str, float]) -> None:
            for name in entry.keys() - {"update"}:
                tag = name if name == "rate" else f"loss/{name}"
                writer.add_scalar(tag, entry[name], int(entry["update"]))

        yield record
