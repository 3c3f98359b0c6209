"""Runtime: where and how work runs; one value that travels through every pipeline."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo.system.arguments import convert_numbers
from zoo.system.distributed import SINGLE, Processes, join
from zoo.system.files import cache_folder

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""

ProgressBars = Callable[[str], Progress]
"""Called as `bars(what)`: the progress callback of one piece of work."""


def no_progress(what: str) -> Progress:
    """A progress callback that does nothing."""
    del what
    return lambda *_: None


def ignore(message: str) -> None:
    """A `warn` callback that does nothing."""
    del message


@dataclass(frozen=True)
class Runtime:
    """Where and how work runs.

    Attributes:
        device: `auto` (CUDA, then MPS, then the CPU), or a device of torch.
        seed: random seed of samples and resamples of a ranking; training has `Recipe.seed`.
        cache: folder of features, scores, checkpoints and indexes.
        progress: makes a progress callback for each piece of work; the library prints nothing.
        warn: called with a message when something unexpected does not stop the work.
        processes: the processes of torchrun that share the work.

    Example:
        >>> from zoo import Runtime
        >>> runtime = Runtime(device="cpu", seed=1)
    """

    device: str = "auto"
    seed: int = 0
    cache: Path = field(default_factory=cache_folder)
    progress: ProgressBars = no_progress
    warn: Callable[[str], None] = ignore
    processes: Processes = SINGLE

    def __post_init__(self) -> None:
        convert_numbers(self)

    @contextmanager
    def join(self) -> Iterator[Runtime]:
        """The runtime with the processes that torchrun started, if it did."""
        if self.processes.count > 1:
            yield self
            return
        with join() as processes:
            yield replace(self, processes=processes)

    def collect(self, messages: list[str]) -> Runtime:
        """The runtime whose warnings are also appended to a list."""

        def warn(message: str) -> None:
            messages.append(message)
            self.warn(message)

        return replace(self, warn=warn)


def keep_freed_memory() -> bool:
    """Let malloc keep large freed blocks: fewer page faults, faster training.

    It changes the whole process (glibc only, elsewhere it does nothing): call it before the first
    large allocation, as the `zoo` command does.

    Returns:
        Whether malloc accepted the settings.

    Example:
        >>> keep_freed_memory()
        True
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    settings = ((mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1), (top_pad, 1 << 28))
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    accepted = [mallopt(setting, value) == 1 for setting, value in settings]
    return all(accepted)
