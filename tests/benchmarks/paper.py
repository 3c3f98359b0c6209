"""The paper's comparison on real targets. Every cell is a file, so a run resumes and extends.

python -m tests.benchmarks.paper --data DIR --out CELLS, where DIR holds TARGET/train and
TARGET/test. Several processes may fill one folder: --part 0/2 and --part 1/2. --show only prints
the tables. The regime `real` has students of 128 pixels and all teachers of this machine; `small`,
64 pixels and no teacher of the extra `imagenet`. A method with other numbers is a method of its
own: default:pseudo_label_weight=0 or weighted:power=4, and so is one with the teachers of another
zoo: default@FOLDER. A teacher that is called like the target is left out.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import cache
from itertools import product
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from distill.student import create_student, save_network, student_preprocessing
from distill.training.batches import weak_view
from distill.training.targets import soft_labels
from selection import METRICS, rank
from selection.shares import share_by_power
from tests.benchmarks.paper_tables import CORE, METHODS, draw_costs, show
from zoo import Features, extract_features, keep_freed_memory, list_cards, read_images
from zoo.features.controls import extract_controls
from zoo.features.inference import normalize
from zoo.features.linear_probe import standardize
from zoo.images.decoding import decode_images
from zoo.system.files import write_atomic
from zoo.teachers.starts import find_start

EXTRA = ("weighted_less_best", "default_less_best")
"""Asked for by name: the same without the teacher of the highest score."""

GENERIC = "imagenet_lite2"
"""The strongest ImageNet network of the zoo: the teacher of those who select none."""

POOL, TESTED = 700, 400
"""Images of a target to train on and to test on, at most: two cores are to be enough."""

SIZES = {"real": 128, "small": 64}
"""Pixels of the students by regime."""

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
def task_of(folder, labels, seed, zoo, regime):
    """Images with few labels, the teachers, and two rankings of them."""
    # the labels beyond the budget end here: no later step can look at them
    images = some(read_images(folder / "train"), POOL).keep_labels(labels, seed)
    cards = [card for card in list_cards(zoo) if card.name != folder.name]
    if regime == "small":
        cards = [card for card in cards if not card.name.startswith("imagenet")]
    probe = images.sample(seed=seed)
    asked = extract_features(cards, probe).features
    parc = {name: METRICS["parc"](outputs, probe.labels) for name, outputs in asked.items()}
    ours = rank(asked, probe.labels, controls=extract_controls(probe))
    return images, cards, parc, ours


def some(images, most):
    """As many of the images, at most: the same for all methods, labels and seeds."""
    return images.subset(np.sort(np.random.default_rng(0).permutation(len(images))[:most]))


def shares_of(method, parc, ours, draw, power):
    """Who teaches, and how much, by the name of the method; `power` is None for its own."""
    if method in ("transfer", "fixmatch", "probe", "feature"):
        return {}
    if method == "generic":
        return {GENERIC: 1.0}
    if method == "random":
        return {str(draw.choice(sorted(parc))): 1.0}
    name, _, less = method.partition("_less_")
    if name in ("default", "pseudo", "ceiling"):
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
    images, cards, parc, ours = task_of(folder, labels, seed, options.zoo, options.regime)
    features = extract_features(cards, images).features
    draw = np.random.default_rng([seed, labels, crc32(folder.name.encode())])
    name, numbers = parse(method)
    shares = shares_of(name, parc, ours, draw, numbers.pop("power", None))
    named = {teacher: round(share, 4) for teacher, share in shares.items()}
    test = some(read_images(folder / "test"), TESTED)
    if name == "ceiling":
        shown = extract_features(cards, test).features
        accuracy = ceiling_accuracy(images, test, features, shown, shares)
        return {"accuracy": round(accuracy, 5), "images": len(test), "teachers": named}
    recipe = Recipe(
        updates=0 if name == "probe" else options.updates,
        seed=seed,
        flip=folder.name not in NOT_MIRRORED,
        fixmatch_weight=float(name == "fixmatch"),
    )
    recipe, size, start = replace(recipe, **numbers), SIZES[options.regime], "auto"
    if name == "pseudo":
        guessed = soft_labels(features, shares, images.labels).probabilities.argmax(dim=1).numpy()
        images = replace(images, labels=np.where(images.labels < 0, guessed, images.labels))
        shares = {}
    with TemporaryDirectory() as place:
        seconds = 0.0
        if name == "feature":
            card = next(card for card in cards if card.name == GENERIC)
            start = place
            seconds = imitate(images, features[card.name], recipe, options.arch, size, Path(place))
        trained = train(
            images,
            recipe,
            arch=options.arch,
            features=features,
            shares=shares,
            objective="target" if name in ("default", "default_less_best", "generic") else "source",
            start=start,
            image_size=size,
        )
    result = evaluate(trained.network, test, images.classes, trained.preprocessing)
    return {
        "accuracy": round(result.accuracy, 5),
        "images": result.images,
        "updates": recipe.updates,
        "seconds": round(trained.seconds + seconds, 1),
        "teachers": named,
    }


def imitate(images, teacher, recipe, arch, size, folder):
    """Save a student that imitates a teacher's embeddings of all images; seconds it took.

    As many updates as the transfer that follows, the whole network, cosine distance through a
    linear layer that is thrown away.
    """
    began = time.monotonic()
    start = find_start("auto", arch)
    form = student_preprocessing(start, size)
    pixels = torch.from_numpy(decode_images(images.paths, form, digests=images.digests))
    wanted = torch.from_numpy(standardize(teacher.embeddings)).float()
    network: Any = create_student(arch, len(images.classes), start=start, image_size=size).network
    regressor = torch.nn.Linear(network.get_classifier().in_features, wanted.shape[1])
    weights = [*network.parameters(), *regressor.parameters()]
    optimizer = torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.updates, pct_start=recipe.warmup
    )
    draw = torch.Generator().manual_seed(recipe.seed)
    network.train()
    for _ in range(recipe.updates):
        rows = torch.randint(len(pixels), (recipe.unlabeled_batch,), generator=draw)
        views = normalize(weak_view(pixels[rows], recipe, draw), form)
        given = regressor(network.forward_head(network.forward_features(views), pre_logits=True))
        loss = 1 - cosine_similarity(given, wanted[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    named = {"arch": arch, "labels": images.classes, "license": "other", "preprocessing": form}
    save_network(network, folder, **named)
    return time.monotonic() - began


def ceiling_accuracy(images, test, seen, shown, shares):
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
        methods = options.methods or (CORE if options.reduced or labels == 25 else METHODS)
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
        regimes = json.loads(options.save.read_text())
        for key, cell in regimes.get(options.regime, {}).get("cells", {}).items():
            path = path_of(key, options)
            if not path.exists():
                write_atomic(path, json.dumps({"key": key, **cell}))


def path_of(key, options):
    return options.out / options.regime / f"{key.replace('/', '-')}.json"


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
    parser.add_argument("--regime", choices=SIZES, default="real")
    parser.add_argument("--arch", default="mobilenetv3_small_100")
    parser.add_argument("--zoo", default="builtin", help="take the teachers from this folder")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--reduced", action="store_true", help="one seed, 10 labels, main methods")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    parser.add_argument("--save", type=Path, help="write all cells and means into this file")
    parser.add_argument("--plot", type=Path, help="draw the table into this file")
    parser.add_argument("--costs", type=Path, help="draw accuracy against milliseconds into this")
    options = parser.parse_args()
    if options.reduced:
        options.labels, options.seeds = [10], 1
    folders = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
    options.folders = [f for f in folders if f.name in (options.targets or {f.name})]
    return options


def main():
    options = read_options()
    (options.out / options.regime).mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if not options.show:
        fill(options)
    paths = sorted((options.out / options.regime).glob("*.json"))
    cells = [json.loads(path.read_text()) for path in paths]
    cells = {cell.pop("key"): cell for cell in cells}
    show(cells, regime=options.regime, save=options.save, plot=options.plot)
    if options.costs:
        draw_costs(cells, SIZES[options.regime], options.costs)


if __name__ == "__main__":
    main()
