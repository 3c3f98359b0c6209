"""Build a network whose weights come from a file: no initial values, no more memory than that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ALLOCATIONS = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.ones, torch.rand,
    torch.randn, torch.zeros,
}  # fmt: skip


class Construction(TorchFunctionMode):
    """Skip the drawing of initial weights, which takes longer than reading the file; count values.

    Args:
        most: values that may be allocated in all.

    Raises:
        ValueError: there would be more.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or (
            getattr(func, "__module__", "") == "torch.nn.init"
        ):
            return args[0] if args else given["tensor"]
        made = func(*args, **given)
        if func in _ALLOCATIONS:
            self.left -= made.numel()
            if self.left < 0:
                raise ValueError("the network is far larger than its weights file")
        return made
