"""How well and how fast a few teachers are found among very many, by their fingerprints.

python -m tests.benchmarks.shortlist [--data DIR] [--cells CELLS] [--teachers 100 1000 10000 100000]
prints tables. The zoo is the real fingerprints of the embedded teachers and simulated ones around
them. DIR holds TARGET/train, real images to search with; without it the targets are simulated too.
CELLS holds TARGET-10-DRAW.json of tests/benchmarks/selection.py: what each teacher was
worth.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from selection import shortlist as module
from selection.index import pack_index, unit_rows
from selection.shortlist import (
    Target,
    build_shortlist,
    choose_nearby,
    embed_by_reference,
    read_index,
)
from zoo import Runtime, read_images
from zoo.teachers.catalogue import list_cards
from zoo.teachers.fingerprint import Fingerprint, fingerprint_path, reference_card

TRUE, SHOWN = 5, 30
DRAWS, IMAGES = 6, 200
"""Targets drawn from each real one: so many times, so many of its images, from half its classes."""


def simulate(real, count, draw):
    """Fingerprints [count, k, D] of teachers that might exist: one domain or two of the real ones
    [Z, k, D], each prototype between two real ones, all moved together and each a bit by itself."""
    every = real.reshape(-1, real.shape[2])
    places = (count, real.shape[1])
    homes, mix = draw.integers(0, len(real), (count, 2)), draw.beta(0.3, 0.3, (count, 1))
    home = np.where(draw.random(places) < mix, homes[:, :1], homes[:, 1:])
    one, other = (real[home, draw.integers(0, places[1], places)] for _ in range(2))
    between = draw.random((*places, 1), dtype=np.float32)

    def moves(*shape):
        one, other = draw.integers(0, len(every), (2, *shape))
        return every[one] - every[other]

    common = draw.uniform(0, 0.6, (count, 1, 1)).astype(np.float32) * moves(count, 1)
    rows = between * one + (1 - between) * other + common + 0.3 * moves(*places)
    flat = unit_rows(np.maximum(rows, 0).reshape(-1, real.shape[2]))
    return flat.reshape(rows.shape).astype(np.float16)


def zoo_of(real, names, count, draw):
    """`count` teachers: the real ones and simulated others."""
    zoo = dict(zip(names, real.astype(np.float16), strict=True))
    while len(zoo) < count:
        for prototypes in simulate(real, min(2000, count - len(zoo)), draw):
            zoo[f"simulated {len(zoo)}"] = prototypes
    return zoo


def read_targets(folder):
    """Embeddings [N, D] and labels of each real target's images."""
    found = {}
    for path in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        images = read_images(path / "train").sample()
        found[path.name] = embed_by_reference(images, Runtime()), images.labels
    return found


