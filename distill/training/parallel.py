"""One student taught by several processes: each sees its part of every batch, all take one step.

The result is that of a single process with the same global batch, but for rounding: batch norms
take their statistics over all parts, and gradients are averaged before the optimizer's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distill.recipe import Recipe
from distill.training.batches import Batch
from distill.training.convolutions import other_forwards
from zoo.errors import StudentError
from zoo.system.distributed import Processes


def check_batches(recipe: Recipe, processes: Processes) -> None:
    """Make sure that every process gets as many images as the others.

    Raises:
        StudentError: a batch cannot be split evenly.
    """
    for what, count in (("labeled", recipe.labeled_batch), ("other", recipe.unlabeled_batch)):
        if count % processes.count:
            raise StudentError(
                f"{count} {what} images an update cannot be split evenly over {processes.count} "
                "processes: choose another --nproc-per-node."
            )


def own_part(batch: Batch, processes: Processes) -> Batch:
    """The images of a batch that this process sees: as large a part of each kind as the others'."""
    if processes.count == 1:
        return batch
    labels = batch.labels.tensor_split(processes.count)[processes.rank]
    rows = batch.rows.tensor_split(processes.count)[processes.rank]
    kinds = [len(batch.labels), len(batch.rows)]
    kinds = [kind for kind in [*kinds, len(batch.images) - sum(kinds)] if kind]
    parts = [
        kind.tensor_split(processes.count)[processes.rank] for kind in batch.images.split(kinds)
    ]
    return replace(batch, images=torch.cat(parts), labels=labels, rows=rows)


def average_over(processes: Processes, tensors: Iterable[Tensor | None]) -> None:
    """Replace tensors by their mean over all processes, in one message."""
    if processes.count == 1:
        return
    several = [tensor for tensor in tensors if tensor is not None]
    message = torch.cat([tensor.flatten() for tensor in several])
    torch.distributed.all_reduce(message)
    message /= processes.count
    for tensor, mean in zip(several, message.split([t.numel() for t in several]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def check_agreement(value: int, processes: Processes) -> None:
    """Make sure that every process goes on from the same update.

    Raises:
        StudentError: they do not, as they cannot see one and the same cache.
    """
    mean = torch.tensor([float(value)])
    average_over(processes, [mean])
    if mean.item() != value:
        raise StudentError(
            "The processes go on from different updates: set SOURCE_ZOO_CACHE to a folder that all "
            "of them share."
        )


def shared_norms(network: nn.Module, processes: Processes) -> AbstractContextManager[None]:
    """Batch norms take mean and variance over the parts of all processes.

    torch's own SyncBatchNorm does the same on CUDA only.
    """
    if processes.count == 1:
        return nullcontext()
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return other_forwards(dict.fromkeys(norms, _normalize))


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(_ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, *gradients)


def _normalize(self: _BatchNorm, inputs: Tensor) -> Tensor:
    """What timm's and torch's batch norms compute in training, with everybody's statistics."""
    images = inputs.float()
    count = torch.tensor([images.numel() / images.shape[1]], device=images.device)
    axes = [axis for axis in range(images.ndim) if axis != 1]
    sums = torch.cat([images.sum(axes), images.square().sum(axes), count])
    first, second, total = _Sum.apply(sums).split([images.shape[1], images.shape[1], 1])
    mean = first / total
    variance = (second / total - mean.square()).clamp(min=0)
    with torch.no_grad():
        if self.running_mean is not None and self.running_var is not None:
            pace = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, pace)
            self.running_var.lerp_(variance * total / (total - 1), pace)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
    shape = [1, -1, *[1] * (images.ndim - 2)]
    scale = self.weight / (variance + self.eps).sqrt()
    outputs = images * scale.view(shape) + (self.bias - mean * scale).view(shape)
    for name in ("drop", "act"):  # timm's batch norms hold their activation
        part = getattr(self, name, None)
        outputs = outputs if part is None else part(outputs)
    return outputs.to(inputs.dtype)
