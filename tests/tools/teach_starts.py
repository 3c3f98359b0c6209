"""Teach the initial students from an ImageNet network: what a student is before it has a task.

python -m tests.tools.teach_starts --data SOURCES --out DIR --arch ARCH --until HH:MM, where SOURCES
holds SET/CLASS/images. EfficientNet-Lite0 sees the very views of the student, and the student
imitates its feature maps stage by stage, its embeddings and its classes. Goes on where it was
killed. OpenVINO is needed.
"""

from __future__ import annotations

import argparse
import time
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from distill.recipe import Recipe
from distill.student import create_student, save_network
from distill.training.batches import weak_view
from distill.training.convolutions import fast_convolutions
from tests.tools.start_tasks import held_out
from zoo.images.decoding import open_image
from zoo.system.devices import autocast
from zoo.system.runtime import keep_freed_memory
from zoo.teachers.card import Preprocessing, TeacherCard, sha256_of
from zoo.teachers.loading import build_network
from zoo.teachers.starts import IMAGENET, find_start
from zoo.teachers.verify import measure

BATCH, LEARNING_RATE, WEIGHT_DECAY, WARMUP, AVERAGING = 48, 1.5e-3, 0.02, 200, 0.998
MAP_WEIGHT, EMBEDDING_WEIGHT, CLASS_WEIGHT = 1.5, 10.0, 0.5
SIZE, SIZES, LAST = 128, (64, 96, 128), 0.3
"""Of the students' images in pixels; smaller ones, sharp and cheap, but for the last part."""

COLOR, STRONG_COLOR, STRONG_EVERY = 0.25, 0.9, 4
"""Jitter of brightness, contrast and saturation. With little of it alone the embeddings of sunsets
and other saturated photographs come to three times the usual norm and more."""

REDUCTIONS = (4, 8, 16, 32)
"""Stages whose maps are imitated, by their reduction of the image."""

MOST = {
    "objects": 40000,
    "food": 14000,
    "groceries": 4000,
    "seedlings": 4000,
    "clothing": 4000,
    "sketches": 4000,
    "cartoons": 2500,
    "textures": 1200,
    "aerial": 2800,
    "plankton": 3000,
    "hot_rolled_steel": 1300,
    "traffic_signs": 3000,
    "digits_on_photos": 1000,
    "kana": 500,
    "expressions": 2000,
    "hand_signs": 1500,
    "brain_mri": 1500,
}
"""Images of a set to learn from at most."""


def read_images(data: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """All images to learn from, [H, W, 3] of their own sizes, and their sets."""
    draw = np.random.default_rng(0)
    images, domains = [], []
    for domain, (name, most) in enumerate(MOST.items()):
        hidden = held_out(data, name)
        found = [path for path in sorted((data / name).glob("*/*")) if path not in hidden]
        for i in draw.permutation(len(found))[:most]:
            image = open_image(found[i].read_bytes()).convert("RGB")
            image.thumbnail((SIZE, SIZE), Image.Resampling.BICUBIC)
            images.append(np.asarray(image))
            domains.append(domain)
    return images, np.array(domains)


def random_view(image: NDArray[np.uint8], size: int, draw: np.random.Generator) -> NDArray[Any]:
    """A part of 25 to 100 % of an image, nearly of its shape, as [S, S, 3]."""
    height, width = image.shape[:2]
    side, aspect = np.sqrt(draw.uniform(0.25, 1)), np.exp(draw.uniform(-0.2, 0.2))
    wide, high = min(1.0, side * aspect) * width, min(1.0, side / aspect) * height
    left, top = draw.uniform(0, width - wide), draw.uniform(0, height - high)
    box = (left, top, left + wide, top + high)
    return np.asarray(
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box)
    )


class Views:
    """Batches of views of the images: sets in proportion to their size to the power 0.7."""

    def __init__(self, data: Path) -> None:
        self.images, domains = read_images(data)
        self.rows = [np.flatnonzero(domains == i) for i in range(len(MOST))]
        share = np.array([len(rows) ** 0.7 for rows in self.rows])
        share[list(MOST).index("objects")] *= 2.2
        self.share = share / share.sum()

    def __call__(self, seed: int, size: int) -> Tensor:
        """Views [B, 3, S, S] in 0..1, recolored: a little, and in some batches a lot."""
        draw = np.random.default_rng([seed, 1])
        sets = draw.choice(len(self.rows), BATCH, p=self.share)
        images = [self.images[draw.choice(self.rows[i])] for i in sets]
        views = np.stack([random_view(image, size, draw) for image in images])
        strength = STRONG_COLOR if seed % STRONG_EVERY == 0 else COLOR
        recipe = Recipe(min_area=1.0, flip=True, color=strength)
        pixels = torch.from_numpy(views).permute(0, 3, 1, 2)
        return weak_view(pixels, recipe, torch.Generator().manual_seed(seed))


