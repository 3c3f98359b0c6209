"""Recipe: the numbers of a training run, with their bounds and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Recipe:
    """The numbers of a run.

    "Ours" is a number of this project's, "paper" one of the method's paper, "recollection" one
    that is remembered from the paper and was not checked.

    Attributes:
        updates: steps of the optimizer (ours).
        labeled_batch: labeled images per update (ours).
        unlabeled_batch: target images per update for the terms that need no label (ours).
        learning_rate: of AdamW, at its peak (ours).
        weight_decay: of AdamW, for weight matrices only (ours).
        warmup: share of the updates in which the learning rate climbs (ours).
        label_weight: lambda, the weight of the labels against the teachers (ours; the paper's
            is recollected as 0.8).
        soft_label_decay: share of the weight of the teachers' soft labels that is gone by the last
            update, linearly (ours).
        agreement: weight of pseudo-labels beside the soft labels: those that teachers and student
            make together, and the student's own by FixMatch's term; 0 leaves them out (ours).
        certainty: probability above which a pseudo-label made together counts (ours).
        consistency: weight of FixMatch's term in a run of any kind (FixMatch: 1).
        threshold: FixMatch's confidence above which a pseudo-label counts (FixMatch: 0.95).
        label_smoothing: of the labeled term (ours).
        min_area: smallest share of the image that a random crop keeps (ours).
        flip: mirror half of the images: wrong for digits, signs and letters (ours).
        color: strength of brightness, contrast and saturation changes in every view (ours).
        ema_decay: decay of the average over the student's weights; 0 leaves it out
            (FixMatch: 0.999, for far longer runs).
        seed: of everything random in the run.
    """

    updates: int = 400
    labeled_batch: int = 32
    unlabeled_batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.1
    label_weight: float = 0.5
    soft_label_decay: float = 1.0
    agreement: float = 1.0
    certainty: float = 0.8
    consistency: float = 0.0
    threshold: float = 0.95
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
            "agreement": (0, inf),
            "certainty": (0, 1),
            "consistency": (0, inf),
            "threshold": (0, 1),
            "label_smoothing": (0, 1),
            "min_area": (0.05, 1),
            "color": (0, 1),
            "ema_decay": (0, 1),
            "seed": (0, 2**31),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}: it lies between {low} and {high}")
