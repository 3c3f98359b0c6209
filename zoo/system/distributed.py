"""The processes of torchrun that share the work of one command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from zoo.errors import ZooError, first_line

Item = TypeVar("Item")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Processes:
    """The processes of one torchrun, 1 without it, and the rank of this one, from 0."""

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

    def gather(self, item: Item) -> list[Item]:
        """The item of every process, by rank."""
        if self.count == 1:
            return [item]
        import torch.distributed

        items: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(items, item)
        return items

    def share(self, make: Callable[[], Item], source: int = 0) -> Item:
        """What one process makes, in every process; the others do not call `make`.

        Raises:
            ZooError: `make` raised it, in every process.
        """
        if self.count == 1:
            return make()
        import torch.distributed

        made: list[Any] = [None]
        if self.rank == source:
            try:
                made = [make()]
            except ZooError as error:
                made = [error]
        torch.distributed.broadcast_object_list(made, source)
        if isinstance(made[0], ZooError):
            raise made[0]
        return made[0]


SINGLE = Processes()
"""Without torchrun."""


def is_first_process() -> bool:
    """Whether this process prints and saves: the first of torchrun's, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join() -> Iterator[Processes]:
    """The processes that torchrun started (RANK and WORLD_SIZE), or this one; may be nested.

    Raises:
        ZooError: the processes do not reach each other, or one of them ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE
        return
    import torch.distributed

    if torch.distributed.is_initialized():  # by an outer call
        yield Processes(torch.distributed.get_rank(), count)
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
        yield Processes(torch.distributed.get_rank(), count)
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise ZooError(
            "Another process of torchrun ended or cannot be reached (see docs/clusters.md): the "
            f"same command resumes from where it was. {first_line(error).partition('. ')[0]}."
        ) from error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
