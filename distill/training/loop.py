"""train: the loop of transfer learning, FixMatch and distillation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.network import find_head
from distill.recipe import TRAINING_FORMAT, Objective, Recipe
from distill.student import (
    Student,
    choose_frozen,
    choose_image_size,
    create_student,
    student_preprocessing,
)
from distill.training.batches import Batch, Batches, log_prior
from distill.training.checkpoint import Checkpoint, delete_checkpoint
from distill.training.convolutions import fast_convolutions
from distill.training.freezing import FrozenBatches, find_frozen_part, run_frozen_part
from distill.training.head import initialize_head
from distill.training.losses import make_losses
from distill.training.norms import estimate_norms, norms_of, sync_batch_norms
from distill.training.parallel import (
    GradientAccumulation,
    all_reduce_mean,
    check_batches,
    shard_batch,
)
from distill.training.targets import SoftLabels, SourceTargets, Targets, make_targets
from distill.training.tracking import Record
from zoo.errors import StudentError
from zoo.features.inference import normalize
from zoo.features.store import Features
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.devices import autocast, choose_device, to_device
from zoo.system.distributed import SINGLE, Processes
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing
from zoo.teachers.starts import Start, find_start

HISTORY_EVERY = 10


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a run.

    Attributes:
        network: the student's network with the target head, in evaluation mode, on the CPU.
        preprocessing: of its images.
        history: one entry per ten updates: `update`, `rate` and each loss on that update's batch.
        seconds: wall time of the updates.
        warning: problems that did not stop the run; empty without any.
        state: checkpoint of the finished run, to be deleted once the student is saved.
        soft_label_accuracy: of the teachers' soft labels, see `SoftLabels`; None without.
        start: the initial weights; None where `fit` was called with a student.

    Example:
        >>> trained = train(images, Recipe(), arch="mobilenetv3_small_100")
        >>> trained.network, trained.history[-1]
    """

    network: nn.Module
    preprocessing: Preprocessing
    history: list[dict[str, float]]
    seconds: float
    warning: str = ""
    state: Path | None = None
    soft_label_accuracy: float | None = None
    start: Start | None = None


def train(
    images: Images,
    recipe: Recipe,
    *,
    arch: str,
    features: Mapping[str, Features] | None = None,
    shares: Mapping[str, float] | None = None,
    objective: Objective = "target",
    start: str = "auto",
    model_args: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    device: torch.device | str | None = None,
    checkpoints: Path | None = None,
    processes: Processes = SINGLE,
    progress: Progress | None = None,
    decoding: Progress | None = None,
    preparing: Progress | None = None,
    record: Record | None = None,
) -> Trained:
    """Train a student on images, some labeled, with any teachers.

    Args:
        images: N target images, some of them labeled.
        recipe: hyperparameters.
        arch: timm's name of the student.
        features: the outputs of each teacher for the N images.
        shares: alpha_s of each teacher, summing to 1; empty for no teachers.
        objective: distillation in the target's classes or in the teachers'.
        start: source of the initial weights, see `zoo.teachers.starts.find_start`.
        model_args: further arguments of timm's factory.
        image_size: S, pixels; chosen by `choose_image_size` if not given.
        device: `auto`, or a device of torch; the CPU if not given.
        checkpoints: folder of checkpoints: a killed run resumes from there.
        processes: of a data-parallel run.
        progress: called after every update; an exception from it stops the run with a checkpoint.
        decoding: called for each image that is decoded.
        preparing: called for views that are run through frozen blocks before the first update.
        record: called with every new entry of the history.

    Raises:
        ZooError: there are no labels, a teacher with a share has no classes, or training diverged.

    Example:
        >>> from distill import Recipe, train
        >>> shares = {"food": 0.75, "aerial": 0.25}
        >>> train(images, Recipe(), arch="resnet18", features=features, shares=shares)
    """
    images.check_labels()
    targets = make_targets(objective, features or {}, shares or {}, images.labels)
    initial = find_start(start, arch).fetch()
    recipe = replace(recipe, frozen=choose_frozen(recipe.frozen, initial))
    place = choose_device(device or "cpu")
    size = image_size or choose_image_size(images, initial, place)
    student = create_student(
        arch,
        len(images.classes),
        groups=targets.groups if isinstance(targets, SourceTargets) else (),
        start=initial,
        model_args=model_args,
        image_size=size,
        seed=recipe.seed,
    )
    preprocessing = student_preprocessing(initial, size)
    pixels = decode_images(images.paths, preprocessing, digests=images.digests, progress=decoding)
    trained = fit(
        student,
        torch.from_numpy(pixels),
        torch.from_numpy(images.labels),
        recipe,
        targets=targets,
        preprocessing=preprocessing,
        pretrained=not initial.is_random,
        device=place,
        checkpoints=checkpoints,
        processes=processes,
        progress=progress,
        preparing=preparing,
        record=record,
    )
    return replace(trained, start=initial)


