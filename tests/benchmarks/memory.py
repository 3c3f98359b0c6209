"""Does memory grow with the number of teachers? `python -m tests.benchmarks.memory --json`.

A store is filled with outputs of teachers like ResNet-50 (2048 features, 1000 classes) for some
thousand images. For few and for many of them a process of its own reads all outputs with
`extract_features` and makes the targets of a student: soft labels, and the teachers' own classes.
Printed is the peak of memory that the system cannot page out into a file (RssAnon), less that
before, once as it is and once with every array in memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import zoo.system.tensors
from distill.training.targets import soft_labels, source_targets
from zoo import Features, FeatureStore, extract_features, keep_freed_memory, list_cards, read_images
from zoo.features.store import feature_key

DIM, CLASSES, LABELED = 2048, 1000, 60


def cards_of(count):
    card = replace(list_cards()[0], classes=CLASSES, labels=())
    return [replace(card, name=f"teacher {i}", sha256=f"{i:064x}") for i in range(count)]


def fill(folder, images, teachers):
    """Tiny images, and a store of what each teacher said of them."""
    rng = np.random.default_rng(0)
    for index in range(images):
        path = folder / "imgs" / (f"class{index % 3}" if index < LABELED else "") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)
    digests = read_images(folder / "imgs").digests
    for card in cards_of(teachers):
        rows = [rng.standard_normal((images, width), np.float32) for width in (DIM, CLASSES)]
        FeatureStore(folder / "features").write(feature_key(card), digests, Features(*rows))


def resident():
    """Bytes of this process in memory that no file holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise OSError("no RssAnon in /proc/self/status: this bench needs Linux")


def look(folder, teachers, objective):
    """The most that was held while teachers were looked up, in bytes, and the seconds it took."""
    images = read_images(folder / "imgs")
    torch.ones(8, 8).softmax(dim=1)
    before, highest, done = resident(), [0], threading.Event()

    def watch():
        while not done.wait(0.005):
            highest.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    seen = extract_features(
        cards_of(teachers), images, store=FeatureStore(folder / "features")
    ).features
    shares = dict.fromkeys(seen, 1 / len(seen))
    if objective == "source":
        source_targets(seen, shares)
    else:
        soft_labels(seen, shares, images.labels)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return {"bytes": max(highest) - before, "seconds": seconds}


def ask(folder, teachers, objective, mapped):
    """`look` in a process of its own."""
    words = [folder, "--look", teachers, objective, *([] if mapped else ["--in-memory"])]
    done = subprocess.run(
        [sys.executable, __file__, "--folder", *map(str, words)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "SOURCE_ZOO_CACHE": str(folder / "cache")},
    )  # fmt: skip
    return json.loads(done.stdout)


def measure(options):
    """The table, and how much more many teachers hold than few."""
    few, many = options.teachers
    ratios = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        fill(folder, options.images, many)
        print("| imitated | arrays | teachers | MB held | seconds |\n|---|---|---|---|---|")
        for objective in ("target", "source"):
            held = {}
            for mapped in (True, False):
                for teachers in (few, many):
                    told = ask(folder, teachers, objective, mapped)
                    held[mapped, teachers] = told["bytes"]
                    where = "mapped" if mapped else "in memory"
                    print(
                        f"| {objective} | {where} | {teachers} | {told['bytes'] / 1e6:.0f} "
                        f"| {told['seconds']:.1f} |"
                    )
            ratios[f"{objective}_many_over_few"] = held[True, many] / held[True, few]
            ratios[f"{objective}_mapped_over_memory"] = held[True, many] / held[False, many]
    return ratios


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON line of ratios")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--teachers", type=int, nargs=2, default=[4, 48], help="few and many")
    parser.add_argument("--folder", type=Path, help="on a disk with room for all of it, twice")
    parser.add_argument("--look", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--in-memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        keep_freed_memory()
        if options.in_memory:
            zoo.system.tensors.LARGE = 1 << 60
        teachers, objective = options.look
        print(json.dumps(look(options.folder, int(teachers), objective)))
        return
    ratios = {name: round(value, 3) for name, value in measure(options).items()}
    print(json.dumps(ratios) if options.json else ratios)


if __name__ == "__main__":
    main()
