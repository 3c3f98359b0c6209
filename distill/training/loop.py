"""train: the one loop behind transfer, FixMatch, every distillation and every new teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.recipe import Recipe
from distill.student import Student, create_student
from distill.training.accumulation import Halving
from distill.training.batches import Batch, Batches
from distill.training.checkpoint import Checkpoint, delete_checkpoint
from distill.training.convolutions import fast_convolutions
from distill.training.losses import loss_terms
from distill.training.parallel import (
    average_over,
    check_agreement,
    check_batches,
    own_part,
    shared_norms,
)
from distill.training.targets import Objective, SoftLabels, SourceTargets, Targets, make_targets
from distill.training.tensorboard import Record
from zoo.errors import StudentError
from zoo.features.inference import normalize
from zoo.features.store import Features
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.devices import autocast, to_device
from zoo.system.distributed import SINGLE, Processes
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HISTORY_EVERY = 10


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run made.

    Attributes:
        network: the student's network with the target head, in evaluation mode, on the CPU.
        preprocessing: how it wants its images.
        history: one entry per ten updates: `update`, `rate` and the mean of each loss.
        seconds: wall time of the updates.
        warning: what went wrong without stopping the run, such as a state that could not be kept.
        state: file that the finished run can be had from again, to be deleted once the student is
            saved.
        soft_label_accuracy: of the teachers' soft labels, see `SoftLabels`; None without.
    """

    network: nn.Module
    preprocessing: Preprocessing
    history: list[dict[str, float]]
    seconds: float
    warning: str = ""
    state: Path | None = None
    soft_label_accuracy: float | None = None


def train(
    images: Images,
    recipe: Recipe,
    *,
    arch: str,
    features: Mapping[str, Features] | None = None,
    shares: Mapping[str, float] | None = None,
    objective: Objective = "target",
    start: str = "builtin",
    model_args: Mapping[str, Any] | None = None,
    image_size: int = 64,
    device: torch.device | None = None,
    checkpoints: Path | None = None,
    processes: Processes = SINGLE,
    progress: Progress | None = None,
    record: Record | None = None,
) -> Trained:
    """Train a student on images, some labeled, with any teachers.

    Args:
        images: N target images; labels may be missing for most.
        recipe: the numbers of the run.
        arch: timm's name of the student.
        features: the outputs of each teacher for the N images.
        shares: alpha_s of each teacher, summing to 1; empty for no teachers.
        objective: whether the student imitates them in the target's classes or in theirs.
        start: where the initial weights come from, see `create_student`.
        model_args: further arguments of timm's factory.
        image_size: S, pixels.
        device: where to compute; the CPU if not given.
        checkpoints: a folder for the state of the run: the same run, killed, goes on from it.
        processes: those of torchrun that teach this student together.
        progress: called after every update; what it raises stops the run, its state kept.
        record: called with every entry of the history as soon as it is there.

    Raises:
        ZooError: there are no labels, a teacher with a share cannot teach, or it diverged.
    """
    images.check_labels()
    targets = make_targets(objective, features or {}, shares or {}, images.labels)
    student = create_student(
        arch,
        len(images.classes),
        groups=targets.groups if isinstance(targets, SourceTargets) else (),
        start=start,
        model_args=model_args,
        seed=recipe.seed,
    )
    preprocessing = Preprocessing(image_size, MEAN, STD, "bicubic")
    return fit(
        student,
        torch.from_numpy(decode_images(images.paths, preprocessing, digests=images.digests)),
        torch.from_numpy(images.labels),
        recipe,
        targets=targets,
        preprocessing=preprocessing,
        device=device or torch.device("cpu"),
        checkpoints=checkpoints,
        processes=processes,
        progress=progress,
        record=record,
    )