class Maps(nn.Module):
    """A network that gives the maps of its stages, its embeddings and its logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        info = network.feature_info
        self.indices = [i for i, part in enumerate(info) if part["reduction"] in REDUCTIONS]
        self.channels = [info[i]["num_chs"] for i in self.indices]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [B, 3, S, S] to maps [B, C, S / R, S / R], embeddings [B, D], logits [B, K]."""
        network = self.network
        features, maps = network.forward_intermediates(images, indices=self.indices)
        embeddings = network.forward_head(features, pre_logits=True)
        return [*maps, embeddings, network.get_classifier()(embeddings)]


class Teacher:
    """EfficientNet-Lite0 at some sizes, by OpenVINO twice as fast."""

    def __init__(self) -> None:
        import openvino as ov  # type: ignore

        start = find_start("builtin", "tf_efficientnet_lite0")
        network = Maps(build_network(start.card).eval())
        self.channels, self.requests = network.channels, {}
        self.mean, self.std = start.preprocessing.mean, start.preprocessing.std
        for size in SIZES:
            example = torch.zeros(BATCH, 3, size, size)
            with torch.no_grad():
                model = ov.convert_model(network, example_input=example, input=[*example.shape])
            settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
            compiled = ov.Core().compile_model(model, "CPU", settings)
            self.requests[size] = compiled.create_infer_request()

    def __call__(self, views: Tensor) -> list[Tensor]:
        """Views [B, 3, S, S] in 0..1 to maps, embeddings and logits."""
        request = self.requests[views.shape[-1]]
        request.infer(normalise(views, self.mean, self.std).contiguous().numpy())
        count = len(self.channels) + 2
        return [torch.from_numpy(request.get_output_tensor(i).data.copy()) for i in range(count)]


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images in 0..1, [B, 3, S, S], as a network wants them."""
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


class Lesson:
    """A student, its average and all that is thrown away, as one state that can be saved."""

    def __init__(self, arch: str, out: Path, views: Views, teacher: Teacher) -> None:
        self.arch, self.path = arch, out / f"{arch}.state.pt"
        self.views, self.teacher = views, teacher
        self.network: Any = create_student(arch, 1000, start="auto").network
        self.network.to(memory_format=torch.channels_last)
        self.student = Maps(self.network)
        pairs = zip(self.student.channels, teacher.channels, strict=True)
        self.regressors = nn.ModuleList([nn.Conv2d(own, told, 1) for own, told in pairs])
        self.regressors.append(nn.Linear(self.network.get_classifier().in_features, 1280))
        learned = nn.ModuleList([self.network, self.regressors])
        decayed = [value for value in learned.parameters() if value.ndim > 1]
        others = [value for value in learned.parameters() if value.ndim <= 1]
        groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, weight_decay=WEIGHT_DECAY)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.step, self.began = 0, time.time()
        samples = [teacher(views(2**31 + i, SIZE))[:-1] for i in range(8)]
        wanted = [torch.cat(values) for values in zip(*samples, strict=True)]
        across = [[0, 2, 3] if value.ndim == 4 else [0] for value in wanted]
        self.means = [v.mean(d, keepdim=True) for v, d in zip(wanted, across, strict=True)]
        self.stds = [
            v.std(d, keepdim=True).clamp_min(1e-3) for v, d in zip(wanted, across, strict=True)
        ]
        if self.path.exists():
            self._restore(torch.load(self.path, weights_only=True))

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "regressors": self.regressors, "optimizer": self.optimizer}

    def save(self) -> None:
        """Write the state, whole or not at all."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"average": self.average, "step": self.step, "began": self.began}
        torch.save(state, self.path.with_suffix(".new"))
        self.path.with_suffix(".new").replace(self.path)

    def _restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state.pop(name))
        for name, value in state.items():
            setattr(self, name, value)

    def update(self, progress: float, size: int) -> list[float]:
        """One update; the losses of maps, embeddings and classes."""
        views = self.views(self.step, size)
        *wanted, logits = self.teacher(views)
        wanted = [(w - m) / s for w, m, s in zip(wanted, self.means, self.stds, strict=True)]
        inputs = normalise(views, IMAGENET.mean, IMAGENET.std)
        with autocast(torch.device("cpu")):
            *told, named = self.student(inputs.contiguous(memory_format=torch.channels_last))
            found = [part(value) for part, value in zip(self.regressors, told, strict=True)]
        # the teacher pads as TensorFlow does: its cell i lies where the student's cell i + 1 does
        losses = [
            functional.mse_loss(one[:, :, 1:, 1:].float(), other[:, :, :-1, :-1])
            for one, other in zip(found[:-1], wanted[:-1], strict=True)
        ]
        losses.append(1 - functional.cosine_similarity(found[-1].float(), wanted[-1]).mean())
        said = functional.log_softmax(named.float(), 1)
        told_classes = functional.log_softmax(logits, 1)
        losses.append(functional.kl_div(said, told_classes, reduction="batchmean", log_target=True))
        weights = [MAP_WEIGHT] * (len(losses) - 2) + [EMBEDDING_WEIGHT, CLASS_WEIGHT]
        torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum().backward()
        rate = LEARNING_RATE * min(1.0, (self.step + 1) / WARMUP) * (1 + cos(pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        follow = min(AVERAGING, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.average[name].lerp_(value, 1 - follow)
        return [loss.item() for loss in losses]

    def finish(self, out: Path) -> None:
        """Take the average, estimate batch-norm statistics anew, and save; training may go on."""
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(before | self.average)
        norms = [part for part in self.network.modules() if isinstance(part, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
        with torch.no_grad():
            for seed in range(60):
                views = normalise(self.views(2**30 + seed, SIZE), IMAGENET.mean, IMAGENET.std)
                self.network(views.contiguous(memory_format=torch.channels_last))
        save_start(self.network, self.arch, out, self.step * BATCH)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.network.load_state_dict(before)
        self.network.train()


def save_start(taught: Any, arch: str, out: Path, views: int) -> None:
    """Write a student without its classifier, and its card, as `zoo/students` holds it."""
    folder = out / arch
    folder.mkdir(parents=True, exist_ok=True)
    network: Any = timm.create_model(arch, num_classes=0)
    network.load_state_dict(taught.state_dict(), strict=False)  # but for the classifier
    look = Preprocessing(SIZE, IMAGENET.mean, IMAGENET.std, IMAGENET.interpolation)
    save_network(network, folder, arch=arch, labels=(), preprocessing=look, license="apache-2.0")
    weights = folder / "model.safetensors"
    card = TeacherCard(
        name=arch,
        domain="photographs",
        source=f"builtin:{arch}",
        network=arch,
        classes=0,
        license="apache-2.0",
        data="mini-ImageNet, Food-101, 15 smaller sets; EfficientNet-Lite0 (ImageNet-1k) imitated",
        data_license="ImageNet terms, research only for some",
        preprocessing=look,
        bytes=weights.stat().st_size,
        sha256=sha256_of(weights),
        recipe=f"python -m tests.tools.teach_starts --data DIR --arch {arch}: {views} views",
        evidence="measured",
        note="Distilled from EfficientNet-Lite0 stage by stage, without labels.",
        folder=folder,
    )
    measure(card).save(folder)


def teach(data: Path, out: Path, arch: str, until: float) -> None:
    """Teach one student; the schedule follows the clock, so it is through when time is over."""
    lesson = Lesson(arch, out, Views(data), Teacher())
    lesson.network.train()
    saved, losses = time.time(), []
    print(f"{time.ctime()} {arch} from step {lesson.step}", flush=True)
    with fast_convolutions(lesson.network):
        while (now := time.time()) < until:
            progress = (now - lesson.began) / (until - lesson.began)
            turn = lesson.step % len(SIZES)
            losses.append(lesson.update(progress, SIZE if progress > 1 - LAST else SIZES[turn]))
            if lesson.step % 99 == 0:
                means = " ".join(f"{value:.3f}" for value in np.mean(losses, axis=0))
                print(f"{time.ctime()} step {lesson.step} {progress:.3f} {means}", flush=True)
                losses = []
            if now - saved > 600:
                lesson.save()
                lesson.finish(out)
                saved = now
    lesson.save()
    lesson.finish(out)
    print(f"{arch}: {lesson.step * BATCH} views of {len(lesson.views.images)} images", flush=True)


def main() -> None:
    """Teach one student until the time is over."""
    keep_freed_memory()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arch", required=True)
    parser.add_argument("--until", required=True, help="HH:MM, the next to come")
    options = parser.parse_args()
    hours, minutes = map(int, options.until.split(":"))
    today = time.localtime()
    until = time.mktime((*today[:3], hours, minutes, 0, 0, 0, -1))
    until += 24 * 3600 * (until < time.time())
    options.out.mkdir(parents=True, exist_ok=True)
    teach(options.data, options.out, options.arch, until)


if __name__ == "__main__":
    main()
