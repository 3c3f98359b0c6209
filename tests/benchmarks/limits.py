"""How far is it to what the processor can do? `python -m tests.benchmarks.limits`.

One thread. The peak of arithmetic is that of a large matrix product, in the number format in which
our loop and our teachers compute (bfloat16 where the processor has it); the operations of a network
are counted by `torch.utils.flop_counter`, two for each product and sum; an update has three forward
passes' worth of them. Decoding is compared with Pillow's alone, reading and checking of stored
features with reading their bytes. Ratios are medians of ROUNDS, taken in turns.
"""

import argparse
import io
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from distill.student import create_student
from tests.benchmarks.observe import draw_folder
from tests.benchmarks.training import CPU, REAL_ARCHS, engine, form
from zoo import Features, FeatureStore, keep_freed_memory, list_cards, read_images
from zoo.features.inference import BATCH, embed
from zoo.images.decoding import decode_images
from zoo.system.devices import autocast
from zoo.teachers.loading import load_teacher

ROUNDS, SIDE, PHOTOS, STORED, SIZE = 3, 2048, 96, 20_000, 128
TEACHERS = ("imagenet_lite0", "imagenet_lite2", "objects")


def multiply():
    """Operations a second of a large matrix product, in 10^9."""
    with autocast(CPU):
        kind = torch.matmul(torch.ones(2, 2), torch.ones(2, 2)).dtype
    left = torch.rand(SIDE, SIDE).to(kind)
    torch.matmul(left, left)
    began = time.perf_counter()
    torch.matmul(left, left)
    return 2e-9 * SIDE**3 / (time.perf_counter() - began)


def count(network, size):
    """Operations of a forward pass of one image, in 10^9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def train(arch):
    """Operations a second of our loop, in 10^9."""
    each = 3 * count(create_student(arch, 10, start="random").network, SIZE)
    return 96 * each / median(engine(size=SIZE, arch=arch, updates=7))


def ask(card):
    """Operations a second of a teacher on decoded images, in 10^9."""
    teacher, size = load_teacher(card), card.input.size
    each = count(teacher.network, size)
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 3, size, size), dtype=np.uint8)
    embed(teacher, pixels, total=10**9)  # converts it
    began = time.perf_counter()
    for _ in range(4):
        embed(teacher, pixels, total=10**9)
    return 4 * BATCH * each / (time.perf_counter() - began)


def decode(images):
    """Processor seconds of Pillow's decoder and resize alone, over ours."""
    began = time.process_time()
    decode_images(images.paths, form(SIZE))
    middle = time.process_time()
    for path in images.paths:
        image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
        np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return (time.process_time() - middle) / (middle - began)


def look_again():
    """Seconds of reading the files of stored features, over those of `FeatureStore.read`."""
    digests = tuple(f"{row:064x}" for row in range(STORED))
    outputs = Features(np.ones((STORED, 1280), np.float32), np.ones((STORED, 1000), np.float32))
    with tempfile.TemporaryDirectory() as place:
        store = FeatureStore(Path(place))
        store.write("teacher", digests, outputs)
        began = time.perf_counter()
        store.read("teacher", digests)
        middle = time.perf_counter()
        for path in Path(place).rglob("*.safetensors"):
            path.read_bytes()
        return (time.perf_counter() - middle) / (middle - began)


def main():
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    cards = [card for card in list_cards() if card.name in TEACHERS]
    with tempfile.TemporaryDirectory() as place:
        images = read_images(draw_folder(Path(place) / "imgs", PHOTOS, 500))
        work = {
            **{f"an update of {arch} at {SIZE} px": partial(train, arch) for arch in REAL_ARCHS},
            **{f"{card.name} at {card.input.size} px": partial(ask, card) for card in cards},
        }
        found = {name: [] for name in ("peak", *work, "decode", "again")}
        for _ in range(ROUNDS):
            found["peak"].append(multiply())
            for name, run in work.items():
                found[name].append(run())
            found["decode"].append(decode(images))
            found["again"].append(look_again())
    told = {name: median(values) for name, values in found.items()}
    print("| work | 10^9 operations a second | of the peak |\n|---|---|---|")
    for name in ("peak", *work):
        print(f"| {name} | {told[name]:.0f} | {told[name] / told['peak']:.2f} |")
    print(f"\nDecoding: {told['decode']:.2f} of Pillow alone; reading stored features: "
          f"{told['again']:.2f} of reading their bytes.")  # fmt: skip


if __name__ == "__main__":
    main()
