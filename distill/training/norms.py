"""Batch norms of a student: over all processes in training, their statistics at its end."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from distill.network import single_image_fits
from distill.student import Student
from distill.training.convolutions import replace_forwards
from zoo.features.inference import in_batches, to_input
from zoo.system.distributed import Processes
from zoo.teachers.card import Preprocessing

IMAGES, BATCH = 1024, 64
"""Images that statistics are estimated on, at most, and in a batch."""


def norms_of(network: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a network, timm's own included."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def estimate_norms(
    student: Student, pixels: Tensor, preprocessing: Preprocessing, device: torch.device
) -> None:
    """Estimate the statistics of batch norms anew, as means over batches of training images.

    Running means lag behind weights that changed in few updates, and an average of weights has no
    running means of its own (Izmailov et al., UAI 2018, section 3.2). Those in evaluation mode, of
    frozen blocks, keep theirs. Pixels are [N, 3, S, S] uint8; the batch norms are left in
    evaluation mode.
    """
    norms = [norm for norm in norms_of(student) if norm.track_running_stats and norm.training]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    student.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()

    def forward(batch: Tensor) -> None:
        student.embed(to_input(batch, preprocessing, device))

    chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:IMAGES]
    whole = chosen[: max(len(chosen) // BATCH * BATCH, min(BATCH, len(chosen)))]
    with single_image_fits():
        for _ in in_batches(forward, pixels[whole], BATCH):
            pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def sync_batch_norms(network: nn.Module, processes: Processes) -> AbstractContextManager[None]:
    """In here batch norms compute mean and variance over the shards of all processes.

    torch's own SyncBatchNorm does the same on CUDA only. Those that keep their statistics, in
    evaluation mode, stay as they are.
    """
    if processes.count == 1:
        return nullcontext()
    norms = [norm for norm in norms_of(network) if norm.training or not norm.track_running_stats]
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