def fit(
    student: Student,
    pixels: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    targets: Targets | None,
    preprocessing: Preprocessing,
    device: torch.device,
    checkpoints: Path | None = None,
    processes: Processes = SINGLE,
    progress: Progress | None = None,
    record: Record | None = None,
) -> Trained:
    """The loop: pixels [N, 3, S, S] uint8, labels [N] with -1 for unknown; see `train`."""
    depends = [*student.state_dict().values(), pixels, labels]
    run = fingerprint(recipe, [*depends, *(targets.tensors if targets else ())])
    check_batches(recipe, processes)
    to_device(student, device).train()
    terms = loss_terms(recipe, targets, device)
    strong = not terms.keys().isdisjoint({"agreement", "consistency"})
    batches = Batches(pixels, labels, recipe, unlabeled=len(terms) > 1, strong=strong)
    optimizer = make_optimizer(student, recipe)
    weights = student.state_dict()  # the tensors themselves: they change with the student
    # the source heads are thrown away: nobody asks for their average
    average = {n: value.clone() for n, value in weights.items() if not n.startswith("sources.")}
    path = checkpoints / f"{run}.safetensors" if checkpoints else None
    checkpoint = Checkpoint(path, run, student, average, optimizer)
    first = resume(checkpoint, processes)
    progress = progress or (lambda *_: None)
    halving = Halving(processes)

    def learn(batch: Batch) -> dict[str, Tensor]:
        """Add the gradient of the weighted losses to the student's; each of them."""
        with autocast(device):
            phi = student.embed(normalize(batch.images.to(device), preprocessing))
        phi = phi.float()
        losses = {name: term(student, phi, batch) for name, (_, term) in terms.items()}
        at = batch.step / recipe.updates
        weighted = [weight(at) * losses[name] for name, (weight, _) in terms.items()]
        torch.stack(weighted).sum().backward()
        return {name: loss.detach() for name, loss in losses.items()}

    with fast_convolutions(student), shared_norms(student, processes):
        for step, whole in batches.ahead(first):
            rate = set_rate(optimizer, recipe, step)
            losses = halving.gradient(learn, own_part(whole, processes), student)
            average_over(processes, [parameter.grad for parameter in student.parameters()])
            optimizer.step()
            update_ema(average, weights, min(recipe.ema_decay, (1 + step) / (10 + step)))
            if (step + 1) % HISTORY_EVERY == 0 or step + 1 == recipe.updates:
                shown = torch.stack([losses[name] for name in terms])
                average_over(processes, [shown])
                values = dict(zip(terms, shown.tolist(), strict=True))
                checkpoint.history.append({"update": step + 1, "rate": rate, **values})
                if record:
                    record(checkpoint.history[-1])
            checkpoint.keep(step + 1)
            with checkpoint.kept(step + 1):
                progress(step + 1, recipe.updates)
    seconds, state = checkpoint.seconds, checkpoint.finish(recipe.updates)
    check_finite(average, state)
    student.load_state_dict(average, strict=False)
    network = student.network.cpu().eval()
    warning = " ".join(filter(None, (checkpoint.warning, halving.note)))
    history = checkpoint.history
    accuracy = targets.accuracy if isinstance(targets, SoftLabels) else None
    return Trained(network, preprocessing, history, seconds, warning, state, accuracy)


def resume(checkpoint: Checkpoint, processes: Processes) -> int:
    """Put the saved state back in every process; how many updates it had. One writes the next."""
    updates = checkpoint.restore()
    check_agreement(updates, processes)
    if not processes.is_first:
        checkpoint.path = None
    return updates


def check_finite(weights: Mapping[str, Tensor], state: Path | None) -> None:
    """Make sure that a student can be saved.

    Raises:
        StudentError: the training diverged; its state is gone.
    """
    if not all(value.half().isfinite().all() for value in weights.values()):
        delete_checkpoint(state)
        raise StudentError(
            "The training diverged: the student's weights do not fit float16. "
            "Try another --seed, --start or --image-size."
        )


def fingerprint(recipe: Recipe, tensors: Iterable[Tensor]) -> str:
    """SHA-256 of all that a run depends on: its numbers, initial weights, images and targets."""
    digest = hashlib.sha256(repr(recipe).encode())
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return digest.hexdigest()


def make_optimizer(student: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases and the scales of normalization layers do not decay."""
    weights = [p for p in student.parameters() if p.ndim > 1]
    others = [p for p in student.parameters() if p.ndim <= 1]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to zero; returns the rate of this update."""
    warm = max(1, round(recipe.warmup * recipe.updates))
    left = (step - warm) / max(1, recipe.updates - warm)
    share = (step + 1) / warm if step < warm else (1 + cos(pi * left)) / 2
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * share
    return recipe.learning_rate * share


@torch.no_grad()
def update_ema(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """Move the averaged weights towards the student's; counters are copied."""
    moving = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_(  # pyright: ignore
        [average[name] for name in moving], [weights[name] for name in moving], 1 - decay
    )
    for name in average.keys() - moving:
        average[name].copy_(weights[name])
