"""The paper's comparison on real targets. Every cell is a file, so a run resumes and extends.

python -m tests.benchmarks.paper --data DIR --out CELLS, where DIR holds TARGET/train and
TARGET/test. Several processes may fill one folder: --part 0/2 and --part 1/2. --show only prints
the tables. A method with other numbers is a method of its own: default:pseudo_label_weight=0 or
weighted:power=4, and so is one with the teachers of another zoo: default@FOLDER. A teacher that is
called like the target is left out.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import cache
from itertools import product
from math import inf
from pathlib import Path
from zlib import crc32

import numpy as np
import torch

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from distill.training.targets import soft_labels
from selection import METRICS, rank
from selection.shares import share_by_power
from tests.benchmarks.paper_tables import show
from zoo import Features, extract_features, keep_freed_memory, list_cards, read_images
from zoo.features.controls import extract_controls
from zoo.system.files import write_atomic

METHODS = ("transfer", "fixmatch", "random", "equal", "nearest", "weighted", "default")
"""What `zoo distill` can do, by the words of the paper; `shares_of` says who teaches."""

EXTRA = ("weighted_less_best", "default_less_best", "probe")
"""Asked for by name: the same without the teacher of the highest score, and no student at all but
the probe on the default's teachers."""

FOUR = ("transfer", "fixmatch", "weighted", "default")
"""The methods of the reduced form, of 25 labels and of the large student."""

PAPER_POWER = 12.0
"""p of the paper's weights, recollected."""

NOT_MIRRORED = frozenset({"chest_xray", "digits", "hand_digits", "kana", "traffic_signs"})
"""Targets whose images may not be mirrored: chests, digits, hands, letters and signs."""


def parse(method):
    """Name of a method and its numbers: `weighted:power=4,label_weight=0.8@zoo`."""
    name, _, text = method.partition("@")[0].partition(":")
    if name not in METHODS + EXTRA:
        sys.exit(f"{name!r} is not one of {', '.join(METHODS + EXTRA)}")
    pairs = [entry.split("=") for entry in text.split(",") if entry]
    return name, {key: float(value) for key, value in pairs}


@cache
def task_of(folder, labels, seed, zoo):
    """Images with few labels, the teachers, and two rankings of them."""
    # the labels beyond the budget end here: no later step can look at them
    images = read_images(folder / "train").keep_labels(labels, seed)
    cards = [card for card in list_cards(zoo) if card.name != folder.name]
    probe = images.sample(seed=seed)
    asked = extract_features(cards, probe).features
    parc = {name: METRICS["parc"](outputs, probe.labels) for name, outputs in asked.items()}
    ours = rank(asked, probe.labels, controls=extract_controls(probe))
    return images, cards, parc, ours


def shares_of(method, parc, ours, draw, power):
    """Who teaches, and how much, by the name of the method; `power` is None for its own."""
    if method in ("transfer", "fixmatch"):
        return {}
    if method == "random":
        return {str(draw.choice(sorted(parc))): 1.0}
    name, _, less = method.partition("_less_")
    if name in ("default", "probe"):
        shares = ours.weights(power)
        if less:
            shares.pop(ours.nearest(), None)
            total = sum(shares.values())
            shares = {teacher: share / total for teacher, share in shares.items()}
        return shares
    if less:
        parc = {teacher: score for teacher, score in parc.items() if score < max(parc.values())}
    usual = {"equal": 0.0, "nearest": inf}.get(name, PAPER_POWER)
    return share_by_power(parc, usual if power is None else power)


