"""Runtime: where and how work runs; one value that travels through every pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zoo.system.distributed import SINGLE, Processes
from zoo.system.files import cache_folder

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""

ProgressBars = Callable[[str], Progress]
"""Called as `bars(what)`: the progress callback of one piece of work."""


def no_progress(what: str) -> Progress:
    """A progress callback that does nothing."""
    del what
    return lambda done, total: None


@dataclass(frozen=True)
class Runtime:
    """Where and how work runs.

    Attributes:
        device: `auto` (CUDA, then MPS, then the CPU), or a device of torch.
        seed: random seed of samples, resamples, views and initial heads.
        cache: folder of features, scores, checkpoints and indexes.
        progress: makes a progress callback for each piece of work; the library prints nothing.
        processes: the processes of torchrun that share the work.

    Example:
        >>> from zoo import Runtime
        >>> runtime = Runtime(device="cpu", seed=1)
    """

    device: str = "auto"
    seed: int = 0
    cache: Path = field(default_factory=cache_folder)
    progress: ProgressBars = no_progress
    processes: Processes = SINGLE
