"""Losses as functions of logits, and the losses of a run; symbols as in Borup et al., 2023."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from distill.recipe import Recipe
from distill.student import Student
from distill.training.batches import SOURCES, Batch, make_generator
from distill.training.targets import SoftLabels, SourceTargets, Targets
from zoo.system.devices import autocast

Loss = Callable[[Student, Tensor, Batch], Tensor]
"""A loss of the student, its embeddings [L + U + V, D] and the batch."""

Weight = Callable[[float], float]
"""Weight of a loss after a fraction, 0..1, of the updates."""


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """L_lab: mean cross-entropy of logits [B, C] with labels [B] in 0..C-1."""
    return cross_entropy(logits, labels, label_smoothing=smoothing)


def source_loss(logits: Tensor, targets: Tensor, widths: Sequence[int]) -> Tensor:
    """sum_s alpha_s CE(h_s(phi(x)), softmax(M_s(x))), mean over the batch.

    Logits are those of the S source heads side by side, targets the teachers' probabilities, each
    block already times alpha_s; both are [B, K_1 + ... + K_S], and `widths` are K_1..K_S.
    """
    # CE(z, p) = -<p, log softmax(z)>: one product for all heads together
    log_probs = [z.log_softmax(dim=1) for z in logits.split(list(widths), dim=1)]
    return -(targets * torch.cat(log_probs, dim=1)).sum(dim=1).mean()


def agreement_loss(
    weak: Tensor,
    strong: Tensor,
    teacher_probs: Tensor,
    *,
    student_exponent: float,
    threshold: float,
) -> Tensor:
    """Cross-entropy of strong views with confident pseudo-labels of teachers and student.

    The pseudo-label is the argmax of q(x) ~ p(x) h(phi(weak x))^student_exponent, a product of two
    experts; it counts where q is at least the threshold. `weak` and `strong` are logits [U, C] of
    the same images, `teacher_probs` [U, C] their soft labels p; exponent and threshold are in 0..1.
    """
    log_probs = teacher_probs.log() + student_exponent * weak.detach().log_softmax(dim=1)
    return _pseudo_label_loss(log_probs, strong, threshold)


def fixmatch_loss(weak: Tensor, strong: Tensor, *, threshold: float) -> Tensor:
    """Cross-entropy of strong views with confident pseudo-labels from weak ones.

    Sohn et al., NeurIPS 2020, eq. 4: `weak` and `strong` are logits [B, C] of the same images,
    `threshold` in 0..1; images below it have zero loss.
    """
    return _pseudo_label_loss(weak.detach(), strong, threshold)


def _pseudo_label_loss(logits: Tensor, strong: Tensor, threshold: float) -> Tensor:
    confidence, pseudo_labels = logits.softmax(dim=1).max(dim=1)
    losses = cross_entropy(strong, pseudo_labels, reduction="none")
    return (losses * (confidence >= threshold)).mean()


def make_losses(
    recipe: Recipe, targets: Targets | None, device: torch.device, *, drawn: Tensor, labeled: Tensor
) -> dict[str, tuple[Weight, Loss]]:
    """The weighted losses of a run: lambda L_lab + (1 - lambda) (L_distill + L_agree) + L_own.

    docs/distillation.md defines them.

    Args:
        recipe: weights and thresholds.
        targets: of the distillation, if any.
        device: of the student.
        drawn: [C], logarithm of how often each class is drawn; L_lab has it added to the logits
            (logit adjustment, Menon et al., ICLR 2021), so that rare classes count as others.
        labeled: [C], logarithm of how often each class is labeled; the student's pseudo-labels
            have it taken from the logits, or the most frequent class would get all of them.
    """
    drawn, labeled = drawn.to(device), labeled.to(device)

    def labels(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        logits = student.classify(phi[: len(batch.labels)]) + drawn
        return label_loss(logits, batch.labels.to(device), smoothing=recipe.label_smoothing)

    def fixmatch(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        weak, strong = student.classify(_unlabeled(phi, batch)).split(len(batch.rows))
        return fixmatch_loss(weak - labeled, strong, threshold=recipe.fixmatch_threshold)

    distill_weight, fixmatch_weight = 1 - recipe.label_weight, recipe.fixmatch_weight
    losses: dict[str, tuple[Weight, Loss]] = {
        "labels": (_constant(recipe.label_weight if targets else 1), labels)
    }
    if isinstance(targets, SourceTargets):
        losses["source"] = (_constant(distill_weight), _source_loss(recipe, targets, device))
    elif targets:
        target, agreement = _target_losses(recipe, targets, device)
        decay = recipe.soft_label_decay
        losses["target"] = (lambda done: distill_weight * (1 - decay * done), target)
        if recipe.pseudo_label_weight:
            losses["agreement"] = (
                _constant(distill_weight * recipe.pseudo_label_weight),
                agreement,
            )
            fixmatch_weight += recipe.pseudo_label_weight
    if fixmatch_weight:
        losses["fixmatch"] = (_constant(fixmatch_weight), fixmatch)
    return losses


def _source_loss(recipe: Recipe, targets: SourceTargets, device: torch.device) -> Loss:
    def source(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        generator = make_generator(recipe.seed, SOURCES, batch.step)
        group, probabilities = targets.draw_group(batch.rows, generator)
        with autocast(device):  # many wide heads cost as much as the network
            logits = student.classify_source(_unlabeled(phi, batch)[: len(batch.rows)], group)
        return source_loss(logits.float(), probabilities.to(device), targets.groups[group])

    return source


def _target_losses(recipe: Recipe, targets: SoftLabels, device: torch.device) -> tuple[Loss, Loss]:
    def target(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        logits = student.classify(_unlabeled(phi, batch)[: len(batch.rows)])
        return cross_entropy(logits, targets.probabilities[batch.rows].to(device))

    def agreement(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        weak, strong = student.classify(_unlabeled(phi, batch)).split(len(batch.rows))
        return agreement_loss(
            weak,
            strong,
            targets.probabilities[batch.rows].to(device),
            student_exponent=min(1.0, 2 * batch.step / recipe.updates),
            threshold=recipe.pseudo_label_threshold,
        )

    return target, agreement


def _constant(weight: float) -> Weight:
    return lambda _: weight


def _unlabeled(phi: Tensor, batch: Batch) -> Tensor:
    """Embeddings of the views of target images: the weak ones, then the strong ones if any."""
    return phi[len(batch.labels) :]
