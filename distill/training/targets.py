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
from zoo.features.linear_probe import fit_ridge, fit_temperature, ridge_leave_one_out, standardize
from zoo.features.store import Features
from zoo.system.files import cache_folder
from zoo.system.tensors import scratch_array

Objective = Literal["target", "source"]
"""Whose classes the student imitates: those of the target (ours) or of the teachers (paper)."""


FLOOR = 1e-4
"""The smallest probability of a class in a soft label."""

TOGETHER = 4096
"""Classes that one update imitates at most, unless a single teacher has more."""

KEPT = 128
"""Classes of an image that are kept of a teacher that has more than twice as many."""

AT_ONCE = 256
"""Images whose classes are sorted at once."""


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """The target's classes as the teachers together see them in N images.

    Attributes:
        probabilities: [N, C].
        accuracy: of the soft labels on labeled images left out in turn, 0..1.
    """

    probabilities: Tensor
    accuracy: float

    @property
    def tensors(self) -> list[Tensor]:
        """All that the student gets to know."""
        return [self.probabilities]


@dataclass(frozen=True, eq=False)
class Answers:
    """softmax(M_s(x)) of one teacher for N images.

    Attributes:
        probabilities: [N, K_s], or [N, KEPT] the largest of them; the remainder is spread evenly
            over the other classes.
        classes: [N, KEPT] int32, which these are; None if all are there.
        width: K_s.
    """

    probabilities: Tensor
    classes: Tensor | None
    width: int

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> Answers:
        """The answers behind logits [N, K_s]; many of them lie in a file, see `scratch_array`."""
        images, width = logits.shape
        kept = width if width <= 2 * KEPT else KEPT
        probabilities = torch.from_numpy(scratch_array((images, kept), cache_folder()))
        classes = None
        if kept < width:
            classes = torch.from_numpy(scratch_array((images, kept), cache_folder(), np.int32))
        for start in range(0, images, AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            answers = torch.from_numpy(np.ascontiguousarray(logits[rows])).softmax(dim=1)
            if classes is not None:
                answers, classes[rows] = answers.topk(kept, dim=1)
            probabilities[rows] = answers
        return cls(probabilities, classes, width)

    def look_up(self, rows: Tensor) -> Tensor:
        """What it says of the images of some rows [U]: [U, K_s]."""
        found = self.probabilities[rows]
        if self.classes is None:
            return found
        rest = (1 - found.sum(dim=1, keepdim=True)).clamp_(min=0) / (self.width - found.shape[1])
        return rest.repeat(1, self.width).scatter_(1, self.classes[rows].long(), found)


@dataclass(frozen=True, eq=False)
class SourceTargets:
    """What teachers say of N images in their own classes.

    Attributes:
        answers: of each teacher.
        shares: alpha_s of each, in the same order, summing to 1.
    """

    answers: tuple[Answers, ...]
    shares: tuple[float, ...]

    @property
    def tensors(self) -> list[Tensor]:
        """All that the student gets to know."""
        told = [torch.tensor(self.shares)]
        for each in self.answers:
            told += [each.probabilities, *([] if each.classes is None else [each.classes])]
        return told

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """K_1..K_S, the classes of each teacher, in groups that are imitated together."""
        return group_heads([each.width for each in self.answers])

    def draw_group(self, rows: Tensor, generator: torch.Generator) -> tuple[int, Tensor]:
        """The group of teachers that one update imitates, and what they say of some images.

        A group is drawn as often as its teachers' shares sum up to, and what they say is divided by
        that sum: the mean over draws is the loss of all teachers.

        Args:
            rows: [U], which images.
            generator: where the randomness comes from.

        Returns:
            The number of the group, and [U, its classes], alpha_s softmax(M_s(x)) side by side.
        """
        ends = np.cumsum([len(group) for group in self.groups])
        starts = [0, *ends[:-1]]
        parts = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        sums = torch.tensor([sum(self.shares[part]) for part in parts])
        drawn = int(torch.multinomial(sums, 1, generator=generator))
        part = parts[drawn]
        told = [
            share / float(sums[drawn]) * each.look_up(rows)
            for each, share in zip(self.answers[part], self.shares[part], strict=True)
        ]
        return drawn, torch.cat(told, dim=1)


Targets = SoftLabels | SourceTargets
"""What a student imitates."""


def group_heads(widths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """K_1..K_S cut into groups of neighbors with at most `TOGETHER` classes, or one teacher."""
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
) -> Targets | None:
    """What the teachers that have a share say of the images; None without teachers.

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
        return None
    if objective == "source":
        return source_targets(features, used)
    return soft_labels(features, used, labels)


def source_targets(features: Mapping[str, Features], shares: Mapping[str, float]) -> SourceTargets:
    """softmax(M_s(x)) of each teacher, and its share (Borup et al., ICCV 2023).

    Raises:
        ZooError: one of them has no classifier, so no softmax to copy.
    """
    for name in shares:
        if not features[name].logits.shape[1]:
            raise ZooError(f"The teacher {name!r} has no classifier to copy: give it share 0.")
    answers = tuple(Answers.of(features[name].logits) for name in shares)
    return SourceTargets(answers, tuple(shares.values()))


def soft_labels(
    features: Mapping[str, Features], shares: Mapping[str, float], labels: NDArray[np.int64]
) -> SoftLabels:
    """The target's classes, as a closed-form probe on all teachers together sees them.

    The probe is kernel ridge regression onto the one-hot labels with the kernel
    sum_s alpha_s K_s, K_s the cosine of two images in teacher s's features, which are
    standardized over all N images. Its strength and the temperature of the softmax come from
    the labeled images, left out one of each class at a time.
    """
    known = np.flatnonzero(labels >= 0)
    truth = labels[known]
    rows = _coordinates(features, shares, known)
    scores, strength = ridge_leave_one_out(rows[known], truth)
    weights, intercept = fit_ridge(rows[known], truth, strength)
    logits = (rows @ weights + intercept) / fit_temperature(scores, truth)
    # no probability of exactly 0: a product of experts must be able to disagree
    probabilities = torch.from_numpy(logits).softmax(dim=1).clamp(min=FLOOR).float()
    probabilities /= probabilities.sum(dim=1, keepdim=True)
    return SoftLabels(probabilities, float((scores.argmax(axis=1) == truth).mean()))


def _coordinates(
    features: Mapping[str, Features], shares: Mapping[str, float], known: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[N, R]: rows whose products with the L labeled rows are the kernel.

    R is the least of L and the widths of all teachers together, and one teacher at a time is in
    memory as float64: a probe is a mixture of the labeled rows, so of all images only their part
    in the span of these counts.
    """
    images = len(next(iter(features.values())))
    blocks = (
        np.sqrt(share) * _unit_rows(standardize(features[name].embeddings))
        for name, share in shares.items()
    )
    if sum(features[name].embeddings.shape[1] for name in shares) <= len(known):
        return np.concatenate(list(blocks), axis=1)
    kernel = np.zeros((images, len(known)))
    for block in blocks:
        kernel += block @ block[known].T
    values, vectors = np.linalg.eigh(kernel[known])
    kept = values > 1e-12 * values.max(initial=0.0)
    return kernel @ (vectors[:, kept] / np.sqrt(values[kept]))


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
