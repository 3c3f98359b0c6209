"""Cost of an update as ratios of medians: `python -m tests.benchmarks.training --json`.

Every contestant teaches mobilenetv3_small_100 at 64 px on the same images; they take turns. The
plain loop (float32, NCHW, malloc as it comes) runs in processes of its own. Cached teachers are
compared with asked ones at the sizes of practice: 16 networks of ResNet-50's size look at the 64
views of target images at 224 px, the student at 96 px. The 16 are alike, so one is timed.

`--real` compares our loop, all blocks trained and with the default frozen part, with the two
hand-written ones at 128 and 224 px for students of practice.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from statistics import median

import numpy as np
import timm
import torch
from torch.nn.functional import cross_entropy

from distill import Recipe
from distill.student import create_student
from distill.training.convolutions import fast_convolutions
from distill.training.loop import fit
from distill.training.targets import SourceTargets, make_targets
from zoo import Features, keep_freed_memory, list_cards
from zoo.features.inference import BATCH, to_input
from zoo.system.devices import autocast, to_device
from zoo.teachers.card import Preprocessing
from zoo.teachers.starts import IMAGENET

ARCH, SIZE, IMAGES, CLASSES = "mobilenetv3_small_100", 64, 512, 10
CPU = torch.device("cpu")
UPDATES, WARM = 14, 4
"""Of each contestant in a round; the first ones do not count."""

REAL_ARCHS = ("mobilenetv3_small_100", "mobilenetv3_large_100", "tf_efficientnet_lite0", "resnet18")
REAL_SIZES, REAL_UPDATES = (128, 224), 7


def form(size):
    """How a network wants its images."""
    return Preprocessing(size, IMAGENET.mean, IMAGENET.std, "bicubic")


def draw_images(size=SIZE):
    """Pixels [N, 3, S, S] and labels [N], a tenth of them known."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.arange(IMAGES) % CLASSES
    return pixels, torch.where(torch.arange(IMAGES) < IMAGES // 10, labels, -1)


def tell(widths, labels, objective):
    """What teachers of so many classes say of the images: noise."""
    rng = np.random.default_rng(0)
    features = {
        f"teacher {index}": Features(
            rng.normal(size=(IMAGES, 64)).astype(np.float32),
            rng.normal(size=(IMAGES, width)).astype(np.float32),
        )
        for index, width in enumerate(widths)
    }
    shares = dict.fromkeys(features, 1 / max(1, len(features)))
    return make_targets(objective, features, shares, labels.numpy())


def engine(targets=None, *, fixmatch_weight=0.0, size=SIZE, arch=ARCH, updates=UPDATES):
    """Seconds of each update of our loop; 96 labeled images an update if no other are needed."""
    pixels, labels = draw_images(size)
    recipe = Recipe(updates=updates, fixmatch_weight=fixmatch_weight)
    if not targets and not fixmatch_weight:
        recipe = replace(recipe, labeled_batch=96)
    groups = targets.groups if isinstance(targets, SourceTargets) else ()
    student = create_student(arch, CLASSES, groups=groups, start="random")
    stamps = []
    fit(
        student, pixels, labels, recipe, targets=targets, preprocessing=form(size), device=CPU,
        progress=lambda *_: stamps.append(time.perf_counter()),
    )  # fmt: skip
    return np.diff(stamps)[WARM:].tolist()


def frozen_engine(*, size, arch, updates):
    """Seconds of each update of our loop as it is by default: the first blocks are frozen."""
    pixels, _ = draw_images(size)
    labels = torch.arange(IMAGES) % CLASSES
    labels[96:] = -1  # as many images as an update has: each is run through the frozen part once
    recipe = Recipe(updates=updates, views=1, labeled_batch=96)
    student = create_student(arch, CLASSES, start="random")
    stamps = []
    fit(
        student, pixels, labels, recipe, targets=None, preprocessing=form(size), device=CPU,
        pretrained=True, progress=lambda *_: stamps.append(time.perf_counter()),
    )  # fmt: skip
    return np.diff(stamps)[WARM:].tolist()


def loop(*, tuned, size=SIZE, arch=ARCH, updates=UPDATES):
    """Seconds of each update of a hand-written loop over 96 images, shown as they are."""
    pixels, _ = draw_images(size)
    student = create_student(arch, CLASSES, start="random").train()
    if tuned:
        student.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=0.02, fused=tuned)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET.mean, IMAGENET.std))
    truth, seconds = torch.arange(96) % CLASSES, []
    with fast_convolutions(student) if tuned else nullcontext():
        for step in range(updates):
            began = time.perf_counter()
            rows = torch.randint(0, IMAGES, (96,), generator=torch.Generator().manual_seed(step))
            images = (pixels[rows].float() / 255 - mean) / std
            if tuned:
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast(CPU) if tuned else nullcontext():
                phi = student.embed(images)
            loss = cross_entropy(student.classify(phi.float()), truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            seconds.append(time.perf_counter() - began)
    return seconds[WARM:]


def ask(size=224):
    """Seconds in which one network of ResNet-50's size looks at the target images of an update."""
    network = to_device(timm.create_model("resnet50"), CPU).eval()
    pixels = torch.randint(0, 256, (Recipe().unlabeled_batch, 3, size, size), dtype=torch.uint8)
    began = time.perf_counter()
    with torch.inference_mode(), autocast(CPU):
        for shown in pixels.split(BATCH):
            network(to_input(shown, form(size), CPU))
    return [time.perf_counter() - began]


def plain(size=SIZE, arch=ARCH, updates=UPDATES):
    """Seconds of each update of the plain loop, in a fresh process."""
    threads = str(torch.get_num_threads())
    chosen = json.dumps({"size": size, "arch": arch, "updates": updates})
    command = [sys.executable, __file__, "--plain", chosen, "--threads", threads]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def show(seconds):
    print("| contestant | ms an update |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {1000 * value:.0f} |")
    print()


def measure(rounds):
    """Median seconds an update of each contestant."""
    labels = draw_images()[1]
    cards = list_cards()
    embedded = tell([card.classes for card in cards], labels, "source")
    wide = tell([1000] * 16, labels, "source")
    soft = tell([10] * 16, labels, "target")
    contestants = {
        "no teacher": engine,
        "16 embedded teachers, their classes": lambda: engine(embedded),
        "16 teachers of 1000 classes": lambda: engine(wide),
        "FixMatch": lambda: engine(fixmatch_weight=1.0),
        "16 teachers, the target's classes": lambda: engine(soft),
        "hand-written, the same tricks": lambda: loop(tuned=True),
        "hand-written, plain": plain,
        "16 teachers, the target's classes, at 96 px": lambda: engine(soft, size=96),
        "one ResNet-50 asked at 224 px": ask,
    }
    seconds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            seconds[name] += run()
    return {name: median(values) for name, values in seconds.items()}


def compare(cost):
    """The ratios that the project is held to."""
    none = cost["no teacher"]
    cached = cost["16 teachers, the target's classes, at 96 px"]
    asked = cost["one ResNet-50 asked at 224 px"]
    return {
        "teachers_16_over_0": cost["16 embedded teachers, their classes"] / none,
        "soft_labels_over_fixmatch": cost["16 teachers, the target's classes"] / cost["FixMatch"],
        "heads_16x1000_over_0": cost["16 teachers of 1000 classes"] / none,
        # soft labels take the same time from one teacher and from 16
        **{f"cached_over_online_{count}": 1 + count * asked / cached for count in (1, 4, 16)},
        "engine_over_plain": none / cost["hand-written, plain"],
        "engine_over_tuned": none / cost["hand-written, the same tricks"],
    }


def compare_real(rounds):
    """Print milliseconds an update at real sizes, and the ratios to the hand-written loops."""
    print("| student | px | plain | tuned | ours | ours, half frozen | over plain | over tuned |")
    print("|---|---|---|---|---|---|---|---|")
    for arch in REAL_ARCHS:
        for size in REAL_SIZES:
            chosen = {"size": size, "arch": arch, "updates": REAL_UPDATES}
            seconds = [[], [], [], []]
            for _ in range(rounds):
                seconds[0] += plain(**chosen)
                seconds[1] += loop(tuned=True, **chosen)
                seconds[2] += engine(**chosen)
                seconds[3] += frozen_engine(**chosen)
            slow, tuned, ours, frozen = map(median, seconds)
            times = " | ".join(f"{1000 * value:.0f}" for value in (slow, tuned, ours, frozen))
            print(f"| {arch} | {size} | {times} | {ours / slow:.2f} | {ours / tuned:.2f} |")
            sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON line of ratios")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="students and sizes of practice")
    parser.add_argument("--plain", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.plain:
        print(json.dumps(loop(tuned=False, **options.plain)))
        return
    keep_freed_memory()
    if options.real:
        compare_real(options.rounds)
        return
    cost = measure(options.rounds)
    show(cost)
    ratios = {name: round(value, 3) for name, value in compare(cost).items()}
    if options.json:
        print(json.dumps(ratios))
    else:
        print("| ratio | |\n|---|---|")
        for name, value in ratios.items():
            print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
