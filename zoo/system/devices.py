"""The device to compute on, and the number formats that it computes in."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.errors import ZooError, first_line


def choose_device(name: torch.device | str = "auto") -> torch.device:
    """The device of a name: `auto` is CUDA, then MPS, then the CPU.

    Under torchrun each process has its own CUDA device.

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
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.zeros(1, device=device).tolist()  # fails for `meta`
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ZooError(
            f"The device {name!r} cannot be used: {first_line(error)}. Try --device cpu."
        ) from error
    return device


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, its weights in the memory layout of convolutions."""
    moved: Any = network.to(device)
    return moved.to(memory_format=torch.channels_last)


def autocast(device: torch.device) -> torch.autocast:
    """Compute convolutions and products in bfloat16 where the device has it in hardware."""
    native = cpu_has_bfloat16() if device.type == "cpu" else device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=native)


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
