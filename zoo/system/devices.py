"""What this machine can do: its devices and number formats."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch

from zoo.errors import ZooError, first_line


def choose_device(name: torch.device | str = "auto") -> torch.device:
    """The device to compute on: `auto` takes CUDA, then MPS, then the CPU; a device stays itself.

    Under torchrun each process has a CUDA device of its own.

    Raises:
        ZooError: the device is unknown or absent.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()  # `meta` has no numbers to give
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ZooError(
            f"The device {name!r} cannot be used: {first_line(error)}. Try --device cpu."
        ) from error
    return device


def autocast(device: torch.device) -> torch.autocast:
    """Compute convolutions and products in bfloat16 where the device does so natively."""
    native = _cpu_has_bf16() if device.type == "cpu" else device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=native)


@cache
def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
