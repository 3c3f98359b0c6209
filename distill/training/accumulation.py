"""Gradient accumulation: a batch that does not fit in GPU memory is split in halves.

Every part has its share of each kind of image and losses are means, so the mean gradient of the
parts is that of the whole batch. Only batch norms differ: their statistics are over a part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.training.batches import Batch
from distill.training.parallel import shard_batch
from zoo.errors import StudentError
from zoo.system.distributed import SINGLE, Processes

Backward = Callable[[Batch], dict[str, Tensor]]
"""Adds the gradient of a batch to the student's; returns its losses by name."""


@dataclass
class GradientAccumulation:
    """Into how many parts each batch is split.

    Attributes:
        processes: of a data-parallel run; only a single process splits its batches.
        parts: doubled at the first update that does not fit.
        note: message for the user; empty while there is one part.
    """

    processes: Processes = SINGLE
    parts: int = 1
    note: str = ""

    def accumulate(self, backward: Backward, batch: Batch, student: nn.Module) -> dict[str, Tensor]:
        """Compute the student's gradient on a batch in as few parts as fit; returns the losses.

        Raises:
            StudentError: not even the smallest parts fit.
        """
        while True:
            student.zero_grad(set_to_none=True)
            try:
                parts = [Processes(part, self.parts) for part in range(self.parts)]
                losses = [backward(shard_batch(batch, part)) for part in parts]
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
