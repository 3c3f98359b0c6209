"""Where a run stands, on disk: safetensors, written whole, so that a killed run goes on."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def save_checkpoint(
    path: Path,
    *,
    run: str,
    step: int,
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state after `step` updates of the run that `run` identifies."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
    part = path.with_name(path.name + ".part")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(contiguous, part, metadata={"run": run, "step": str(step)})
    part.replace(path)


def load_checkpoint(
    path: Path,
    *,
    run: str,
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Put the saved state back and return its step; 0, and nothing changed, if there is none.

    A checkpoint of another run (other recipe, images or teachers) counts as none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata().get("run") != run:
                return 0
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return 0
    network.load_state_dict(_strip("network.", tensors))
    for name, value in _strip("average.", tensors).items():
        average[name].copy_(value)
    saved = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _strip("optimizer.", tensors).items():
        index, entry = name.split(".")
        state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({**saved, "state": state})
    return step


def _strip(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
