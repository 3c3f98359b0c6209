"""Does a metric pick the best teacher? Every task is stored, none runs twice.

python -m tests.benchmarks.selection --data DIR --out CELLS fills the folder CELLS, then prints the
tables; DIR holds TARGET/train and TARGET/test. The images are those of `tests.benchmarks.paper`,
so that features of its cache serve. Several processes may fill one folder: --part 0/2 and
--part 1/2. --students K also trains the student of each teacher alone, for the first K draws.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata, weightedtau

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from selection import METRIC, METRICS, UNLABELED
from tests.benchmarks.paper import GENERIC, POOL, SIZES, TESTED, some
from tests.benchmarks.reference_metrics import kite, rsa
from zoo import extract_features, keep_freed_memory, list_cards, read_images
from zoo.errors import RankingError
from zoo.features.controls import RANDOM, START, extract_controls
from zoo.features.linear_probe import fit_ridge, ridge_leave_one_out, standardize
from zoo.system.files import write_atomic

COMBINED = (
    "parc,knn", "parc,logme", "linear_probe,logme", "knn,logme", "cka,logme", "leep,logme",
    "knn,linear_probe", "leep,linear_probe", "leep,knn", "parc,knn,logme",
    "leep,linear_probe,logme", "linear_probe,cka", "linear_probe,hscore",
    "linear_probe,cka,hscore", "linear_probe,hscore,knn", "linear_probe,hscore,leep",
    "linear_probe,cka,leep", "linear_probe,cka,knn", "linear_probe,cka,logme",
)  # fmt: skip
"""Combinations that are tried, by the mean of ranks."""

STATIC = f"always {GENERIC}"
"""The choice of those who rank nothing: the largest network of ImageNet, then the next largest."""

FIRST = 3
"""Teachers that may be tried out."""


def tasks_of(options):
    """Paths of the cells, and their folder, labels per class and draw."""
    folders = sorted(path for path in options.data.iterdir() if (path / "train").is_dir())
    for seed, folder, labels in product(range(options.draws), folders, options.labels):
        yield options.out / f"{folder.name}-{labels}-{seed}.json", folder, labels, seed


def fill(options):
    """Run the tasks of this part that are missing."""
    part, parts = map(int, options.part.split("/"))
    for number, (path, folder, labels, seed) in enumerate(tasks_of(options)):
        if number % parts != part:
            continue
        cell = json.loads(path.read_text()) if path.exists() else {}
        images = some(read_images(folder / "train"), options.pool).keep_labels(labels, seed)
        test = some(read_images(folder / "test"), options.tested)
        cards = [card for card in list_cards() if card.name != folder.name]
        if "scores" not in cell:
            seen, shown = (extract_features(cards, each).features for each in (images, test))
            cell["teachers"] = [*seen]
            cell["frozen"] = [probe_accuracy(images, test, seen[n], shown[n]) for n in seen]
            cell["scores"] = score_task(images.sample(seed=seed), cards)
        if seed < options.students and "student" not in cell:
            seen = extract_features(cards, images).features
            cell["student"] = [teach(images, test, seen, name, options) for name in seen]
        write_atomic(path, json.dumps(cell))
        print(path.name, file=sys.stderr, flush=True)


def teach(images, test, seen, name, options):
    """Test accuracy of the student of one teacher alone."""
    trained = train(
        images, Recipe(updates=options.updates), arch="mobilenetv3_small_100", features=seen,
        shares={name: 1.0}, objective="target", image_size=SIZES["real"],
    )  # fmt: skip
    return evaluate(trained.network, test, images.classes, trained.preprocessing).accuracy


def probe_accuracy(images, test, seen, shown):
    """Test accuracy of a ridge probe on the few labels, its strength chosen by cross-validation."""
    rows = standardize(np.concatenate([seen.embeddings, shown.embeddings]))
    labeled = images.labels >= 0
    known, labels = rows[: len(images)][labeled], images.labels[labeled]
    weights, intercept = fit_ridge(known, labels, ridge_leave_one_out(known, labels)[1])
    answers = (rows[len(images) :] @ weights + intercept).argmax(axis=1)
    truth = [images.classes.index(test.classes[label]) for label in test.labels]
    return float((answers == np.array(truth)).mean())


def score_task(images, cards):
    """What each metric says of each teacher, to six digits: {metric: [T]}, None for nothing."""
    seen, controls = extract_features(cards, images).features, extract_controls(images)
    found = {
        metric: [score(function, each, images.labels) for each in seen.values()]
        for metric, function in METRICS.items()
    }
    for metric, function, reference in (("rsa", rsa, START), ("kite", kite, RANDOM)):
        found[metric] = [
            score(function, each, images.labels, controls[reference]) for each in seen.values()
        ]
    for metric, function in UNLABELED.items():
        found[f"{metric} (no labels)"] = [float(f"{x:.6g}") for x in function(seen).values()]
    return found


def score(function, features, labels, *reference):
    try:
        return float(f"{function(features, labels, *reference):.6g}")
    except RankingError:
        return None


def judge(cells, truth):
    """By metric and task: weighted tau, regret of the first pick, and of the best of the first 3.

    Returns:
        {metric: [tasks, 3]}; regrets in points of accuracy.
    """
    judged = {}
    for number, cell in enumerate(cells):
        names, reached = cell["teachers"], 100 * np.array(cell[truth])
        table = {
            metric: np.array([-np.inf if each is None else each for each in scores])
            for metric, scores in cell["scores"].items()
        }
        for combination in COMBINED:
            ranks = [rankdata(table[metric]) for metric in combination.split(",")]
            table[combination] = np.mean(ranks, axis=0) + 1e-6 * rankdata(table["logme"])
        generic = GENERIC[:-1]
        table[STATIC] = np.array([name.startswith(generic) * ord(name[-1]) for name in names])
        table["chance"] = np.random.default_rng(number).random(len(names))
        for metric, scores in table.items():
            order = np.argsort(-scores, kind="stable")
            gone = reached.max() - np.maximum.accumulate(reached[order])
            tau = weightedtau(reached, scores)[0]
            judged.setdefault(metric, []).append((tau, gone[0], gone[FIRST - 1]))
    return {metric: np.array(rows) for metric, rows in judged.items()}


def show(options):
    """A table for each truth and number of labels: means over tasks, intervals over targets."""
    stored = json.loads(options.save.read_text()) if options.save and options.save.exists() else {}
    cells = {
        path.stem: json.loads(path.read_text()) for path, *_ in tasks_of(options) if path.exists()
    }
    for truth, labels in product(("frozen", "student"), (*options.labels, None)):
        known = {
            key: cell for key, cell in cells.items()
            if truth in cell and (labels is None or key.split("-")[-2] == str(labels))
        }  # fmt: skip
        if known:
            print(f"\nTruth: {truth}; {labels or 'all'} labels per class; {len(known)} tasks.\n")
            show_table(judge(known.values(), truth), [key.split("-")[0] for key in known])
            spread = [np.ptp(cell[truth]) for cell in known.values()]
            print(f"\nThe best teacher is {100 * np.mean(spread):.1f} points above the worst.")
    if options.save:
        stored[options.data.name] = cells
        write_atomic(options.save, json.dumps(stored) + "\n")


def show_table(judged, targets):
    draws = draw_tasks(np.array(targets))
    print(
        f"| metric | weighted tau | regret of the first, points | less {METRIC}'s | less that of "
        f"{STATIC} | regret of the best of {FIRST} | less that of {STATIC} |\n" + 7 * "|---" + "|"
    )
    for metric, rows in sorted(judged.items(), key=lambda each: each[1][:, 1].mean()):
        told = [
            interval(rows[:, 0], draws, "{:.2f}"),
            interval(rows[:, 1], draws, "{:.1f}"),
            interval(rows[:, 1] - judged[METRIC][:, 1], draws, "{:+.1f}"),
            interval(rows[:, 1] - judged[STATIC][:, 1], draws, "{:+.1f}"),
            interval(rows[:, 2], draws, "{:.1f}"),
            interval(rows[:, 2] - judged[STATIC][:, 2], draws, "{:+.1f}"),
        ]
        print(f"| {metric} | " + " | ".join(told) + " |")


def draw_tasks(targets):
    """Resamples of the tasks, whole targets at a time."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(targets == target) for target in np.unique(targets)]
    return [
        np.concatenate([groups[g] for g in rng.integers(0, len(groups), len(groups))])
        for _ in range(1000)
    ]


def interval(values, draws, form):
    if not values.any():
        return ""
    low, high = np.percentile([values[draw].mean() for draw in draws], (2.5, 97.5))
    return f"{form.format(values.mean())} ({form.format(low)} to {form.format(high)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 4])
    parser.add_argument("--draws", type=int, default=5, help="of the labels")
    parser.add_argument("--pool", type=int, default=POOL, help="images to train on, at most")
    parser.add_argument("--tested", type=int, default=TESTED, help="images to test on, at most")
    parser.add_argument("--students", type=int, default=0, help="draws with students")
    parser.add_argument("--updates", type=int, default=200, help="of a student")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    parser.add_argument("--save", type=Path, help="also write all cells into this file")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if not options.show:
        fill(options)
    show(options)


if __name__ == "__main__":
    main()
