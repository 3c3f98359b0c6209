"""Recipe: the hyperparameters of a training run, with their bounds and sources."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training run.

    Sources: "ours" was chosen by this project; a paper is named where its value is used.

    Attributes:
        updates: optimizer steps (ours).
        labeled_batch: labeled images per update (ours).
        unlabeled_batch: target images per update for the losses that need no label (ours).
        learning_rate: peak learning rate of AdamW (ours).
        weight_decay: of AdamW, for weight matrices only (ours).
        warmup: fraction of the updates with linear warm-up (ours).
        label_weight: lambda, the weight of the labels against the teachers, 0..1 (ours; Borup et
            al., 2023: 0.8, from memory).
        soft_label_decay: fraction of the soft labels' weight that is gone by the last update,
            linearly (ours).
        pseudo_label_weight: weight of pseudo-labels next to soft labels, both those of teachers and
            student together and the student's own (FixMatch); 0 turns them off (ours).
        pseudo_label_threshold: minimum probability of such a pseudo-label of both (ours).
        fixmatch_weight: weight of FixMatch's loss in a run of any method (FixMatch: 1).
        fixmatch_threshold: minimum confidence of a FixMatch pseudo-label (FixMatch: 0.95).
        label_smoothing: of the labeled loss (ours).
        min_area: smallest fraction of the image that a random crop keeps (ours).
        flip: random horizontal flips: wrong for digits, signs and letters (ours).
        color: strength of brightness, contrast and saturation jitter in every view (ours).
        ema_decay: decay of the exponential moving average of the student's weights; 0 turns it off
            (FixMatch: 0.999, for far longer runs).
        seed: random seed of the run.

    Example:
        >>> from distill import Recipe
        >>> Recipe(updates=2000, flip=True)
    """

    updates: int = 400
    labeled_batch: int = 32
    unlabeled_batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.1
    label_weight: float = 0.5
    soft_label_decay: float = 1.0
    pseudo_label_weight: float = 1.0
    pseudo_label_threshold: float = 0.8
    fixmatch_weight: float = 0.0
    fixmatch_threshold: float = 0.95
    label_smoothing: float = 0.0
    min_area: float = 0.5
    flip: bool = False
    color: float = 0.2
    ema_decay: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "updates": (1, inf),
            "labeled_batch": (2, inf),
            "unlabeled_batch": (2, inf),
            "learning_rate": (0, 1),
            "weight_decay": (0, 10),
            "warmup": (0, 1),
            "label_weight": (0, 1),
            "soft_label_decay": (0, 1),
            "pseudo_label_weight": (0, inf),
            "pseudo_label_threshold": (0, 1),
            "fixmatch_weight": (0, inf),
            "fixmatch_threshold": (0, 1),
            "label_smoothing": (0, 1),
            "min_area": (0.05, 1),
            "color": (0, 1),
            "ema_decay": (0, 1),
            "seed": (0, 2**31),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}: must be between {low} and {high}")
