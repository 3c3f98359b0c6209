"""Calibration of a student: a temperature from held-out predictions, kept in its classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distill.network import find_head
from zoo.features.linear_probe import fit_temperature

FOLDS = 3
"""Students that are trained for it, each without the labels of a fold."""


def find_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that makes the labels of held-out images most likely under softmax(logits / T).

    Guo et al., ICML 2017; with one image more of which every class is equally likely, so that few
    images that are all right do not make a student certain.

    Args:
        probabilities: [N, C], by students that did not learn these labels.
        labels: [N], classes 0..C-1.

    Returns:
        T, from 0.01 to 10; above 1 for students that are too certain.

    Example:
        >>> rows = np.full((10, 2), [0.99, 0.01], np.float32)
        >>> find_temperature(rows, np.arange(10) % 2) > 5
        True
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
