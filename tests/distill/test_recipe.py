"""Recipe: every number has bounds."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from distill.recipe import Distillation, Recipe

OUTSIDE = {
    "updates": (-1,),
    "labeled_batch": (1,),
    "class_balance": (-0.1, 1.1),
    "unlabeled_batch": (1,),
    "learning_rate": (-0.1, 1.1),
    "weight_decay": (-0.1, 11),
    "warmup": (-0.1, 1.1),
    "label_weight": (-0.1, 1.1),
    "soft_label_decay": (-0.1, 1.1),
    "pseudo_label_weight": (-0.1,),
    "pseudo_label_threshold": (-0.1, 1.1),
    "fixmatch_weight": (-0.1,),
    "fixmatch_threshold": (-0.1, 1.1),
    "label_smoothing": (-0.1, 1.1),
    "min_area": (0.0, 1.1),
    "color": (-0.1, 1.1),
    "ema_decay": (-0.1, 1.1),
    "frozen": (-0.1, 1.1),
    "views": (0,),
    "seed": (-1, 2**32),
}


@pytest.mark.parametrize(("name", "values"), OUTSIDE.items())
def test_a_number_outside_its_bounds_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            replace(Recipe(), **{name: value})


def test_every_number_of_a_recipe_has_bounds_and_a_description():
    names = {field.name for field in fields(Recipe)}
    assert names - {"flip", "frozen_norms"} == OUTSIDE.keys()
    assert all(f"        {name}: " in (Recipe.__doc__ or "") for name in names)


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="learning_rate"):
        Recipe(learning_rate=float("nan"))


def test_a_recipe_does_not_change_once_made():
    with pytest.raises(FrozenInstanceError):
        Recipe().updates = 5  # pyright: ignore


def test_a_method_changes_its_own_run_and_nothing_of_another_method():
    own = Recipe(updates=9)
    for first in ("probe", "fixmatch", "transfer"):
        how = Distillation(method=first, recipe=own)
        found = {
            name: replace(how, method=name).method_recipe
            for name in ("probe", "fixmatch", "transfer", "weighted")
        }
        assert found["probe"] == replace(own, updates=0)
        assert found["fixmatch"] == replace(own, fixmatch_weight=1)
        assert found["transfer"] == found["weighted"] == own
    half = Distillation(method="fixmatch", recipe=Recipe(fixmatch_weight=0.5))
    assert half.method_recipe.fixmatch_weight == 0.5


def test_numbers_of_numpy_become_those_of_python_and_what_is_no_number_is_refused():
    given = Recipe(seed=np.int64(3), learning_rate=np.float32(0.5))  # pyright: ignore
    assert repr(given) == repr(Recipe(seed=3, learning_rate=0.5))
    for name, value in (
        ("updates", 2.5), ("updates", True), ("views", 2.5), ("seed", "1"), ("color", "0.2"),
        ("color", True),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} is {value!r}: must be a (whole|real) number"):
            Recipe(**{name: value})  # pyright: ignore
    for size in (0, -3, 64.5):
        with pytest.raises(ValueError, match=f"image_size is {size}"):
            Distillation(image_size=size)  # pyright: ignore
