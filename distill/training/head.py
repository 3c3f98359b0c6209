"""The target head before training: a closed-form probe."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.network import find_head, single_image_fits
from distill.student import Student
from distill.training.targets import SoftLabels, Targets
from zoo.features.inference import in_batches, to_input
from zoo.features.linear_probe import (
    fit_offsets,
    fit_ridge,
    fit_soft_ridge,
    fit_temperature,
    ridge_leave_one_out,
    standardize,
)
from zoo.teachers.card import Preprocessing

BATCH = 32
MAX_UNLABELED = 2000
"""Unlabeled images that the head of a distilled student is fitted to, at most."""


def initialize_head(
    student: Student,
    pixels: Tensor,
    labels: Tensor,
    targets: Targets | None,
    preprocessing: Preprocessing,
    device: torch.device,
) -> None:
    """Set the head to ridge regression of the student's embeddings onto labels and soft labels.

    With a head of random weights the first updates would move the network towards noise (Kumar et
    al., ICLR 2022). Regularization and temperature are chosen by cross-validation. Where no class
    has two labeled images, and there are no soft labels, the head stays as it is. The student is in
    evaluation mode, on the device; pixels are [N, 3, S, S] uint8, labels [N], -1 for unknown.
    """
    soft = targets.probabilities.double().numpy() if isinstance(targets, SoftLabels) else None
    known = np.flatnonzero(labels.numpy() >= 0)
    rows = known
    if soft is not None:
        others = np.random.default_rng(0).permutation(np.flatnonzero(labels.numpy() < 0))
        rows = np.concatenate([known, others[:MAX_UNLABELED]])
    names = labels.numpy()[known]
    if soft is None and np.bincount(names).max() < 2:
        return
    embeddings = _embed(student, pixels[torch.from_numpy(rows)], preprocessing, device)
    features = standardize(embeddings)
    if soft is None:
        scores, strength = ridge_leave_one_out(features, names)
        weights, intercept = fit_ridge(features, names, strength)
        offsets, wanted = fit_offsets(scores, names), names
        scores, intercept = scores + offsets, intercept + offsets
    else:
        wanted = soft[rows]
        wanted[: len(known)] = np.eye(wanted.shape[1])[names]
        weights, intercept, scores = fit_soft_ridge(features, wanted)
    temperature = fit_temperature(scores, wanted)
    _set_head(student, embeddings, weights / temperature, intercept / temperature)


@torch.inference_mode()
def _embed(
    student: Student, pixels: Tensor, preprocessing: Preprocessing, device: torch.device
) -> NDArray[np.float64]:
    """phi(x) of decoded images [N, 3, S, S], as [N, D]."""

    def forward(batch: Tensor) -> Tensor:
        images = to_input(batch, preprocessing, device)
        return student.embed(images).double().cpu()

    with single_image_fits():
        return torch.cat(list(in_batches(forward, pixels, BATCH))).numpy()


def _set_head(
    student: Student,
    embeddings: NDArray[np.float64],
    weights: NDArray[np.float64],
    intercept: NDArray[np.float64],
) -> None:
    """Give the head the weights [D, C] and intercept [C] of a probe on standardized embeddings."""
    spread = embeddings.std(axis=0)
    varies = np.ptp(embeddings, axis=0) > 0
    weights = weights * np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)[:, None]
    head = find_head(student.network)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights.T.copy()).view_as(head.weight))
        if head.bias is not None:
            head.bias.copy_(torch.from_numpy(intercept - embeddings.mean(axis=0) @ weights))
