"""Where a run stands, on disk: safetensors, written whole, so that a killed run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

EVERY_SECONDS = 60.0


@dataclass
class Checkpoint:
    """The state of one run, in memory and on disk.

    Attributes:
        path: the file; None keeps nothing.
        run: what identifies the run: a file of another run is not read.
        student: being taught.
        average: its averaged weights, by the names of its state.
        optimizer: with its moments.
        mishap: why the last state could not be written; the run itself goes on.
    """

    path: Path | None
    run: str
    student: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    mishap: str = ""
    _saved: float = field(default_factory=time.monotonic)

    def restore(self) -> int:
        """Put the saved state back; how many updates it had, 0 if there is none."""
        try:
            if self.path is None:
                return 0
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("run") != self.run:
                    return 0
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return 0
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
        return int(metadata["updates"])

    def keep(self, updates: int, *, now: bool = False) -> None:
        """Write the state after so many updates, if the last one is a minute old or at once."""
        due = now or time.monotonic() - self._saved >= EVERY_SECONDS
        if self.path is None or not due:
            return
        self._saved = time.monotonic()
        tensors = {f"student.{name}": value for name, value in self.student.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        part = self.path.with_name(self.path.name + ".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(whole, part, metadata={"run": self.run, "updates": str(updates)})
            part.replace(self.path)
        except (OSError, SafetensorError) as error:
            _unlink(part)
            self.mishap = f"The state of the run could not be kept in {self.path}: {error}"

    @contextmanager
    def kept(self, updates: int) -> Iterator[None]:
        """Whatever is raised in here stops the run, and its state is written first."""
        try:
            yield
        except BaseException:
            self.keep(updates, now=True)
            raise

    def remove(self) -> None:
        """Delete the file: the run is over."""
        if self.path is not None:
            _unlink(self.path)


def _unlink(path: Path) -> None:
    """Delete a file if it can be: the run never fails for the sake of its state."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _strip(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
