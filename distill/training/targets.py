"""Distillation targets: soft labels in the target's classes, or the teachers' probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.recipe import Objective
from zoo.errors import ZooError
from zoo.features.kernel import TeacherKernel, kernel_basis
from zoo.features.linear_probe import (
    fit_offsets,
    fit_ridge,
    fit_temperature,
    ridge_leave_one_out,
    softmax,
)
from zoo.features.self_training import choose_rows, self_train, self_train_left_out
from zoo.features.store import Features
from zoo.statistics import balanced_accuracy
from zoo.system.files import cache_folder
from zoo.system.tensors import scratch_array

FLOOR = 1e-4
"""Minimum probability of a class in a soft label: 0 would veto a class in `agreement_loss`."""

GROUP_CLASSES = 4096
"""Maximum number of source classes in one update, unless a single teacher has more."""

LANDMARKS, DIRECTIONS = 512, 256
"""Images that self-training describes all images by, if not more are labeled, and dimensions."""

MOST_LANDMARKS = 2000
"""Labeled images that describe all others, at most: time grows with the cube of their number."""

TOP_CLASSES = 128
"""Classes stored per image for a teacher with more than twice as many."""

CHUNK = 256
"""Images whose classes are sorted at once."""


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """Probabilities [N, C] of the target's classes for N images, from all teachers together.

    The accuracy is cross-validated, on the labeled images, 0..1.
    """

    probabilities: Tensor
    accuracy: float

    @property
    def tensors(self) -> list[Tensor]:
        """All data that training depends on."""
        return [self.probabilities]


@dataclass(frozen=True, eq=False)
class SourceProbabilities:
    """softmax(M_s(x)) of one teacher for N images.

    Attributes:
        probabilities: [N, K_s], or the largest [N, TOP_CLASSES]; the remainder is spread evenly
            over the other classes.
        classes: [N, TOP_CLASSES] int32, indices of the largest; None if all are stored.
        width: K_s.
    """

    probabilities: Tensor
    classes: Tensor | None
    width: int

    @classmethod
    def from_logits(cls, logits: NDArray[np.float32]) -> SourceProbabilities:
        """Softmax of logits [N, K_s], in a scratch file if it is large (`scratch_array`)."""
        images, width = logits.shape
        stored = width if width <= 2 * TOP_CLASSES else TOP_CLASSES
        probabilities = torch.from_numpy(scratch_array((images, stored), cache_folder()))
        classes = None
        if stored < width:
            classes = torch.from_numpy(scratch_array((images, stored), cache_folder(), np.int32))
        for start in range(0, images, CHUNK):
            rows = slice(start, start + CHUNK)
            chunk = torch.from_numpy(np.ascontiguousarray(logits[rows])).softmax(dim=1)
            if classes is not None:
                chunk, classes[rows] = chunk.topk(stored, dim=1)
            probabilities[rows] = chunk
        return cls(probabilities, classes, width)

    def look_up(self, rows: Tensor) -> Tensor:
        """Probabilities [U, K_s] of the images in rows [U]."""
        top = self.probabilities[rows]
        if self.classes is None:
            return top
        rest = (1 - top.sum(dim=1, keepdim=True)).clamp_(min=0) / (self.width - top.shape[1])
        return rest.repeat(1, self.width).scatter_(1, self.classes[rows].long(), top)


@dataclass(frozen=True, eq=False)
class SourceTargets:
    """The teachers' probabilities for N images in their own classes, and shares alpha_s."""

    teachers: tuple[SourceProbabilities, ...]
    shares: tuple[float, ...]

    @property
    def tensors(self) -> list[Tensor]:
        """All data that training depends on."""
        tensors = [torch.tensor(self.shares)]
        for each in self.teachers:
            tensors += [each.probabilities, *([] if each.classes is None else [each.classes])]
        return tensors

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """K_1..K_S, the classes of each teacher, in the groups of `group_heads`."""
        return group_heads([each.width for each in self.teachers])

    def draw_group(self, rows: Tensor, generator: torch.Generator) -> tuple[int, Tensor]:
        """Draw the group of teachers of one update, and their probabilities for some images.

        A group is drawn with the sum of its teachers' shares as its probability, and the teachers'
        probabilities are divided by that sum: the expected loss is that of all teachers. From rows
        [U] to the index of the group and [U, its classes], alpha_s softmax(M_s(x)) side by side.
        """
        ends = np.cumsum([len(group) for group in self.groups])
        starts = [0, *ends[:-1]]
        parts = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        sums = torch.tensor([sum(self.shares[part]) for part in parts])
        drawn = int(torch.multinomial(sums, 1, generator=generator))
        part = parts[drawn]
        weighted = [
            share / float(sums[drawn]) * each.look_up(rows)
            for each, share in zip(self.teachers[part], self.shares[part], strict=True)
        ]
        return drawn, torch.cat(weighted, dim=1)


