"""Losses as functions of logits; symbols as in Borup et al., ICCV 2023."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """L_lab: mean cross-entropy of logits [B, C] with labels [B] in 0..C-1."""
    return cross_entropy(logits, labels, label_smoothing=smoothing)


def source_loss(logits: Tensor, targets: Tensor, widths: Sequence[int], alpha: Tensor) -> Tensor:
    """sum_s alpha_s CE(h_s(phi(x)), softmax(M_s(x))), mean over the batch.

    Args:
        logits: [B, sum of widths], the S source heads side by side.
        targets: [B, sum of widths], the teachers' probabilities, each block already times alpha_s.
        widths: classes of each teacher, K_1..K_S.
        alpha: [S], shares of the teachers.
    """
    # CE(z, p) = logsumexp(z) - <p, z>: one product for all heads together
    normaliser = torch.stack([z.logsumexp(dim=1) for z in logits.split(list(widths), dim=1)], dim=1)
    return (normaliser @ alpha - (targets * logits).sum(dim=1)).mean()


def fixmatch_loss(weak: Tensor, strong: Tensor, *, threshold: float) -> Tensor:
    """Cross-entropy of strong views with confident pseudo-labels from weak ones.

    Sohn et al., NeurIPS 2020, eq. 4: `weak` and `strong` are logits [B, C] of the same images,
    `threshold` in 0..1; images below it count as zero loss.
    """
    confidence, pseudo_labels = weak.detach().softmax(dim=1).max(dim=1)
    losses = cross_entropy(strong, pseudo_labels, reduction="none")
    return (losses * (confidence >= threshold)).mean()
