"""Losses as functions of logits, and which of them a run has; symbols as in Borup et al., 2023."""

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

Term = Callable[[Student, Tensor, Batch], Tensor]
"""A loss of the student, its embeddings [L + U + V, D] and the batch."""

Weight = Callable[[float], float]
"""What a loss counts after a part, 0..1, of the updates."""


def label_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """L_lab: mean cross-entropy of logits [B, C] with labels [B] in 0..C-1."""
    return cross_entropy(logits, labels, label_smoothing=smoothing)


def source_loss(logits: Tensor, targets: Tensor, widths: Sequence[int]) -> Tensor:
    """sum_s alpha_s CE(h_s(phi(x)), softmax(M_s(x))), mean over the batch.

    Args:
        logits: [B, sum of widths], the S source heads side by side.
        targets: [B, sum of widths], the teachers' probabilities, each block already times alpha_s.
        widths: classes of each teacher, K_1..K_S.
    """
    # CE(z, p) = -<p, log softmax(z)>: one product for all heads together
    answers = [z.log_softmax(dim=1) for z in logits.split(list(widths), dim=1)]
    return -(targets * torch.cat(answers, dim=1)).sum(dim=1).mean()


def agreement_loss(
    weak: Tensor, strong: Tensor, told: Tensor, *, trust: float, threshold: float
) -> Tensor:
    """Cross-entropy of strong views with pseudo-labels of which teachers and student are sure.

    The pseudo-label is the class of highest q(x) ~ p(x) h(phi(weak x))^trust, a product of two
    experts; it counts where q is above the threshold.

    Args:
        weak: logits [U, C] of weak views.
        strong: logits [U, C] of strong views of the same images.
        told: [U, C], the teachers' soft labels p.
        trust: 0..1, how much the student's own opinion counts.
        threshold: 0..1; images below it count as zero loss.
    """
    opinions = told.log() + trust * weak.detach().log_softmax(dim=1)
    return _confident_loss(opinions, strong, threshold)


def fixmatch_loss(weak: Tensor, strong: Tensor, *, threshold: float) -> Tensor:
    """Cross-entropy of strong views with confident pseudo-labels from weak ones.

    Sohn et al., NeurIPS 2020, eq. 4: `weak` and `strong` are logits [B, C] of the same images,
    `threshold` in 0..1; images below it count as zero loss.
    """
    return _confident_loss(weak.detach(), strong, threshold)


def _confident_loss(opinions: Tensor, strong: Tensor, threshold: float) -> Tensor:
    confidence, pseudo_labels = opinions.softmax(dim=1).max(dim=1)
    losses = cross_entropy(strong, pseudo_labels, reduction="none")
    return (losses * (confidence >= threshold)).mean()


def loss_terms(
    recipe: Recipe, targets: Targets | None, device: torch.device
) -> dict[str, tuple[Weight, Term]]:
    """The weighted losses of a run: lambda L_lab + (1 - lambda) L_distil + L_own."""

    def labels(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        logits = student.classify(phi[: len(batch.labels)])
        return label_loss(logits, batch.labels.to(device), smoothing=recipe.label_smoothing)

    def consistency(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        weak, strong = student.classify(_views(phi, batch)).split(len(batch.rows))
        return fixmatch_loss(weak, strong, threshold=recipe.threshold)

    imitation, own = 1 - recipe.label_weight, recipe.consistency
    terms: dict[str, tuple[Weight, Term]] = {
        "labels": (_always(recipe.label_weight if targets else 1), labels)
    }
    if isinstance(targets, SourceTargets):
        terms["source"] = (_always(imitation), _source_term(recipe, targets, device))
    elif targets:
        target, agreement = _target_terms(recipe, targets, device)
        terms["target"] = (lambda at: imitation * (1 - recipe.soft_label_decay * at), target)
        if recipe.agreement:
            terms["agreement"] = (_always(imitation * recipe.agreement), agreement)
            own += recipe.agreement
    if own:
        terms["consistency"] = (_always(own), consistency)
    return terms


def _source_term(recipe: Recipe, targets: SourceTargets, device: torch.device) -> Term:
    def source(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        generator = make_generator(recipe.seed, SOURCES, batch.step)
        group, told = targets.draw_group(batch.rows, generator)
        with autocast(device):  # many wide heads cost as much as the network
            logits = student.imitate(_views(phi, batch)[: len(batch.rows)], group)
        return source_loss(logits.float(), told.to(device), targets.groups[group])

    return source


def _target_terms(recipe: Recipe, targets: SoftLabels, device: torch.device) -> tuple[Term, Term]:
    def target(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        logits = student.classify(_views(phi, batch)[: len(batch.rows)])
        return cross_entropy(logits, targets.probabilities[batch.rows].to(device))

    def agreement(student: Student, phi: Tensor, batch: Batch) -> Tensor:
        weak, strong = student.classify(_views(phi, batch)).split(len(batch.rows))
        told = targets.probabilities[batch.rows].to(device)
        trust = min(1.0, 2 * batch.step / recipe.updates)
        return agreement_loss(weak, strong, told, trust=trust, threshold=recipe.certainty)

    return target, agreement


def _always(weight: float) -> Weight:
    return lambda _: weight


def _views(phi: Tensor, batch: Batch) -> Tensor:
    """Embeddings of the views of target images: the weak ones, then the strong ones if any."""
    return phi[len(batch.labels) :]
