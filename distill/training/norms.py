"""Batch norms of a student."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from distill.student import Student
from zoo.features.inference import in_batches, to_input
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
    running means of its own (Izmailov et al., UAI 2018, section 3.2).

    Args:
        student: on the device; its batch norms are left in evaluation mode.
        pixels: [N, 3, S, S] uint8.
        preprocessing: of the student.
        device: of the student.
    """
    norms = [norm for norm in norms_of(student) if norm.track_running_stats]
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
    for _ in in_batches(forward, pixels[whole], BATCH):
        pass
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
