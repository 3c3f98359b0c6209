"""An update in parts: what a GPU has no memory for at once is taught in halves.

Every part has its share of each kind of image and losses are means, so the mean gradient of the
parts is that of the whole batch. Only batch norms notice: they take their statistics over a part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.training.batches import Batch
from distill.training.parallel import own_part
from zoo.errors import StudentError
from zoo.system.distributed import SINGLE, Processes

Learn = Callable[[Batch], dict[str, Tensor]]
"""Adds the gradient of a batch to the student's; returns its losses by name."""


@dataclass
class Halving:
    """How an update is split.

    Attributes:
        processes: those that teach together; of several, none can split alone.
        parts: how many there are; twice as many from the first update that does not fit.
        note: what to tell of it; empty while there is one part.
    """

    processes: Processes = SINGLE
    parts: int = 1
    note: str = ""

    def gradient(self, learn: Learn, batch: Batch, student: nn.Module) -> dict[str, Tensor]:
        """Give the student the gradient of a batch, in as few parts as fit; the losses.

        Raises:
            StudentError: not even the smallest parts fit.
        """
        while True:
            student.zero_grad(set_to_none=True)
            try:
                parts = [Processes(part, self.parts) for part in range(self.parts)]
                losses = [learn(own_part(batch, part)) for part in parts]
                break
            except torch.cuda.OutOfMemoryError:
                self._halve(batch)
        if self.parts > 1:
            for weight in student.parameters():
                if weight.grad is not None:
                    weight.grad /= self.parts
        return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}

    def _halve(self, batch: Batch) -> None:
        images, parts = len(batch.images), 2 * self.parts
        even = not (len(batch.labels) % parts or len(batch.rows) % parts)
        if self.processes.count > 1 or not even or images < 2 * parts:
            raise StudentError(
                f"The GPU has no memory for {images // self.parts} images at once: lower "
                "--image-size, or choose a smaller --arch or --device cpu."
            )
        self.parts = parts
        self.note = (
            f"The GPU had no memory for {images} images at once: updates were taught in {parts} "
            "parts, and batch norms saw a part at a time."
        )
