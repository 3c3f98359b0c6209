"""Calibration of probabilities: a cross-validated temperature, kept in the student's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distill.evaluation.evaluate import predict
from distill.evaluation.folds import split
from distill.network import find_head
from distill.training.checkpoint import delete_checkpoint
from zoo.features.linear_probe import fit_temperature
from zoo.images.folder import Images

if TYPE_CHECKING:
    from distill.training.loop import Trained

FOLDS = 3
"""Students that are trained for a calibration, each without the labels of a fold."""


def calibration_folds(images: Images) -> list[tuple[Images, Images]]:
    """Images to train the students on that calibrate, and those to test them on.

    Raises:
        ImagesError: a class has too few labeled images.
    """
    return split(images, FOLDS, advice="leave out --calibrate")


def cross_validate_temperature(
    images: Images, train: Callable[[Images], Trained], device: str
) -> float:
    """The temperature of a student of all images, by students of a cross-validation."""
    found, labels = list[NDArray[np.float32]](), list[NDArray[np.int64]]()
    for part, test in calibration_folds(images):
        trained = train(part)
        found.append(predict(trained.network, test, trained.preprocessing, device=device))
        labels.append(test.labels)
        delete_checkpoint(trained.state)
    return find_temperature(np.concatenate(found), np.concatenate(labels))


def find_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that makes the labels of held-out images most likely under softmax(logits / T).

    Guo et al., ICML 2017; with one image more of which every class is equally likely, so that few
    images that are all right do not make a student certain. From probabilities [N, C] by students
    that did not learn the labels [N]; 0.01 to 10, above 1 for students that are too certain.
    """
    count, classes = probabilities.shape
    targets = (np.eye(classes)[labels] + 1 / classes / count) / (1 + 1 / count)
    return fit_temperature(np.log(probabilities.astype(np.float64).clip(min=1e-30)), targets)


def divide_logits(network: nn.Module, temperature: float) -> None:
    """Divide a network's logits by a temperature, in its classifier's weights and bias.

    So whatever loads the saved weights, timm or an exported file, has calibrated probabilities.
    """
    for parameter in find_head(network).parameters():
        parameter.data /= temperature
