"""What running teachers costs: `python -m tests.benchmarks.observe --json`.

Images a second of `extract_features`, loading, decoding and storing included, over those of a bare
forward loop on images that lie decoded in memory: `observe_over_bare` at the sizes of practice,
photographs of 500 px for networks of ResNet-50's size at 224 px; `embedded_over_bare` for the
embedded teachers at 64 px, which are so small that the rest counts. `second_rank_speedup` is how
much faster the second `zoo rank` of the same images with the embedded teachers is, start of Python
included. `openvino_speedup` is that of the forward passes of EfficientNet-Lite0, converted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from tests.support.toys import build_teacher
from zoo import FeatureStore, extract_features, keep_freed_memory, list_cards, read_images
from zoo.features.inference import BATCH, embed, to_input
from zoo.images.decoding import decode_images
from zoo.system.devices import autocast
from zoo.teachers.loading import load_teacher

CPU = torch.device("cpu")
LABELS = tuple(f"class {index}" for index in range(1000))


def draw_folder(folder, count, side):
    """Smooth random photographs in four classes."""
    rng = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = folder / f"class{index % 4}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return folder


@torch.inference_mode()
def look_barely(teachers, pixels):
    """Seconds of the forward passes alone."""
    began = time.perf_counter()
    for teacher in teachers:
        for shown in torch.from_numpy(pixels).split(BATCH):
            with autocast(CPU):
                teacher.network(to_input(shown, teacher.card.input, CPU)).float()
    return time.perf_counter() - began


def look_fully(cards, images):
    """Seconds of `extract_features` with nothing known."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        extract_features(cards, images, store=FeatureStore(Path(folder)))
        return time.perf_counter() - began


def rank(folder, cache):
    """Seconds of `zoo rank` as a user runs it."""
    command = [sys.executable, "-m", "cli.zoo_app", "rank", "--target", str(folder), "--json"]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as here:
        subprocess.run(
            [*command, "--save", f"{here}/ranking.json"],
            check=True, capture_output=True, env={**os.environ, "SOURCE_ZOO_CACHE": str(cache)},
        )  # fmt: skip
    return time.perf_counter() - began


def compare(cards, folder, rounds):
    """Images a second to a teacher of a bare loop and of `extract_features`: medians of rounds."""
    images = read_images(folder)
    pixels = decode_images(images.paths, cards[0].input)
    teachers = [load_teacher(card) for card in cards]
    look_barely(teachers, pixels[:BATCH])
    bare, full = [], []
    for _ in range(rounds):
        bare.append(look_barely(teachers, pixels))
        full.append(look_fully(cards, images))
    count = len(images) * len(cards)
    return count / median(bare), count / median(full)


def convert(card, rounds, count=32):
    """Milliseconds for an image of one teacher by torch and by OpenVINO: medians of rounds."""
    teacher = load_teacher(card)
    size = card.input.size
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    times = {0: [], 10**9: []}
    for total in times:
        embed(teacher, pixels, total=total)  # converts
    for _ in range(rounds):
        for total, seconds in times.items():
            began = time.perf_counter()
            embed(teacher, pixels, total=total)
            seconds.append(1000 * (time.perf_counter() - began) / count)
    return [median(seconds) for seconds in times.values()]


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON line of ratios")
    parser.add_argument("--images", type=int, default=600, help="for the embedded teachers")
    parser.add_argument("--photographs", type=int, default=160, help="for the large ones")
    parser.add_argument("--teachers", type=int, default=4, help="of the large ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    strong = [card for card in list_cards() if card.package and card.folder]
    cards = [card for card in list_cards() if not card.package]
    converted = {card.name: convert(card, options.rounds) for card in [*strong, cards[0]]}
    with tempfile.TemporaryDirectory() as place:
        small = draw_folder(Path(place) / "small", options.images, 96)
        large = draw_folder(Path(place) / "large", options.photographs, 500)
        zoo = [
            build_teacher(
                Path(place) / str(seed), f"resnet{seed}", arch="resnet50", labels=LABELS, size=224,
                seed=seed,
            )
            for seed in range(options.teachers)
        ]  # fmt: skip
        practice = compare(zoo, large, options.rounds)
        embedded = compare(cards, small, options.rounds)
        caches = [Path(place) / f"cache{number}" for number in range(options.rounds)]
        speedups = [rank(small, cache) / rank(small, cache) for cache in caches]
    print("| teachers | bare loop, images/s a teacher | `extract_features` |\n|---|---|---|")
    print(f"| {len(zoo)} like ResNet-50, {options.photographs} images of 500 px |", end=" ")
    print("{:.0f} | {:.0f} |".format(*practice))
    print(f"| {len(cards)} embedded, {options.images} images of 96 px |", end=" ")
    print("{:.0f} | {:.0f} |".format(*embedded))
    print("\n| teacher | torch, ms an image | OpenVINO |\n|---|---|---|")
    for name, (plain, fast) in converted.items():
        print(f"| {name} | {plain:.1f} | {fast:.1f} |")
    ratios = {
        "openvino_speedup": round(converted[strong[0].name][0] / converted[strong[0].name][1], 2),
        "observe_over_bare": round(practice[1] / practice[0], 3),
        "embedded_over_bare": round(embedded[1] / embedded[0], 3),
        "second_rank_speedup": round(median(speedups), 2),
    }
    print(json.dumps(ratios) if options.json else ratios)


if __name__ == "__main__":
    main()
