"""Recipe: the hyperparameters of a training run, with their bounds and sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Literal, get_args

from zoo.system.arguments import convert_numbers
from zoo.system.runtime import Runtime

if TYPE_CHECKING:
    from zoo.images.folder import Images

Method = Literal["weighted", "nearest", "teachers", "transfer", "fixmatch", "probe"]
RANKED: frozenset[Method] = frozenset({"weighted", "nearest"})
"""Methods whose teachers come from a ranking."""

DISTILLED: frozenset[Method] = frozenset({*RANKED, "teachers"})
"""Methods with teachers."""

Objective = Literal["target", "source"]
"""In whose classes a student imitates its teachers: the target's (ours) or theirs (paper)."""


LARGEST_BATCH = 4096
"""Labeled images of an update, at most: more would fill the memory."""

LARGEST_SEED = 2**31
"""Of a run."""

TRAINING_FORMAT = 1
"""Version of what interrupted runs and comparisons keep: raise it when the same settings begin to
train another student, so that none is trained, or compared, half by the old code."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training run.

    Sources: "ours" was chosen by this project; a paper is named where its value is used.

    Attributes:
        updates: optimizer steps (ours); 0 fits the head alone, in closed form.
        labeled_batch: labeled images per update (ours).
        class_balance: how far the classes of labeled images are drawn alike, 0..1: an image of a
            class with n labels is drawn n^-class_balance times as often (ours).
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
        ema_decay: largest decay of the exponential moving average of the student's weights, which
            is (1 + k) / (10 + k) at update k from 0 until then; 0 turns it off (FixMatch: 0.999,
            for far longer runs).
        frozen: fraction of the network's blocks, from the first, that keep their initial weights
            (ours); None chooses it by the initial weights, see `choose_frozen`; random weights are
            always trained.
        views: weak and strong views of each image that are run through the frozen blocks once
            (ours).
        frozen_norms: whether all batch norms keep the statistics of the initial weights (ours);
            those of random weights never do.
        seed: random seed of the run.

    Example:
        >>> from distill import Recipe
        >>> Recipe(updates=2000, flip=True)
    """

    updates: int = 200
    labeled_batch: int = 32
    class_balance: float = 0.5
    unlabeled_batch: int = 64
    learning_rate: float = 1e-3
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
    frozen: float | None = None
    views: int = 4
    frozen_norms: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        convert_numbers(self)
        fractions = (
            "class_balance", "learning_rate", "warmup", "label_weight", "soft_label_decay",
            "pseudo_label_threshold", "fixmatch_threshold", "label_smoothing", "color",
            "ema_decay", "frozen",
        )  # fmt: skip
        bounds: dict[str, tuple[float, float]] = {
            **dict.fromkeys(fractions, (0, 1)),
            **dict.fromkeys(("updates", "pseudo_label_weight", "fixmatch_weight"), (0, inf)),
            **dict.fromkeys(("labeled_batch", "unlabeled_batch"), (2, 2 * LARGEST_BATCH)),
            "weight_decay": (0, 10),
            "min_area": (0.05, 1),
            "views": (1, 100),
            "seed": (0, LARGEST_SEED),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} is {value}: must be between {low} and {high}")


@dataclass(frozen=True)
class Distillation:
    """How a student is to be trained.

    Attributes:
        method: `weighted` or `nearest` teachers of a ranking, `teachers` named in `shares`, or no
            teachers: `transfer`, `fixmatch`, and `probe`, a head on the initial weights.
        shares: share of each teacher by name, for the method `teachers`; others ignore it.
        objective: whether teachers are imitated in the target's classes or in their own.
        zoo: where the teachers are; None for the ranking's zoo, or `builtin`.
        power: share is score to this power; None for the shares in the ranking.
        arch: the student, an alias or timm's name; `auto` is mobilenetv3, or efficientnet_lite0
            where only that has weights of ImageNet on this machine.
        start: initial weights: `auto`, `builtin`, `hub`, `random` or a folder, see
            `zoo.teachers.starts.find_start`.
        image_size: of the student, in pixels; None chooses it, see `choose_image_size`.
        recipe: numbers of the training run; see `method_recipe`.

    Example:
        >>> from distill import Distillation
        >>> Distillation(method="transfer", arch="mobilenetv3_small")
    """

    method: Method = "weighted"
    shares: Mapping[str, float] = field(default_factory=lambda: {})
    objective: Objective = "target"
    zoo: str | None = None
    power: float | None = None
    arch: str = "auto"
    start: str = "auto"
    image_size: int | None = None
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        convert_numbers(self)
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image_size is {self.image_size}: must be 1 or more")
        if self.method not in get_args(Method) or self.objective not in get_args(Objective):
            raise ValueError(f"unknown method {self.method!r} or objective {self.objective!r}")
        if any(not 0 <= share < inf for share in self.shares.values()):
            raise ValueError("shares are numbers of 0 or more")
        if self.method == "teachers" and not sum(self.shares.values()):
            raise ValueError("the method 'teachers' needs shares, one of them above 0")

    @property
    def size(self) -> int:
        """Pixels of the student's images, once `resolve` has chosen them.

        Raises:
            ValueError: it has not.
        """
        if self.image_size is None:
            raise ValueError("the image size is not chosen yet: call resolve()")
        return self.image_size

    @property
    def method_recipe(self) -> Recipe:
        """The recipe as the method trains: FixMatch has its loss, a probe no updates."""
        if self.method == "fixmatch":
            return replace(self.recipe, fixmatch_weight=self.recipe.fixmatch_weight or 1.0)
        return replace(self.recipe, updates=0) if self.method == "probe" else self.recipe

    def resolve(self, images: Images, runtime: Runtime) -> Distillation:
        """The same with timm's name of the student and the size of its images.

        Raises:
            ZooError: the network, its start or the device does not exist, or the network does not
                take images of this size.
        """
        # torch and timm load here, after everything that can be wrong without them
        from distill.student import check_size, choose_frozen, choose_image_size, find_arch
        from zoo.system.devices import choose_device
        from zoo.teachers.starts import find_start

        device = choose_device(runtime.device)
        arch = find_arch(self.arch, self.start)
        start = find_start(self.start, arch)
        size = self.image_size or choose_image_size(images, start, device)
        check_size(arch, size)
        recipe = replace(self.recipe, frozen=choose_frozen(self.recipe.frozen, start))
        return replace(self, arch=arch, image_size=size, recipe=recipe)
