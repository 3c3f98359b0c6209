"""Teach the initial students from an ImageNet network: what a student is before it has a task.

python -m tests.tools.teach_starts --data SOURCES --out DIR --stage teacher|ARCH --until HH:MM,
where SOURCES holds SET/CLASS/images. OpenVINO is needed. Stage `teacher` asks EfficientNet-Lite2
about views of the images; it may run as several processes (`--shard 0/2`, `--shard 1/2`) and stops
by itself. Stage ARCH teaches one student until the time is over. Each stage goes on where it was
killed.
"""

from __future__ import annotations

import argparse
import time
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional

from distill.recipe import Recipe
from distill.student import create_student, save_network
from distill.training.batches import weak_view
from distill.training.convolutions import fast_convolutions
from tests.tools.start_views import (
    ONE_HANDED,
    OTHERS,
    PHOTOS,
    SIZE,
    Store,
    View,
    ask_teacher,
    plan_views,
)
from zoo.system.devices import autocast
from zoo.system.runtime import keep_freed_memory
from zoo.teachers.card import Preprocessing

BATCH, LEARNING_RATE, WEIGHT_DECAY, WARMUP, AVERAGING = 32, 1.5e-3, 0.02, 100, 0.998
FEATURE_WEIGHT, CLASS_WEIGHT = 10.0, 0.5
SMALLER, SMALLER_SHARE = 96, {"mobilenetv3_small_100": 0.6, "mobilenetv3_large_100": 0.75}
"""A part of the time the images are smaller: more of them are seen."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Drawing:
    """Which views to learn from: sets in proportion to their size to the power 0.7."""

    def __init__(self, views: list[View], done: NDArray[np.uint8]) -> None:
        self.views, self.done = views, done
        self.names = list(PHOTOS | OTHERS)
        self.domains = np.array([self.names.index(view.domain) for view in views])
        self.mirrors = np.array([name not in ONE_HANDED for name in self.names])
        self.refresh()

    def refresh(self) -> None:
        """Look which views are done by now."""
        known = self.done == 1
        self.rows = [np.flatnonzero(known & (self.domains == i)) for i in range(len(self.names))]
        share = np.array([len(rows) ** 0.7 for rows in self.rows])
        share[self.names.index("objects")] *= 2.2
        self.share = share / share.sum()

    def __call__(self, count: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """Rows of a batch."""
        chosen = draw.choice(len(self.names), count, p=self.share)
        return np.array([self.rows[i][draw.integers(len(self.rows[i]))] for i in chosen])


def augment(pixels: Tensor, mirrored: Tensor, seed: int) -> Tensor:
    """[B, 3, S, S] uint8 to light views in 0..1: a little smaller, other colours, mirrored."""
    recipe = Recipe(min_area=0.75, flip=False, color=0.25)
    images = weak_view(pixels, recipe, torch.Generator().manual_seed(seed))
    images[mirrored] = images[mirrored].flip(-1)
    return images


class Lesson:
    """A student, its average and all that is thrown away, as one state that can be saved."""

    def __init__(self, arch: str, out: Path, store: Store, drawing: Drawing) -> None:
        self.arch, self.path = arch, out / f"{arch}.state.pt"
        self.store, self.drawing = store, drawing
        self.network: Any = create_student(arch, 1000, start="auto").network
        self.network.to(memory_format=torch.channels_last)
        width = self.network.get_classifier().in_features
        self.regressor = nn.Linear(width, 1280)
        learned = nn.ModuleList([self.network, self.regressor])
        decayed = [value for value in learned.parameters() if value.ndim > 1]
        others = [value for value in learned.parameters() if value.ndim <= 1]
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, weight_decay=WEIGHT_DECAY)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.step, self.began, self.shown = 0, time.time(), 0
        rows = drawing(10000, np.random.default_rng(0))
        sample = torch.from_numpy(np.asarray(store.embeddings[rows], np.float32))
        self.mean, self.deviation = sample.mean(0), sample.std(0).clamp_min(1e-3)
        if self.path.exists():
            self._restore(torch.load(self.path, weights_only=True))

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "regressor": self.regressor, "optimizer": self.optimizer}

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"average": self.average, "mean": self.mean, "deviation": self.deviation}
        state |= {"step": self.step, "began": self.began, "shown": self.shown}
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def _restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state.pop(name))
        for name, value in state.items():
            setattr(self, name, value)

    def update(self, progress: float, size: int) -> tuple[float, float]:
        """One update; the losses of embeddings and of classes."""
        draw = np.random.default_rng([self.step, 1])
        rows = self.drawing(BATCH, draw)
        may = self.drawing.mirrors[self.drawing.domains[rows]]
        mirrored = torch.from_numpy(may & (draw.random(BATCH) < 0.5))
        pixels = torch.from_numpy(self.store.pixels[rows]).permute(0, 3, 1, 2)
        images = augment(pixels, mirrored, self.step)
        if size != SIZE:
            images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        wanted = torch.from_numpy(np.asarray(self.store.embeddings[rows], np.float32))
        wanted = (wanted - self.mean) / self.deviation
        logits = torch.from_numpy(np.asarray(self.store.logits[rows], np.float32))
        with autocast(torch.device("cpu")):
            inputs = normalise(images)
            features = self.network.forward_features(inputs)
            embeddings = self.network.forward_head(features, pre_logits=True)
            found = self.regressor(embeddings)
            named = self.network.get_classifier()(embeddings)
        near = 1 - functional.cosine_similarity(found.float(), wanted).mean()
        told, said = functional.log_softmax(logits, 1), functional.log_softmax(named.float(), 1)
        classes = functional.kl_div(said, told, reduction="batchmean", log_target=True)
        (FEATURE_WEIGHT * near + CLASS_WEIGHT * classes).backward()
        rate = LEARNING_RATE * min(1.0, (self.step + 1) / WARMUP) * (1 + cos(pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step, self.shown = self.step + 1, self.shown + BATCH
        follow = min(AVERAGING, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.average[name].lerp_(value, 1 - follow)
        return near.item(), classes.item()

    def finish(self, out: Path) -> None:
        """Take the average, estimate batch-norm statistics anew on plain views, and save."""
        self.network.load_state_dict(self.network.state_dict() | self.average)
        norms = [part for part in self.network.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
        draw = np.random.default_rng(2)
        self.network.train()
        with torch.no_grad():
            for _ in range(150):
                pixels = torch.from_numpy(self.store.pixels[self.drawing(BATCH, draw)])
                self.network(normalise(pixels.permute(0, 3, 1, 2).float().div_(255)))
        (out / self.arch).mkdir(parents=True, exist_ok=True)
        names = list(ImageNetInfo().label_descriptions())
        how = Preprocessing(SIZE, MEAN, STD, "bicubic")
        save_network(
            self.network, out / self.arch, arch=self.arch, labels=names, preprocessing=how,
            license="apache-2.0",
        )  # fmt: skip


def normalise(images: Tensor) -> Tensor:
    """Images in 0..1, [B, 3, S, S], as the students want them."""
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)


def teach(data: Path, out: Path, arch: str, until: float) -> None:
    """Stage ARCH: the schedule follows the clock, so it is through when the time is over."""
    views = plan_views(data)
    store = Store(out, len(views))
    drawing = Drawing(views, store.done)
    lesson = Lesson(arch, out, store, drawing)
    lesson.network.train()
    saved, losses = time.time(), np.zeros((0, 2))
    print(f"{time.ctime()} {arch} from step {lesson.step}", flush=True)
    with fast_convolutions(lesson.network):
        while (now := time.time()) < until:
            progress = (now - lesson.began) / (until - lesson.began)
            size = SMALLER if progress < SMALLER_SHARE[arch] else SIZE
            losses = np.vstack([losses, lesson.update(progress, size)])
            if lesson.step % 100 == 0:
                near, classes = losses.mean(axis=0)
                print(
                    f"{time.ctime()} step {lesson.step} size {size} progress {progress:.3f} "
                    f"near {near:.4f} classes {classes:.4f}",
                    flush=True,
                )
                losses = np.zeros((0, 2))
                drawing.refresh()
            if now - saved > 200:
                lesson.save()
                saved = now
    lesson.save()
    lesson.finish(out)
    done = sum(map(len, drawing.rows))
    print(f"{arch}: {lesson.step} updates, {lesson.shown} views of {done} shown", flush=True)


def main() -> None:
    """Run a stage."""
    keep_freed_memory()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--until", required=True, help="HH:MM of today")
    options = parser.parse_args()
    hours, minutes = map(int, options.until.split(":"))
    today = time.localtime()
    until = time.mktime((*today[:3], hours, minutes, 0, 0, 0, -1))
    options.out.mkdir(parents=True, exist_ok=True)
    if options.stage == "teacher":
        shard, shards = map(int, options.shard.split("/"))
        ask_teacher(options.data, options.out, shard, shards, until)
    else:
        teach(options.data, options.out, options.stage, until)


if __name__ == "__main__":
    main()
