"""The processes of torchrun that share the work of one command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

Item = TypeVar("Item")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Processes:
    """The processes of one torchrun.

    Attributes:
        rank: of this process, from 0.
        count: number of processes; 1 without torchrun.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and saves."""
        return self.rank == 0

    def own(self, items: Sequence[Item]) -> list[Item]:
        """The items that this process works on: every `count`-th one."""
        return [*items[self.rank :: self.count]]

    def add_up(self, number: int) -> int:
        """The sum of the numbers of all processes."""
        if self.count == 1:
            return number
        import torch.distributed

        total = torch.tensor(number)
        torch.distributed.all_reduce(total)
        return int(total)

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()


SINGLE = Processes()
"""Without torchrun."""


def is_first_process() -> bool:
    """Whether this process prints and saves: the first of torchrun's, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join() -> Iterator[Processes]:
    """The processes that torchrun started (RANK and WORLD_SIZE), or this one; may be nested."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE
        return
    import torch.distributed

    if torch.distributed.is_initialized():  # by an outer call
        yield Processes(torch.distributed.get_rank(), count)
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(torch.distributed.get_rank(), count)
    finally:
        torch.distributed.destroy_process_group()
