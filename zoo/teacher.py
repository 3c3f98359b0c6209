"""Load a teacher's network and observe images with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .card import Preprocessing


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Images [B, 3, S, S] in 0..1, less the mean, over the standard deviation."""
    mean = images.new_tensor(preprocessing.mean)[:, None, None]
    std = images.new_tensor(preprocessing.std)[:, None, None]
    return (images - mean) / std


def preprocessing_of(config: Mapping[str, Any]) -> Preprocessing:
    """timm's `pretrained_cfg` as a Preprocessing.

    Raises:
        ValueError, KeyError: it asks for something that is not supported.
    """
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ValueError(f"the input size {config['input_size']} is not 3 x S x S")
    return Preprocessing(
        size=height,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config.get("interpolation", "bilinear"),
        crop_pct=config.get("crop_pct", 1.0),
        crop_mode=config.get("crop_mode", "center"),
    )
