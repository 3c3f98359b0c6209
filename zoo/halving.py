"""Batches that fit: one that a GPU has no memory for is halved, and so are those after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

R = TypeVar("R")


def in_batches(work: Callable[[Tensor], R], items: Tensor, size: int) -> Iterator[R]:
    """Results of consecutive parts of `items` [N, ...], of `size` rows each or of as many as fit.

    Raises:
        torch.cuda.OutOfMemoryError: a single row does not fit.
    """
    while True:
        part = items[:size]
        try:
            result = work(part)
        except torch.cuda.OutOfMemoryError:
            if len(part) <= 1:
                raise
            size = len(part) // 2
        else:
            items = items[size:]
            yield result
            if not len(items):
                return
