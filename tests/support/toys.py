"""What toy worlds are made of: noisy colored images, random teachers with true cards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 40, 40)}


def paint(path: Path, color, seed=0, size=(24, 20)):
    """A noisy image of one color; every seed has other content."""
    noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def paint_folder(folder: Path, per_class=4, loose=0, classes=("blue", "green", "red"), seed=0):
    """Class folders of noisy colors, and loose images of any of them."""
    number = seed * 1000
    for name in classes:
        for index in range(per_class):
            paint(folder / name / f"{index}.png", COLORS[name], number := number + 1)
    for index in range(loose):
        color = COLORS[classes[index % len(classes)]]
        paint(folder / f"loose{index}.png", color, number := number + 1)
    return folder


def build_teacher(folder: Path, name: str, *, labels=("a", "b", "c"), size=32, seed=0,
                  arch="test_resnet"):  # fmt: skip
    """A random network in timm's layout with a true card."""
    import timm
    import torch

    from distill.student import save_network
    from zoo.teachers.card import Preprocessing, TeacherCard, sha256_of

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = timm.create_model(arch, num_classes=len(labels))
    folder.mkdir(parents=True, exist_ok=True)
    look = Preprocessing(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    save_network(network, folder, arch=arch, labels=labels, preprocessing=look, license="mit")
    weights = folder / "model.safetensors"
    card = TeacherCard(
        name=name,
        domain=f"{name}s",
        source=f"builtin:{name}",
        network=arch,
        classes=len(labels),
        labels=tuple(labels),
        params=sum(p.numel() for p in network.parameters()),
        bytes=weights.stat().st_size,
        sha256=sha256_of(weights),
        license="mit",
        data="noise",
        data_license="CC0",
        preprocessing=look,
        accuracy=0.5,
        accuracy_images=8,
        folder=folder,
    )
    card.save(folder)
    return card


def rank_three(folder: Path) -> tuple[str | Path, ...]:
    """The words that rank three teachers, ant, bee and cat, on fourteen images, all in a folder."""
    paint_folder(folder / "imgs", per_class=4, loose=2)
    for seed, name in enumerate(("ant", "bee", "cat")):
        build_teacher(folder / "zoo" / name, name, seed=seed)
    return ("rank", "--target", folder / "imgs", "--zoo", folder / "zoo", "--json")


def hub_card(name, **changes):
    """An entry of the Hub's catalogue: its files are nowhere."""
    from zoo.teachers.card import TeacherCard

    card = TeacherCard(
        name=name,
        domain=f"{name}s",
        source=f"hf-hub:owner/{name}-net",
        network="test_resnet",
        classes=2,
        license="mit",
        data="noise",
        data_license="CC0",
        preprocessing=None,
        params=5_000_000,
        bytes=20_000_000,
    )
    return replace(card, **changes)
