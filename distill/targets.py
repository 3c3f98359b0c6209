"""What the teachers tell a student about its images: in their classes, or in the target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import ZooError
from zoo.features import Features
from zoo.probe import fit_ridge, fit_temperature, ridge_leave_one_out, standardise

Objective = Literal["target", "source"]
"""Whose classes the student imitates: those of the target (ours) or of the teachers (paper)."""


FLOOR = 1e-4
"""The smallest probability of a class in a soft label."""

TOGETHER = 4096
"""Classes that one update imitates at most, unless a single teacher has more."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What the teachers say of N images, ready to be imitated.

    Attributes:
        probabilities: [N, sum of K_s]. In the teachers' classes alpha_s softmax(M_s(x)), all
            teachers side by side; in the target's one distribution over its C classes.
        groups: K_1..K_S, the classes of each teacher, in groups that are imitated together; empty
            for the target's classes.
        accuracy: of the soft labels on labelled images left out in turn, 0..1; None if unknown.
    """

    probabilities: Tensor
    groups: tuple[tuple[int, ...], ...] = ()
    accuracy: float | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to imitate."""
        return self.probabilities.numel() > 0

    def draw_group(self, rows: Tensor, generator: torch.Generator) -> tuple[int, Tensor]:
        """The group of teachers that one update imitates, and what they say of some images.

        A group is drawn as often as its teachers' shares sum up to, and what they say is divided by
        that sum: the mean over draws is the loss of all teachers.

        Args:
            rows: [U], which images.
            generator: where the randomness comes from.

        Returns:
            The number of the group, and [U, its classes].
        """
        blocks = self.probabilities[rows].split([sum(group) for group in self.groups], dim=1)
        shares = torch.stack([block[0].sum() for block in blocks])
        drawn = int(torch.multinomial(shares, 1, generator=generator))
        return drawn, blocks[drawn] / shares[drawn]


def group_heads(widths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """K_1..K_S cut into groups of neighbours with at most `TOGETHER` classes, or one teacher."""
    groups: list[list[int]] = []
    for width in widths:
        if not groups or sum(groups[-1]) + width > TOGETHER:
            groups.append([])
        groups[-1].append(width)
    return tuple(map(tuple, groups))


def make_targets(
    objective: Objective,
    features: Mapping[str, Features],
    shares: Mapping[str, float],
    labels: NDArray[np.int64],
) -> Targets:
    """What the teachers that have a share say of the images; nothing without teachers.

    Args:
        objective: in whose classes.
        features: the outputs of each teacher for the N images.
        shares: alpha_s of each teacher, summing to 1.
        labels: [N], -1 for unknown.

    Raises:
        ZooError: a teacher cannot teach in this way.
    """
    used = {name: share for name, share in shares.items() if share > 0}
    if not used:
        return Targets(torch.empty(0))
    if objective == "source":
        return source_targets(features, used)
    return soft_labels(features, used, labels)


def source_targets(features: Mapping[str, Features], shares: Mapping[str, float]) -> Targets:
    """softmax(M_s(x)) of each teacher, times its share (Borup et al., ICCV 2023).

    Raises:
        ZooError: one of them has no classifier, so no softmax to copy.
    """
    blocks: list[Tensor] = []
    for name, share in shares.items():
        logits = torch.from_numpy(np.ascontiguousarray(features[name].logits))
        if not logits.shape[1]:
            raise ZooError(f"The teacher {name!r} has no classifier to copy: give it share 0.")
        blocks.append(share * logits.softmax(dim=1))
    groups = group_heads([block.shape[1] for block in blocks])
    return Targets(torch.cat(blocks, dim=1), groups)


def soft_labels(
    features: Mapping[str, Features], shares: Mapping[str, float], labels: NDArray[np.int64]
) -> Targets:
    """The target's classes, as a closed-form probe on all teachers together sees them.

    The probe is kernel ridge regression onto the one-hot labels with the kernel
    sum_s alpha_s K_s, K_s the cosine of two images in teacher s's features, which are
    standardised over all N images. Its strength and the temperature of the softmax come from
    the labelled images, left out one of each class at a time.
    """
    blocks = [
        np.sqrt(share) * _unit_rows(standardise(features[name].embeddings))
        for name, share in shares.items()
    ]
    rows = np.concatenate(blocks, axis=1)
    known = np.flatnonzero(labels >= 0)
    truth = labels[known]
    scores, strength = ridge_leave_one_out(rows[known], truth)
    weights, intercept = fit_ridge(rows[known], truth, strength)
    logits = (rows @ weights + intercept) / fit_temperature(scores, truth)
    # no probability of exactly 0: a product of experts must be able to disagree
    probabilities = torch.from_numpy(logits).softmax(dim=1).clamp(min=FLOOR).float()
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    return Targets(probabilities, accuracy=float((scores.argmax(axis=1) == truth).mean()))


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
