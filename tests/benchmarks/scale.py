"""Do time and memory grow gently? `python -m tests.benchmarks.scale --images 2000 10000`.

A folder of small JPEGs is drawn (those without a label loose), and tiny teachers are made. The
first number of images, teachers, labels per class and classes is the usual one; any other is tried
with the usual ones of the rest. Each command runs in a process of its own: printed are wall
time, processor time, and the peak of memory that no file backs (RssAnon: the system cannot page it
out). `distill` runs all teachers on all images, `check` and `distill again` find their outputs
in the store. `distill killed` is killed when half of the outputs are stored, and run again: the
sum of both.

`--rows` draws features of so many images instead, for one teacher, and measures what takes no
images: soft labels from 200 labels, and the eight nearest neighbors of each image, with the part
of the true ones that is found.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from distill.training.targets import soft_labels
from selection.index import find_nearest, unit_rows
from tests.support.toys import build_teacher
from zoo import Features, keep_freed_memory
from zoo.features.extraction import SHARD
from zoo.system.tensors import scratch_array

COMMANDS = ("rank", "distill", "distill again", "check", "predict", "distill killed")
DIM = 64
"""Width of the synthetic features."""


class World(NamedTuple):
    """What a folder and a zoo are made of."""

    images: int = 2000
    teachers: int = 10
    labels: int = 20
    classes: int = 10


def worlds_of(options):
    """The usual world, and those that differ from it in one number."""
    numbers = {name: getattr(options, name) for name in World._fields}
    usual = World(*(values[0] for values in numbers.values()))
    yield usual
    for name, values in numbers.items():
        for value in values[1:]:
            yield usual._replace(**{name: value})


def draw_images(folder, world):
    """Smooth random pictures of 40 to 56 pixels, each class with a color of its own."""
    rng = np.random.default_rng(0)
    colors = rng.integers(60, 196, (world.classes, 3))
    for number in range(world.images):
        label = number % world.classes
        noise = rng.normal(0, 50, (6, 6, 3)) + colors[label]
        side = 40 + number % 17
        place = folder / f"class{label}" if number < world.classes * world.labels else folder
        place.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
        small.resize((side, side), Image.Resampling.BILINEAR).save(place / f"{number}.jpg")


def unbacked(process):
    """Bytes of a process in memory that no file holds; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return 1024 * int(found[0].split()[1]) if found else 0