def measure(folder, labels, seed, method, options):
    """One cell: teach a student, then show it the test images for the first time."""
    images, cards, parc, ours = task_of(folder, labels, seed, options.zoo)
    features = extract_features(cards, images).features
    draw = np.random.default_rng([seed, labels, crc32(folder.name.encode())])
    name, numbers = parse(method)
    shares = shares_of(name, parc, ours, draw, numbers.pop("power", None))
    named = {teacher: round(share, 4) for teacher, share in shares.items()}
    test = read_images(folder / "test")
    if name == "probe":
        shown = extract_features(cards, test).features
        accuracy = probe_accuracy(images, test, features, shown, shares)
        return {"accuracy": round(accuracy, 5), "images": len(test), "teachers": named}
    recipe = Recipe(
        updates=options.updates,
        seed=seed,
        flip=folder.name not in NOT_MIRRORED,
        fixmatch_weight=float(name == "fixmatch"),
    )
    trained = train(
        images,
        replace(recipe, **numbers),
        arch=options.arch,
        features=features,
        shares=shares,
        objective="target" if name.startswith("default") else "source",
    )
    result = evaluate(trained.network, test, images.classes, trained.preprocessing)
    return {
        "accuracy": round(result.accuracy, 5),
        "images": result.images,
        "updates": options.updates,
        "seconds": round(trained.seconds, 1),
        "teachers": named,
    }


def probe_accuracy(images, test, seen, shown, shares):
    """Test accuracy of the soft labels themselves."""
    both = {name: Features(*map(np.concatenate, zip(*(
        (each[name].embeddings, each[name].logits) for each in (seen, shown)
    ), strict=True))) for name in shares}  # fmt: skip
    labels = np.concatenate([images.labels, np.full(len(test), -1)])
    said = soft_labels(both, shares, labels).probabilities[len(images) :].argmax(dim=1)
    truth = [images.classes.index(test.classes[label]) for label in test.labels]
    return float((said.numpy() == np.array(truth)).mean())


def cells_of(options):
    """Keys and folders of what is asked for, the most telling first."""
    mark = "" if options.zoo == "builtin" else f"@{Path(options.zoo).name}"
    for seed, labels in product(range(options.seeds), options.labels):
        methods = options.methods or (FOUR if options.reduced or labels == 25 else METHODS)
        for folder in options.folders:
            for method in methods:
                yield f"{options.arch}/{folder.name}/{labels}/{seed}/{method}{mark}", folder


def fill(options):
    """Run the cells of this part that are missing, in the folder and in the file of --save."""
    unpack(options)
    part, parts = map(int, options.part.split("/"))
    for key, folder in cells_of(options):
        path = path_of(key, options)
        _, _, labels, seed, method = key.split("/")
        if crc32(f"{folder.name}{labels}{seed}".encode()) % parts != part or path.exists():
            continue
        cell = measure(folder, int(labels), int(seed), method, options)
        write_atomic(path, json.dumps({"key": key, **cell}))
        print(key, cell["accuracy"], cell.get("seconds"), file=sys.stderr, flush=True)
        if task_of.cache_info().currsize > 1:
            task_of.cache_clear()


def unpack(options):
    """Put the cells of an earlier --save where those of this run will lie."""
    if options.save and options.save.exists():
        for key, cell in json.loads(options.save.read_text())["cells"].items():
            path = path_of(key, options)
            if not path.exists():
                write_atomic(path, json.dumps({"key": key, **cell}))


def path_of(key, options):
    return options.out / f"{key.replace('/', '-')}.json"


def read_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells")
    parser.add_argument("--targets", nargs="+", help="all of DIR if not given")
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--methods", nargs="+", help="with other numbers: default:pseudo_label_weight=0"
    )
    parser.add_argument("--arch", default="mobilenetv3_small_100")
    parser.add_argument("--zoo", default="builtin", help="take the teachers from this folder")
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--reduced", action="store_true", help="one seed, 10 labels, four methods")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    parser.add_argument("--save", type=Path, help="write all cells and means into this file")
    parser.add_argument("--plot", type=Path, help="draw the table into this file")
    options = parser.parse_args()
    if options.reduced:
        options.labels, options.seeds = [10], 1
    folders = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
    options.folders = [f for f in folders if f.name in (options.targets or {f.name})]
    return options


def main():
    options = read_options()
    options.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if not options.show:
        fill(options)
    cells = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
    show({cell.pop("key"): cell for cell in cells}, save=options.save, plot=options.plot)


if __name__ == "__main__":
    main()
