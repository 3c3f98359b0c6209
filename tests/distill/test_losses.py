"""Losses against the formulas, written out number by number."""

from math import exp, log

import numpy as np
import pytest
import torch

from distill.recipe import Recipe
from distill.student import create_student
from distill.training.batches import Batch
from distill.training.losses import fixmatch_loss, label_loss, make_losses, source_loss
from distill.training.targets import SoftLabels, SourceProbabilities, SourceTargets


def chances(row):
    total = sum(exp(float(z)) for z in row)
    return [exp(float(z)) / total for z in row]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def slow_source_loss(logits, answers, widths, alpha):
    """sum_s alpha_s CE(h_s, softmax(M_s)) one image and one class at a time."""
    total = 0.0
    for row in range(len(logits)):
        begin = 0
        for teacher, width in enumerate(widths):
            taught = chances(logits[row, begin : begin + width])
            told = chances(answers[teacher][row])
            total -= alpha[teacher] * sum(p * log(q) for p, q in zip(told, taught, strict=True))
            begin += width
    return total / len(logits)


def fast_source_loss(logits, answers, widths, alpha):
    blocks = [a * m.softmax(dim=1) for a, m in zip(alpha, answers, strict=True)]
    return source_loss(logits, torch.cat(blocks, dim=1), widths)


@pytest.mark.parametrize("widths", [[3], [3, 2], [2, 5, 4]])
def test_the_source_loss_is_the_weighted_sum_of_soft_cross_entropies(widths):
    alpha = [(k + 1) / sum(range(1, len(widths) + 1)) for k in range(len(widths))]
    logits = draw(5, sum(widths))
    answers = [draw(5, width, seed=9 + k) for k, width in enumerate(widths)]
    loss = fast_source_loss(logits, answers, widths, alpha)
    assert float(loss) == pytest.approx(slow_source_loss(logits, answers, widths, alpha), rel=1e-5)


def test_the_source_loss_pulls_every_head_towards_its_teacher():
    logits, answers = draw(4, 5).requires_grad_(), [draw(4, 3, seed=1), draw(4, 2, seed=2)]
    fast_source_loss(logits, answers, [3, 2], [0.25, 0.75]).backward()
    first, second = logits.detach().split([3, 2], dim=1)
    expected = torch.cat(
        [
            0.25 * (first.softmax(1) - answers[0].softmax(1)) / 4,
            0.75 * (second.softmax(1) - answers[1].softmax(1)) / 4,
        ],
        dim=1,
    )
    assert torch.allclose(logits.grad, expected, atol=1e-6)  # pyright: ignore


def test_the_source_loss_does_not_overflow():
    answers = [torch.tensor([[0.0, 400.0]])]
    loss = fast_source_loss(torch.tensor([[900.0, -900.0]]), answers, [2], [1.0])
    assert float(loss) == pytest.approx(1800)


def test_the_label_loss_is_cross_entropy_with_smoothed_labels():
    logits, labels = draw(6, 4), [0, 3, 1, 1, 2, 0]
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        for k, q in enumerate(chances(row)):
            expected -= ((k == label) * 0.9 + 0.1 / 4) * log(q) / 6
    loss = label_loss(logits, torch.tensor(labels), smoothing=0.1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.99])
def test_the_fixmatch_loss_follows_only_confident_pseudo_labels(threshold):
    weak, strong = draw(12, 3), draw(12, 3, seed=5)
    expected = 0.0
    for one, other in zip(weak, strong, strict=True):
        confidence = max(chances(one))
        if confidence >= threshold:
            expected -= log(chances(other)[int(one.argmax())]) / 12
    loss = fixmatch_loss(weak, strong, threshold=threshold)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_fixmatch_loss_has_no_gradient_through_the_weak_views():
    weak, strong = draw(4, 3).requires_grad_(), draw(4, 3, seed=5).requires_grad_()
    fixmatch_loss(weak, strong, threshold=0.0).backward()
    assert weak.grad is None
    assert strong.grad is not None


def weights_of(targets, at, **numbers):
    even = torch.zeros(3)
    terms = make_losses(Recipe(**numbers), targets, torch.device("cpu"), drawn=even, labeled=even)
    return {name: weight(at) for name, (weight, _) in terms.items()}


def test_soft_labels_decay_while_labels_and_pseudo_labels_keep_their_weight():
    soft = SoftLabels(torch.full((2, 3), 1 / 3), accuracy=0.5)
    kept = {"labels": 0.5, "agreement": 0.5, "fixmatch": 1.0}
    assert weights_of(soft, 0.0) == {**kept, "target": 0.5}
    assert weights_of(soft, 1.0) == {**kept, "target": 0.0}
    assert weights_of(soft, 0.5, soft_label_decay=0.4)["target"] == pytest.approx(0.4)
    assert weights_of(soft, 0.5, pseudo_label_weight=0) == {"labels": 0.5, "target": 0.25}


def test_the_label_loss_demands_more_of_rare_classes():
    student = create_student("mobilenetv3_small_050", 3, start="random", image_size=32)
    batch = Batch(torch.zeros(2, 3, 32, 32), torch.tensor([0, 2]), torch.empty(0).long(), 0)
    phi = student.embed(batch.images)
    prior = torch.tensor([0.0, -1.0, -2.0])
    cpu, even = torch.device("cpu"), torch.zeros(3)
    _, loss = make_losses(Recipe(), None, cpu, drawn=prior, labeled=even)["labels"]
    logits = (student.classify(phi) + prior).detach()
    expected = -np.mean([log(chances(logits[0])[0]), log(chances(logits[1])[2])])
    assert float(loss(student, phi, batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_pseudo_labels_of_rare_classes_need_smaller_logits():
    student = create_student("mobilenetv3_small_050", 3, start="random", image_size=32)
    batch = Batch(torch.zeros(1, 3, 32, 32), torch.tensor([0]), torch.tensor([5, 6]), 0)
    phi = torch.randn(5, student.embed(torch.zeros(2, 3, 32, 32)).shape[1])
    labeled = torch.tensor([0.0, -9.0, -9.0])
    recipe = Recipe(fixmatch_weight=1.0, fixmatch_threshold=0.0)
    _, loss = make_losses(recipe, None, torch.device("cpu"), drawn=torch.zeros(3), labeled=labeled)[
        "fixmatch"
    ]
    weak, strong = student.classify(phi[1:]).detach().split(2)
    assert (weak - labeled).argmax(dim=1).min() > 0
    expected = fixmatch_loss(weak - labeled, strong, threshold=0.0)
    assert float(loss(student, phi, batch).detach()) == pytest.approx(float(expected))


def test_without_teachers_there_are_labels_only_and_the_source_loss_never_decays():
    assert weights_of(None, 0.5) == {"labels": 1.0}
    fixmatch = weights_of(None, 0.5, fixmatch_weight=1.0)
    assert fixmatch == {"labels": 1.0, "fixmatch": 1.0}
    source = SourceTargets((SourceProbabilities.from_logits(np.zeros((2, 3), np.float32)),), (1.0,))
    assert weights_of(source, 1.0, label_weight=0.8) == pytest.approx(
        {"labels": 0.8, "source": 0.2}
    )