def draw_targets(targets, real, draw):
    """Sets of images to search with."""
    for embeddings, labels in targets.values():
        for _ in range(DRAWS):
            classes = np.unique(labels)
            half = draw.choice(classes, max(2, len(classes) // 2), replace=False)
            rows = np.flatnonzero(np.isin(labels, half))
            yield embeddings[draw.choice(rows, min(IMAGES, len(rows)), replace=False)]
    if not targets:
        for prototypes in simulate(real, 8 * DRAWS, draw):
            near = prototypes[draw.integers(0, len(prototypes), IMAGES)].astype(np.float32)
            yield near + 0.03 * draw.standard_normal(near.shape, dtype=np.float32)


def closeness_of_all(zoo, targets):
    """The literal score of every teacher for each target, from whole fingerprints."""
    centers = np.concatenate([target.centers for target in targets])
    starts = np.cumsum([0, *(len(target.centers) for target in targets)])
    every, near = list(zoo.values()), []
    for begin in range(0, len(every), 1000):
        some = np.stack(every[begin : begin + 1000]).astype(np.float32)
        near.append(
            (some.reshape(-1, some.shape[2]) @ centers.T).reshape(*some.shape[:2], -1).max(1)
        )
    near = np.concatenate(near)
    parts = zip(starts[:-1], starts[1:], targets, strict=True)
    return [near[:, first:last] @ target.shares for first, last, target in parts]


def measure(zoo, sets, measured):
    """Rows of the table, one for each number of teachers measured exactly."""
    began = time.perf_counter()
    shortlist = build_shortlist(zoo)
    built = time.perf_counter() - began
    index, prototypes = pack_index(shortlist.coverage).nbytes, shortlist.prototypes.nbytes
    targets = [Target.of_images(embeddings) for embeddings in sets]
    truths = closeness_of_all(zoo, targets)
    for count in measured:
        module.MEASURED = count
        recalls, lost, wall, cpu = [], [], [], []
        for target, scores in zip(targets, truths, strict=True):
            shortlist.search(target, SHOWN)
            began, worked = time.perf_counter(), time.process_time()
            found = [name for name, _ in shortlist.search(target, SHOWN)]
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
            true = {shortlist.names[row] for row in np.argsort(-scores)[:TRUE]}
            recalls.append(len(true & set(found)) / TRUE)
            best = dict(zip(shortlist.names, scores, strict=True))
            lost.append(scores.max() - max(best[name] for name in found))
        print(
            f"| {len(zoo):,} | {min(count, len(zoo)):,} | {np.mean(recalls):.3f} | "
            f"{np.mean(lost):.4f} | {1e3 * np.median(cpu):.1f} | {1e3 * np.median(wall):.1f} | "
            f"{index / 1e6:.1f} | {prototypes / 1e6:.1f} | {built:.0f} |",
            flush=True,
        )


def show_growth(real, names, targets, counts, measured):
    draw = np.random.default_rng(0)
    sets = list(draw_targets(targets, real, draw))
    kind = "real" if targets else "simulated"
    print(f"\n{len(names)} real fingerprints, the others simulated; {len(sets)} {kind} targets\n")
    print(
        f"| teachers | measured | recall of the true top {TRUE} in {SHOWN} | closeness lost | "
        "query, ms of CPU | of wall | FAISS index, MB | prototypes, MB | build, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for count in counts:
        measure(zoo_of(real, names, count, draw), sets, measured)


def frozen_accuracies(cells, target, names):
    """Mean over draws of what each teacher's frozen features are worth; None if one is missing."""
    found = [json.loads(path.read_text()) for path in cells.glob(f"{target}-10-*.json")]
    known = [dict(zip(cell["teachers"], cell["frozen"], strict=True)) for cell in found]
    if not known or any(name not in cell for cell in known for name in names):
        return None
    return np.array([np.mean([cell[name] for cell in known]) for name in names])


def show_choice(shortlist, targets, cells):
    """How many points the best teacher of a shortlist is below the best of all, by its length."""
    sizes = {card.name: card.bytes for card in list_cards("builtin")}
    lost = {}
    for target, (embeddings, _) in targets.items():
        order = shortlist.search(Target.of_images(embeddings), len(shortlist.names))
        names = [name for name, _ in order if name != target]
        worth = frozen_accuracies(cells, target, names)
        if worth is None:
            continue
        known = dict(zip(names, 100 * worth, strict=True))
        for count in (2, 3, 4, 6):
            choices = {
                "the nearest": names[:count],
                "the largest": sorted(names, key=lambda name: -sizes[name])[:count],
                "half and half": choose_nearby(names, sizes, count),
            }
            for how, chosen in choices.items():
                gap = max(known.values()) - max(known[name] for name in chosen)
                lost.setdefault((count, how), []).append(gap)
    print("\n| teachers | chosen | points lost, mean | at most |\n|---|---|---|---|")
    for (count, how), gaps in lost.items():
        print(f"| {count} | {how} | {np.mean(gaps):.1f} | {max(gaps):.1f} |")


def show_order(shortlist, targets, cells):
    """The real teachers in the shortlist's order, and whether that is the order of their worth."""
    print("\n| target | nearest fingerprints first | Spearman | place of the best teacher |")
    print("|---|---|---|---|")
    agreements, places = [], []
    for target, (embeddings, _) in targets.items():
        order = shortlist.search(Target.of_images(embeddings), len(shortlist.names))
        listed = ", ".join(f"{name} {score:.2f}" for name, score in order)
        names = [name for name, _ in order]
        worth = frozen_accuracies(cells, target, names) if cells else None
        if worth is None:
            print(f"| {target} | {listed} | | |")
            continue
        agreements.append(spearmanr(-np.arange(len(names)), worth)[0])
        places.append(1 + int(worth.argmax()))
        print(f"| {target} | {listed} | {agreements[-1]:.2f} | {places[-1]} of {len(names)} |")
    if places:
        mean = f"{np.mean(agreements):.2f} | {np.mean(places):.1f} of {len(shortlist.names)}"
        print(f"| mean of {len(places)} | | {mean} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--teachers", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--measured", type=int, nargs="+", default=[module.MEASURED])
    options = parser.parse_args()
    torch.set_num_threads(1)
    shortlist = read_index("builtin", Runtime()).shortlist
    prints = {card.name: fingerprint_path(card) for card in list_cards("builtin")}
    reference = reference_card().sha256
    real = np.stack(
        [
            Fingerprint.load(path, reference).prototypes
            for path in map(prints.get, shortlist.names)
            if path
        ]
    )
    real = unit_rows(real.reshape(-1, real.shape[2])).reshape(real.shape)
    targets = read_targets(options.data) if options.data else {}
    show_growth(real, shortlist.names, targets, options.teachers, options.measured)
    if targets:
        show_order(shortlist, targets, options.cells)
    if targets and options.cells:
        show_choice(shortlist, targets, options.cells)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\nLargest resident memory of this run: {peak:.1f} GB.")


if __name__ == "__main__":
    main()