Targets = SoftLabels | SourceTargets
"""Distillation targets of a run."""


def group_heads(widths: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """K_1..K_S in groups of neighbors with at most `GROUP_CLASSES` classes, or one teacher."""
    groups: list[list[int]] = []
    for width in widths:
        if not groups or sum(groups[-1]) + width > GROUP_CLASSES:
            groups.append([])
        groups[-1].append(width)
    return tuple(map(tuple, groups))


def make_targets(
    objective: Objective,
    features: Mapping[str, Features],
    shares: Mapping[str, float],
    labels: NDArray[np.int64],
) -> Targets | None:
    """The distillation targets of the teachers with a share; None without teachers.

    From the features of each for the N images, shares alpha_s that sum to 1, and labels [N].

    Raises:
        ZooError: see `source_targets`.
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
        ZooError: one of them has no classifier.
    """
    for name in shares:
        if not features[name].logits.shape[1]:
            raise ZooError(
                f"The teacher {name!r} has no classifier, which --objective source needs: "
                "set its share to 0."
            )
    teachers = tuple(SourceProbabilities.from_logits(features[name].logits) for name in shares)
    return SourceTargets(teachers, tuple(shares.values()))


def soft_labels(
    features: Mapping[str, Features], shares: Mapping[str, float], labels: NDArray[np.int64]
) -> SoftLabels:
    """Probabilities of the target's classes from a closed-form probe on all teachers' features.

    The probe is kernel ridge regression onto the one-hot labels with the kernel
    sum_s alpha_s K_s, K_s the cosine of two images in teacher s's features, which are
    standardized over all N images. It learns from the unlabeled images too, by `self_train`,
    unless its balanced accuracy is lower then. That, regularization and temperature are chosen by
    cross-validation on the labeled images, which leaves out the same number of each class; so are
    offsets of the classes where they differ in how many labels they have (`fit_offsets`). More than
    `MOST_LANDMARKS` labeled images are described by their kernel with so many of them (Nystroem).
    """
    used = choose_rows(labels)
    count, classes = int((labels >= 0).sum()), int(labels.max()) + 1
    names = labels[used[:count]]
    marks = _choose_landmarks(count, len(used))
    own = int((marks < count).sum())
    kernel = TeacherKernel.of(features, shares, used[marks])
    among = kernel.rows(used)
    basis = kernel_basis(among[marks[:own], :own])
    rows = among[:count, :own] @ basis
    left_out, strength = ridge_leave_one_out(rows, names)
    offsets = fit_offsets(left_out, names)
    weights, intercept = fit_ridge(rows, names, strength)
    left_out, intercept = left_out + offsets, intercept + offsets
    weights = np.pad(basis @ weights, ((0, len(marks) - own), (0, 0)))
    if len(used) > count:
        basis = kernel_basis(among[marks], DIRECTIONS)
        task = (among @ basis, labels[used], classes, strength, offsets)
        again = self_train_left_out(*task)
        further = fit_offsets(again, names)
        again += further
        right, right_again = (each.argmax(axis=1) == names for each in (left_out, again))
        if balanced_accuracy(right_again, names) >= balanced_accuracy(right, names):
            weights, intercept = self_train(*task)
            weights, intercept, left_out = basis @ weights, intercept + further, again
    temperature = fit_temperature(left_out, names)
    accuracy = float((left_out.argmax(axis=1) == names).mean())
    probabilities = scratch_array((kernel.images, classes), cache_folder())
    for part, block in kernel.blocks():
        # a probability of 0 would veto a class in the product of experts of `agreement_loss`
        likely = softmax((block @ weights + intercept) / temperature).clip(min=FLOOR)
        probabilities[part] = likely / likely.sum(axis=1, keepdims=True)
    return SoftLabels(torch.from_numpy(probabilities), accuracy)


def _choose_landmarks(labeled: int, images: int) -> NDArray[np.int64]:
    """Places of the landmarks among the images, of which the first ones are labeled.

    Labeled ones, `MOST_LANDMARKS` at most, and others until there are `LANDMARKS`.
    """
    own = np.arange(labeled)
    if labeled > MOST_LANDMARKS:
        own = np.sort(np.random.default_rng(0).permutation(labeled)[:MOST_LANDMARKS])
    return np.concatenate([own, np.arange(labeled, max(labeled, min(images, LANDMARKS)))])
