"""Checkpoints: the state of a run on disk, written atomically, so that a killed run resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo.system.distributed import SINGLE, Processes
from zoo.system.json_files import integer, listing, mapping, number
from zoo.system.tensors import read_tensors, write_tensors

EVERY_SECONDS = 10.0
"""Minimum time between two checkpoints."""

MAX_OVERHEAD = 0.01
"""Maximum fraction of a run's time spent on checkpoints: large students write them rarely."""

_HISTORY = listing(mapping(number()))


@dataclass(frozen=True)
class _State:
    """What a file holds, see `Checkpoint.save`."""

    updates: int
    seconds: float
    history: list[dict[str, float]]
    tensors: dict[str, Tensor]


@dataclass
class Checkpoint:
    """The state of one run, in memory and on disk: the student, its average, its optimizer, losses.

    Without a path nothing is written. `run` is the fingerprint of the run: a file of another one is
    ignored. `warning` says why the last checkpoint could not be written; the run itself goes on.
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
        """Wall time of the run so far, killed processes included."""
        return time.monotonic() - self._began

    def load(self, most: int, processes: Processes = SINGLE) -> int:
        """Load the saved state of at most so many updates, the last that any process has.

        Returns:
            The number of its updates; 0 if there is none, or one that does not fit the run.
        """
        own = self._read(most)
        saved = processes.gather(own.updates if own else 0)
        state = processes.share(lambda: own, saved.index(max(saved)))
        if state is None:
            return 0
        self.student.load_state_dict(_strip("student.", state.tensors))
        for name, value in self.average.items():
            value.copy_(state.tensors[f"average.{name}"])
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _strip("optimizer.", state.tensors).items():
            index, entry = name.split(".")
            own_weight = weights[int(index)]
            # the fused optimizer requires moments in the memory format of their weights
            fits = value.shape == own_weight.shape
            moment = torch.empty_like(own_weight).copy_(value) if fits else value
            moments.setdefault(int(index), {})[entry] = moment
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.history[:] = state.history
        self._began -= state.seconds
        return state.updates

    def _read(self, most: int) -> _State | None:
        """The state in the file; None if there is none, or one that does not fit the run."""
        try:
            if self.path is None:
                return None
            arrays, metadata = read_tensors(self.path, {"run": self.run})
            history = _HISTORY(json.loads(metadata["history"]), "history")
            history = [{**entry, "update": int(entry["update"])} for entry in history]
            updates = integer(1, most)(json.loads(metadata["updates"]), "updates")
            seconds = number(0)(json.loads(metadata["seconds"]), "seconds")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            self._check(tensors)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return _State(updates, seconds, history, tensors)

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise a ValueError unless these are the tensors that `save` writes, in shape and type."""
        expected = {f"student.{name}": value for name, value in self.student.state_dict().items()}
        expected |= {f"average.{name}": value for name, value in self.average.items()}
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, weight in enumerate(weights):
            names = [f"optimizer.{index}.{name}" for name in ("exp_avg", "exp_avg_sq", "step")]
            if tensors.keys() & set(names):  # weights without a gradient have no moments
                expected |= dict(zip(names, (weight, weight, torch.zeros(())), strict=True))
        if expected.keys() != tensors.keys():
            raise ValueError("its tensors are not those of the run")
        for name, value in expected.items():
            if (tensors[name].shape, tensors[name].dtype) != (value.shape, value.dtype):
                raise ValueError(f"{name} has another shape or type")

    def save(self, updates: int, *, now: bool = False) -> None:
        """Write the state after so many updates, now or if enough time has passed."""
        since = time.monotonic() - self._saved
        if self.path is None or not (now or since >= max(EVERY_SECONDS, self._cost / MAX_OVERHEAD)):
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
            self.warning = f"The checkpoint {self.path} could not be written: {error}"
        self._saved = time.monotonic()
        self._cost = self._saved - began

    @contextmanager
    def save_on_error(self, updates: int) -> Iterator[None]:
        """Write the state before any exception raised in here ends the run."""
        try:
            yield
        except BaseException:
            self.save(updates, now=True)
            raise

    def finish(self, updates: int) -> Path | None:
        """Write the last state of a run of over `EVERY_SECONDS`, until its student is saved.

        The file is for `delete_checkpoint`; None if there cannot be one.
        """
        self.save(updates, now=self.seconds >= EVERY_SECONDS)
        return self.path


def delete_checkpoint(path: Path | None) -> None:
    """Delete the checkpoint of a run whose student is saved or has diverged."""
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _strip(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