def fit(
    student: Student,
    pixels: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    targets: Targets | None,
    preprocessing: Preprocessing,
    device: torch.device,
    pretrained: bool = False,
    checkpoints: Path | None = None,
    processes: Processes = SINGLE,
    progress: Progress | None = None,
    record: Record | None = None,
    preparing: Progress | None = None,
    stands_for: tuple[int, int] | None = None,
) -> Trained:
    """The loop: pixels [N, 3, S, S] uint8, labels [N] with -1 for unknown; see `train`.

    `pretrained` says that the initial weights are not random: some may be frozen. A measured run
    stands for one of so many images and updates, see `run_frozen_part`.
    """
    depends = [*student.state_dict().values(), pixels, labels]
    # the student itself too: equal weights may be of two networks
    settings = (TRAINING_FORMAT, recipe, preprocessing, pretrained, student)
    run = fingerprint(settings, [*depends, *(targets.tensors if targets else ())])
    check_batches(recipe, processes)
    to_device(student, device).eval()
    if pretrained or not recipe.updates:
        with fast_convolutions(student):
            initialize_head(student, pixels, labels, targets, preprocessing, device)
    student.load_state_dict(processes.share(student.state_dict))  # rounded by one processor
    classes = len(find_head(student.network).weight)
    losses = make_losses(
        recipe, targets, device,
        drawn=log_prior(labels, classes, recipe.class_balance),
        labeled=log_prior(labels, classes, 0),
    )  # fmt: skip
    strong = not losses.keys().isdisjoint({"agreement", "fixmatch"})
    batches = Batches(pixels, labels, recipe, unlabeled=len(losses) > 1, strong=strong)
    part = find_frozen_part(student, recipe, pixels, preprocessing, device) if pretrained else None
    if part:
        with fast_convolutions(student):
            batches = run_frozen_part(part, batches, preprocessing, device, stands_for, preparing)
    kept = isinstance(batches, FrozenBatches)
    student.train()
    if part:
        part.freeze()
    fixed_norms = pretrained and recipe.frozen_norms
    if fixed_norms:
        for norm in norms_of(student):
            norm.eval()
    optimizer = make_optimizer(student, recipe)
    weights = student.state_dict()  # the tensors themselves: they change with the student
    # the source heads are discarded after training: they need no average
    average = {n: value.clone() for n, value in weights.items() if not n.startswith("sources.")}
    path = checkpoints / f"{run}.safetensors" if checkpoints else None
    checkpoint = Checkpoint(path, run, student, average, optimizer)
    first = checkpoint.load(recipe.updates, processes)
    if not processes.is_first:
        checkpoint.path = None  # only the first process saves
    progress = progress or (lambda *_: None)
    accumulation = GradientAccumulation(processes)

    def backward(batch: Batch) -> dict[str, Tensor]:
        """Add the gradient of the weighted losses to the student's; returns each loss."""
        with autocast(device):
            images = batch.images.to(device)
            phi = student.embed(images if kept else normalize(images, preprocessing))
        phi = phi.float()
        values = {name: loss(student, phi, batch) for name, (_, loss) in losses.items()}
        done = batch.step / recipe.updates
        weighted = [weight(done) * values[name] for name, (weight, _) in losses.items()]
        torch.stack(weighted).sum().backward()
        return {name: value.detach() for name, value in values.items()}

    skipped = part.skipped() if part and kept else nullcontext()
    with fast_convolutions(student), sync_batch_norms(student, processes), skipped:
        for step, batch in batches.prefetch(first):
            rate = set_rate(optimizer, recipe, step)
            shard = shard_batch(batch, processes.rank, processes.count)
            values = accumulation.accumulate(backward, shard, student)
            all_reduce_mean(processes, [parameter.grad for parameter in student.parameters()])
            optimizer.step()
            update_ema(average, weights, min(recipe.ema_decay, (1 + step) / (10 + step)))
            if (step + 1) % HISTORY_EVERY == 0 or step + 1 == recipe.updates:
                means = torch.stack(list(values.values()))
                all_reduce_mean(processes, [means])
                entry = dict(zip(values, means.tolist(), strict=True))
                checkpoint.history.append({"update": step + 1, "rate": rate, **entry})
                if record:
                    record(checkpoint.history[-1])
            checkpoint.save(step + 1)
            with checkpoint.save_on_error(step + 1):
                progress(step + 1, recipe.updates)
    seconds, state = checkpoint.seconds, checkpoint.finish(recipe.updates)
    check_finite(average, state)
    student.load_state_dict(average, strict=False)
    if recipe.updates and not fixed_norms:
        seen = pixels if batches.unlabeled_batch else pixels[batches.labeled_rows]
        estimate_norms(student, seen, preprocessing, device)
    network = student.network.cpu().eval()
    warning = " ".join(filter(None, (checkpoint.warning, accumulation.note)))
    history = checkpoint.history
    accuracy = targets.accuracy if isinstance(targets, SoftLabels) else None
    return Trained(network, preprocessing, history, seconds, warning, state, accuracy)


def check_finite(weights: Mapping[str, Tensor], state: Path | None) -> None:
    """Raise a StudentError, and delete the checkpoint, if averaged weights do not fit float16."""
    if not all(value.half().isfinite().all() for value in weights.values()):
        delete_checkpoint(state)
        raise StudentError(
            "Training diverged: the student's weights do not fit float16. "
            "Try another --seed, --start or --image-size."
        )


def fingerprint(settings: object, tensors: Iterable[Tensor]) -> str:
    """SHA-256 of a run's inputs: its settings, initial weights, images, labels and targets."""
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return digest.hexdigest()


def make_optimizer(student: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW without weight decay for biases and normalization layers."""
    weights = [p for p in student.parameters() if p.ndim > 1 and p.requires_grad]
    others = [p for p in student.parameters() if p.ndim <= 1 and p.requires_grad]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> float:
    """Set the learning rate of an update, linear warm-up then cosine to zero; returns it."""
    warm = max(1, round(recipe.warmup * recipe.updates))
    left = (step - warm) / max(1, recipe.updates - warm)
    share = (step + 1) / warm if step < warm else (1 + cos(pi * left)) / 2
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * share
    return recipe.learning_rate * share


@torch.no_grad()
def update_ema(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """Update the moving average of the weights in place; counters are copied."""
    moving = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_(  # pyright: ignore
        [average[name] for name in moving], [weights[name] for name in moving], 1 - decay
    )
    for name in average.keys() - moving:
        average[name].copy_(weights[name])
