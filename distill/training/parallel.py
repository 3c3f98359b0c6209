"""Data-parallel training: each process computes its shard of every batch, all take one step.

The result is that of a single process with the same global batch, but for rounding: batch norms
compute their statistics over all shards, and gradients are averaged before the optimizer's step.
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
from distill.training.convolutions import replace_forwards
from zoo.errors import StudentError
from zoo.system.distributed import Processes


def check_batches(recipe: Recipe, processes: Processes) -> None:
    """Check that batches split evenly over the processes.

    Raises:
        StudentError: one does not.
    """
    for kind, count in (("labeled", recipe.labeled_batch), ("unlabeled", recipe.unlabeled_batch)):
        if count % processes.count:
            raise StudentError(
                f"{count} {kind} images per update do not split evenly over {processes.count} "
                "processes: choose another --nproc-per-node."
            )


def shard_batch(batch: Batch, processes: Processes) -> Batch:
    """This process's shard of a batch: an equal part of each kind of image."""
    if processes.count == 1:
        return batch

    def shard(tensor: Tensor) -> Tensor:
        return tensor.tensor_split(processes.count)[processes.rank]

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


def sync_batch_norms(network: nn.Module, processes: Processes) -> AbstractContextManager[None]:
    """In here batch norms compute mean and variance over the shards of all processes.

    torch's own SyncBatchNorm does the same on CUDA only.
    """
    if processes.count == 1:
        return nullcontext()
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    return replace_forwards(dict.fromkeys(norms, _normalize))


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
    """The training forward of timm's and torch's batch norms, with global statistics."""
    images = inputs.float()
    count = torch.tensor([images.numel() / images.shape[1]], device=images.device)
    axes = [axis for axis in range(images.ndim) if axis != 1]
    sums = torch.cat([images.sum(axes), images.square().sum(axes), count])
    first, second, total = _Sum.apply(sums).split([images.shape[1], images.shape[1], 1])
    mean = first / total
    variance = (second / total - mean.square()).clamp(min=0)
    with torch.no_grad():
        if self.running_mean is not None and self.running_var is not None:
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
    shape = [1, -1, *[1] * (images.ndim - 2)]
    scale = self.weight / (variance + self.eps).sqrt()
    outputs = images * scale.view(shape) + (self.bias - mean * scale).view(shape)
    for name in ("drop", "act"):  # timm's batch norms include their activation
        module = getattr(self, name, None)
        outputs = outputs if module is None else module(outputs)
    return outputs.to(inputs.dtype)
