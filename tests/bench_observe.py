"""What looking with teachers costs: `python tests/bench_observe.py --json`.

`observe_over_bare` is images a second of `observe`, decoding and keeping included, over those of a
bare forward loop on images that lie decoded in memory; `second_rank_speedup` is how much faster
the second `zoo rank` of the same images is, start of Python included.
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

from zoo import FeatureStore, keep_freed_memory, list_cards, observe, read_images
from zoo.decoding import decode_images
from zoo.machine import autocast
from zoo.teacher import BATCH, load_teacher, to_input

CPU = torch.device("cpu")


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
    """Seconds of `observe` with nothing known."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        observe(cards, images, store=FeatureStore(Path(folder)))
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


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON line of ratios")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--side", type=int, default=96, help="of the images, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    cards = list_cards()
    with tempfile.TemporaryDirectory() as place:
        folder = draw_folder(Path(place) / "imgs", options.images, options.side)
        images = read_images(folder)
        pixels = decode_images(images.paths, cards[0].input)
        teachers = [load_teacher(card) for card in cards]
        look_barely(teachers, pixels[:BATCH])
        bare, full, speedups = [], [], []
        for number in range(options.rounds):
            bare.append(look_barely(teachers, pixels))
            full.append(look_fully(cards, images))
            cache = Path(place) / f"cache{number}"
            first, second = rank(folder, cache), rank(folder, cache)
            speedups.append(first / second)
    count = options.images * len(cards)
    print(f"{options.images} images of {options.side} px, {len(cards)} teachers")
    print(f"bare {count / median(bare):.0f}, observe {count / median(full):.0f} images/s a teacher")
    ratios = {
        "observe_over_bare": round(median(bare) / median(full), 3),
        "second_rank_speedup": round(median(speedups), 2),
    }
    print(json.dumps(ratios) if options.json else ratios)


if __name__ == "__main__":
    main()
