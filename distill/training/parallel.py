"""Batches in parts: one for each process of a data-parallel run, or several that fit in memory.

Every part has its share of each kind of image and losses are means, so the mean gradient of the
parts is that of the whole batch, but for rounding. Batch norms compute their statistics over the
shards of all processes (`norms.sync_batch_norms`), but over each part of accumulated gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
import torch.distributed
from torch import Tensor, nn

from distill.recipe import Recipe
from distill.training.batches import Batch
from zoo.errors import StudentError
from zoo.system.distributed import SINGLE, Processes


def check_batches(recipe: Recipe, processes: Processes) -> None:
    """Raise a StudentError unless batches split evenly over the processes."""
    for kind, count in (("labeled", recipe.labeled_batch), ("unlabeled", recipe.unlabeled_batch)):
        if count % processes.count:
            raise StudentError(
                f"{count} {kind} images per update do not split evenly over {processes.count} "
                "processes: choose another --nproc-per-node."
            )


def shard_batch(batch: Batch, part: int, parts: int) -> Batch:
    """One of so many parts of a batch, from 0: an equal part of each kind of image."""
    if parts == 1:
        return batch

    def shard(tensor: Tensor) -> Tensor:
        return tensor.tensor_split(parts)[part]

    kinds = [len(batch.labels), len(batch.rows)]
    kinds = [count for count in [*kinds, len(batch.images) - sum(kinds)] if count]
    images = torch.cat([shard(kind) for kind in batch.images.split(kinds)])
    return replace(batch, images=images, labels=shard(batch.labels), rows=shard(batch.rows))


def all_reduce_mean(processes: Processes, tensors: Iterable[Tensor | None]) -> None:
    """Replace tensors by their mean over all processes, in one message."""
    if processes.count == 1:
        return
    present = [tensor for tensor in tensors if tensor is not None]
    message = torch.cat([tensor.flatten() for tensor in present])
    torch.distributed.all_reduce(message)
    message /= processes.count
    for tensor, mean in zip(present, message.split([t.numel() for t in present]), strict=True):
        tensor.copy_(mean.view_as(tensor))


Backward = Callable[[Batch], dict[str, Tensor]]
"""Adds the gradient of a batch to the student's; returns its losses by name."""


@dataclass
class GradientAccumulation:
    """Into how many parts each batch is split: doubled at the first update that does not fit.

    Only a single process splits its batches. `note` is a message for the user; empty for one part.
    """

    processes: Processes = SINGLE
    parts: int = 1
    note: str = ""

    def accumulate(self, backward: Backward, batch: Batch, student: nn.Module) -> dict[str, Tensor]:
        """The losses of a batch, and its gradient, in as few parts as fit; else a StudentError."""
        while True:
            student.zero_grad(set_to_none=True)
            try:
                parts = [shard_batch(batch, part, self.parts) for part in range(self.parts)]
                losses = [*map(backward, parts)]
                break
            except torch.cuda.OutOfMemoryError:
                self._split_further(batch)
        if self.parts > 1:
            for weight in student.parameters():
                if weight.grad is not None:
                    weight.grad /= self.parts
        return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}

    def _split_further(self, batch: Batch) -> None:
        images, parts = len(batch.images), 2 * self.parts
        even = not (len(batch.labels) % parts or len(batch.rows) % parts)
        if self.processes.count > 1 or not even or images < 2 * parts:
            raise StudentError(
                f"Out of GPU memory with {images // self.parts} images per batch: lower "
                "--image-size, or choose a smaller --arch or --device cpu."
            )
        self.parts = parts
        self.note = (
            f"Out of GPU memory with {images} images per batch: gradients were accumulated over "
            f"{parts} parts, so batch-norm statistics are over a part."
        )
