"""Tiny runs of training, for tests to compare."""

import torch

from distill.recipe import Recipe
from distill.training.loop import train

RECIPE = Recipe(updates=4, labeled_batch=4, unlabeled_batch=4, seed=2)
SHARES = {"ant": 0.75, "bee": 0.25}


def run(images, recipe=RECIPE, **options):
    return train(
        images, recipe, **{"arch": "test_resnet", "start": "random", "image_size": 32, **options}
    )


def weights(trained):
    return torch.cat([v.flatten().float() for v in trained.network.state_dict().values()])


def same(one, other):
    return torch.equal(weights(one), weights(other))
