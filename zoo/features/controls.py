"""Controls: features of domain-agnostic baselines, which a teacher has to beat."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zoo.features.extraction import extract_together
from zoo.features.store import Features, FeatureStore
from zoo.images.decoding import decode_images
from zoo.images.folder import Images
from zoo.system.runtime import Runtime
from zoo.teachers.card import Preprocessing, TeacherCard
from zoo.teachers.catalogue import STUDENTS

STATISTICS = "image statistics"
RANDOM = "random network"
START = "initial student"
NAMES = (STATISTICS, RANDOM, START)

_FORM = Preprocessing(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")
_GRID = 4


def extract_controls(images: Images, runtime: Runtime | None = None) -> dict[str, Features]:
    """Features of the controls for N images, by name, stored like those of teachers.

    `image statistics` are the mean and deviation of each channel in the cells of a 4 x 4 grid;
    `random network` is an untrained ResNet-18-D; `initial student` is the embedded initial student.
    """
    runtime = runtime or Runtime()
    store = FeatureStore(runtime.cache / "features")
    distinct, again = images.distinct()
    found: dict[str, Features] = {}
    for name, run in ((STATISTICS, _describe), (RANDOM, _embed_randomly)):
        key = f"control-{name.replace(' ', '-')}-1"
        known, features = store.read(key, distinct.digests)
        if features is None or not known.all():
            pixels = decode_images(distinct.paths, _FORM, digests=distinct.digests)
            features = run(pixels, runtime.device)
            with suppress(OSError):  # the next run computes them again
                store.write(key, distinct.digests, features)
        found[name] = features.rows(again)
    return found | extract_together([start_card()], images, runtime).features


def start_card() -> TeacherCard:
    """The card of the initial student among the controls."""
    return replace(TeacherCard.load(STUDENTS / "mobilenetv3_small_100"), name=START)


def _describe(pixels: NDArray[np.uint8], _device: str) -> Features:
    """Mean and deviation of each channel in each cell of a grid, [N, 96]."""
    count, channels, size, _ = pixels.shape
    edge = size // _GRID
    cells = pixels[:, :, : edge * _GRID, : edge * _GRID].reshape(
        count, channels, _GRID, edge, _GRID, edge
    )
    means = cells.mean(axis=(3, 5), dtype=np.float32)
    deviations = cells.astype(np.float32).std(axis=(3, 5))
    rows = np.concatenate([means.reshape(count, -1), deviations.reshape(count, -1)], axis=1)
    return Features(rows, np.empty((count, 0), np.float32))


def _embed_randomly(pixels: NDArray[np.uint8], device: str) -> Features:
    """Embeddings of a network with random weights, [N, 512]."""
    import timm
    import torch

    from zoo.features.inference import embed
    from zoo.system.devices import choose_device, to_device
    from zoo.teachers.loading import Teacher

    place = choose_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("resnet18d", num_classes=0)
    card = TeacherCard(
        RANDOM, "", "", "resnet18d", 0, "", "", "", preprocessing=_FORM, evidence="measured"
    )
    return embed(Teacher(card, to_device(network, place).eval(), place), pixels)
