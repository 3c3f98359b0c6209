"""Where a run stands, on disk: written whole and checked, so that a killed run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.system.tensors import read_tensors, write_tensors

EVERY_SECONDS = 10.0
"""How often the state is written, at most."""

BURDEN = 0.01
"""Share of a run's time that goes into writing its state, at most: large students write seldom."""


@dataclass
class Checkpoint:
    """The state of one run, in memory and on disk.

    Attributes:
        path: the file; None keeps nothing.
        run: what identifies the run: a file of another run is not read.
        student: being taught.
        average: its averaged weights, by the names of its state.
        optimizer: with its moments.
        history: of the losses so far.
        warning: why the last state could not be written; the run itself goes on.
    """

    path: Path | None
    run: str
    student: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)
    warning: str = ""
    _began: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)
    _cost: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the run has taken, in this process and those that were killed."""
        return time.monotonic() - self._began

    def restore(self) -> int:
        """Put the saved state back; how many updates it had, 0 if there is none."""
        try:
            if self.path is None:
                return 0
            arrays, metadata = read_tensors(self.path)
        except (OSError, ValueError):
            return 0
        if metadata.get("run") != self.run:
            return 0
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.student.load_state_dict(_strip("student.", tensors))
        for name, value in self.average.items():
            value.copy_(tensors[f"average.{name}"])
        taught = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _strip("optimizer.", tensors).items():
            index, entry = name.split(".")
            own = taught[int(index)]
            # the fused optimizer walks through memory, so moments lie as their weights do
            moment = torch.empty_like(own).copy_(value) if value.shape == own.shape else value
            state.setdefault(int(index), {})[entry] = moment
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.history[:] = json.loads(metadata["history"])
        self._began -= float(metadata["seconds"])
        return int(metadata["updates"])

    def keep(self, updates: int, *, now: bool = False) -> None:
        """Write the state after so many updates, at once or if it is time to."""
        since = time.monotonic() - self._saved
        if self.path is None or not (now or since >= max(EVERY_SECONDS, self._cost / BURDEN)):
            return
        began = time.monotonic()
        tensors = {f"student.{name}": value for name, value in self.student.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
        arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
        metadata = {
            "run": self.run,
            "updates": str(updates),
            "seconds": str(self.seconds),
            "history": json.dumps(self.history),
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(self.path, arrays, metadata)
        except OSError as error:
            self.warning = f"The state of the run could not be kept in {self.path}: {error}"
        self._saved = time.monotonic()
        self._cost = self._saved - began

    @contextmanager
    def kept(self, updates: int) -> Iterator[None]:
        """Whatever is raised in here stops the run, and its state is written first."""
        try:
            yield
        except BaseException:
            self.keep(updates, now=True)
            raise

    def finish(self, updates: int) -> Path | None:
        """Keep the last state of a run too long to be repeated, until its student is saved.

        Returns:
            The file to `delete_checkpoint` then, if there can be one.
        """
        self.keep(updates, now=self.seconds >= EVERY_SECONDS)
        return self.path


def delete_checkpoint(state: Path | None) -> None:
    """Delete the state of a run: its student is safe, or worth nothing."""
    if state is not None:
        with suppress(OSError):
            state.unlink(missing_ok=True)


def _strip(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