def run(words, cache, log, shards=None):
    """Wall seconds, processor seconds and peak bytes; killed once the store has so many shards."""
    began, peak = time.monotonic(), 0
    environment = {**os.environ, "SOURCE_ZOO_CACHE": str(cache)}
    with log.open("w") as out:
        child = subprocess.Popen([*map(str, words)], stdout=out, stderr=sys.stderr, env=environment)
    done, status, usage = os.wait4(child.pid, os.WNOHANG)
    while not done:
        peak = max(peak, unbacked(child.pid))
        time.sleep(0.02)
        if shards and len([*cache.glob("features/*/*.safetensors")]) >= shards:
            os.kill(child.pid, signal.SIGKILL)  # `child.kill` would reap it
        done, status, usage = os.wait4(child.pid, os.WNOHANG)
    if status and not shards:
        raise RuntimeError(f"{words} ended with {status}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak


def measure(place, world, updates, chosen):
    """Rows of the table for the chosen commands."""
    imgs, zoo, log = place / "imgs", place / "zoo", place / "log"
    draw_images(imgs, world)
    for seed in range(world.teachers):
        build_teacher(zoo / f"teacher{seed}", f"teacher{seed}", seed=seed)
    zoo_command = [sys.executable, "-m", "cli.zoo_app"]
    target = ["--target", imgs, "--zoo", zoo]
    student = ["--arch", "test_resnet", "--start", "random", "--image-size", 32, "--updates",
               updates]  # fmt: skip
    named = [word for seed in range(world.teachers) for word in ("--teacher", f"teacher{seed}")]
    distill = [*zoo_command, "distill", *target, *student, *named, "--device", "cpu"]
    commands = {
        "rank": [*zoo_command, "rank", *target, "--save", place / "ranking.json"],
        "distill": [*distill, "--save", place / "student"],
        "distill again": [*distill, "--save", place / "again"],
        "check": [*zoo_command, "check", *target, "--suggest", 20],
        "predict": [*zoo_command, "predict", place / "student", imgs, "--csv"],
    }
    for name in filter(chosen.__contains__, commands):
        yield name, *run(commands[name], place / "cache", log)
    if "distill killed" not in chosen:
        return
    half = world.teachers * -(-world.images // SHARD) // 2
    killed = run([*distill, "--save", place / "killed"], place / "other", log, shards=half)
    resumed = run([*distill, "--save", place / "killed"], place / "other", log)
    both = zip(killed[:2], resumed[:2], strict=True)
    yield "distill killed", *map(sum, both), max(killed[2], resumed[2])


def draw_rows(place, count):
    """Features [N, DIM] on a curved surface of 16 dimensions, and noise; in a scratch array."""
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(16, DIM)).astype(np.float32) / 4
    rows = scratch_array((count, DIM), place)
    for start in range(0, count, 10_000):
        part = rows[start : start + 10_000]
        part[:] = np.tanh(rng.standard_normal((len(part), 16), np.float32) @ turn)
        part += 0.1 * rng.standard_normal(part.shape, np.float32)
    return rows


def soften(place, count):
    """Soft labels from features; nothing else to say."""
    rows = draw_rows(place, count)
    labels = np.where(np.arange(count) < 200, np.arange(count) % 10, -1)
    features = {"teacher": Features(rows, np.zeros((count, 0), np.float32))}
    return lambda: soft_labels(features, {"teacher": 1.0}, labels), lambda _: 0.0


def search(place, count):
    """Neighbors, and the part of those of 200 images that is found."""
    rows = draw_rows(place, count)
    unit = unit_rows(rows)

    def recall(found):
        some = np.random.default_rng(0).permutation(count)[:200]
        near = np.argsort(-(unit[some] @ unit.T), axis=1)[:, 1:9]
        return np.mean([len({*a} & {*b}) / 8 for a, b in zip(near, found[some], strict=True)])

    return lambda: find_nearest(rows, 8), recall


WORK = {"soft labels": soften, "neighbors": search}


def measure_rows(work, count, place):
    """The row of the table of one kind of work, in this process."""
    job, judge = WORK[work](place, count)
    before, peaks, done = unbacked(os.getpid()), [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peaks.append(unbacked(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, processor = time.monotonic(), time.process_time()
    found = job()
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    done.set()
    watcher.join()
    show((count,), work, wall, processor, max(peaks) - before)
    if work == "neighbors":
        print(f"recall of the 8 nearest: {judge(found):.3f}")


def plot(path, lines):
    """Draw the rows of printed tables: processor time and memory by what grows."""
    from matplotlib.figure import Figure

    cells = [line.strip(" |\n").split(" | ") for line in lines if line.startswith("| ")]
    rows = [row for row in cells if row[0].isdecimal() and row[4] in COMMANDS]
    figure = Figure(figsize=(13, 6), layout="constrained")
    panels = figure.subplots(2, len(World._fields), sharey="row")
    usual = rows[0][:4]
    for axis, name in enumerate(World._fields):
        others = [
            row for row in rows if row[:axis] + usual[axis : axis + 1] + row[axis + 1 : 4] == usual
        ]
        for below, column in enumerate((6, 8)):
            axes = panels[below, axis]
            for work in dict.fromkeys(row[4] for row in others):
                mine = sorted(
                    (int(row[axis]), float(row[column])) for row in others if row[4] == work
                )
                axes.plot(*zip(*mine, strict=True), marker="o", label=work)
            axes.set(xlabel=f"{name} per class" if name == "labels" else name)
    for axes in panels.flat:
        axes.set(xlim=(0, None), ylim=(0, None))
    panels[0, 0].set_ylabel("processor s")
    panels[1, 0].set_ylabel("peak MB")
    panels[0, 0].legend(fontsize="small")
    figure.savefig(path)


def show(world, name, wall, processor, peak):
    print(
        f"| {' | '.join(map(str, world))} | {name} | {wall:.0f} | {processor:.0f} "
        f"| {1e6 * processor / world[0]:.0f} | {peak / 1e6:.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, usual in World()._asdict().items():
        parser.add_argument(f"--{name}", type=int, nargs="+", default=[usual])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="on a disk with room for all of it")
    parser.add_argument("--rows", type=int, nargs="+", help="features instead of images")
    parser.add_argument("--plot", type=Path, help="draw the tables that stdin holds in this file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plot:
        plot(options.plot, sys.stdin)
        return
    keep_freed_memory()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        place = Path(name)
        if options.work:
            measure_rows(options.work, options.rows[0], place)
            return
        if options.rows:
            print("| images | work | seconds | processor s | processor us an image | peak MB |")
            print(6 * "|---" + "|", flush=True)
        for count, work in product(options.rows or (), WORK):
            again = [*sys.argv[1:], "--rows", str(count), "--work", work]
            subprocess.run([sys.executable, "-m", "tests.benchmarks.scale", *again], check=True)
        if not options.rows:
            print(f"| {' | '.join(World._fields)} | work | seconds | processor s ", end="")
            print("| processor us an image | peak MB |\n" + 9 * "|---" + "|", flush=True)
            for world in worlds_of(options):
                folder = place / "-".join(map(str, world))
                folder.mkdir()
                for row in measure(folder, world, options.updates, options.commands):
                    show(world, *row)
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
