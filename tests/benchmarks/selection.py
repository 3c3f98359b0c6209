"""Does a metric pick the teacher whose student is best? Every cell is stored, none runs twice.

python -m tests.benchmarks.selection --data DIR --out CELLS fills the folder CELLS, then prints the
tables; DIR holds TARGET/train and TARGET/test. Several processes may fill one folder: --part 0/2
and --part 1/2.
"""

import argparse
import json
import sys
from collections import defaultdict
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata, weightedtau

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from selection import METRIC, METRICS, UNLABELED
from selection.shares import choose, share_by_power
from tests.benchmarks.reference_metrics import kite, rsa
from zoo import extract_features, keep_freed_memory, list_cards, read_images
from zoo.errors import RankingError
from zoo.features.controls import RANDOM, START, extract_controls
from zoo.features.linear_probe import fit_ridge, ridge_leave_one_out, standardize
from zoo.system.files import write_atomic

COMBINED = (
    "parc,knn", "parc,logme", "linear_probe,logme", "knn,logme", "cka,logme", "leep,logme",
    "knn,linear_probe", "parc,knn,logme",
)  # fmt: skip
"""Combinations that are tried, by the mean of ranks."""


@cache
def read_all(folder, labels, seed):
    """The images of a target with few labels, and its test images."""
    return read_images(folder / "train").keep_labels(labels, seed), read_images(folder / "test")


def targets_of(options):
    return sorted(path for path in options.data.iterdir() if path.is_dir())


def cell_path(options, target, seed, teacher):
    return options.out / f"{target}-{options.labels}-{seed}-{teacher}.json"


def fill(options):
    """Run the cells of this part that are missing."""
    part, parts = map(int, options.part.split("/"))
    cards, number = list_cards(), 0
    for seed in options.seeds:
        for folder in targets_of(options):
            for name in ("none", *(card.name for card in cards)):
                path, number = cell_path(options, folder.name, seed, name), number + 1
                if path.exists() or number % parts != part:
                    continue
                images, test = read_all(folder, options.labels, seed)
                seen = extract_features(cards, images).features
                cell = measure(images, test, seen, name, options, seed)
                write_atomic(path, json.dumps(cell))
                print(path.name, cell, file=sys.stderr, flush=True)


def measure(images, test, seen, name, options, seed):
    """Test accuracy of the student of one teacher alone."""
    trained = train(
        images,
        Recipe(updates=options.updates, seed=seed),
        arch="mobilenetv3_small_100",
        features=seen,
        shares={} if name == "none" else {name: 1.0},
        objective="source",
    )
    result = evaluate(trained.network, test, images.classes, trained.preprocessing)
    return {"accuracy": result.accuracy, "images": result.images, "updates": options.updates}


def probe_accuracy(images, test, seen, shown):
    """Test accuracy of a ridge probe on the few labels, its strength chosen by cross-validation."""
    both = [
        standardize(np.concatenate([one.embeddings, other.embeddings])) / one.embeddings.shape[1]
        for one, other in zip(seen, shown, strict=True)
    ]
    rows, labeled = np.concatenate(both, axis=1), images.labels >= 0
    known, labels = rows[: len(images)][labeled], images.labels[labeled]
    weights, intercept = fit_ridge(known, labels, ridge_leave_one_out(known, labels)[1])
    answers = (rows[len(images) :] @ weights + intercept).argmax(axis=1)
    named = [images.classes[answer] for answer in answers]
    truth = [test.classes[label] for label in test.labels]
    return float(np.mean([one == other for one, other in zip(named, truth, strict=True)]))


def read_students(options, target, seed, names):
    """Accuracy of each teacher's student, NaN for all where a cell is missing."""
    paths = [cell_path(options, target, seed, name) for name in names]
    if not all(path.exists() for path in paths):
        return [np.nan] * len(names)
    return [json.loads(path.read_text())["accuracy"] for path in paths]


def judge_all(options, cards):
    """Scores {metric: [task, teacher]}, truths {truth: [task, teacher]}, sets {set: [task]}."""
    names = [card.name for card in cards]
    scores, sets = defaultdict(list), defaultdict(list)
    truths, targets = {"student": [], "frozen": []}, []
    for seed, folder in product(options.seeds, targets_of(options)):
        images, test = read_all(folder, options.labels, seed)
        seen, shown = (
            extract_features(cards, images).features,
            extract_features(cards, test).features,
        )
        probe = images.sample(seed=seed)
        asked, controls = extract_features(cards, probe).features, extract_controls(probe)
        targets.append(folder.name)
        truths["student"].append(read_students(options, folder.name, seed, names))
        truths["frozen"].append(
            [probe_accuracy(images, test, [seen[name]], [shown[name]]) for name in names]
        )
        row = score_task(asked, controls, probe.labels, names)
        row["chance"] = np.random.default_rng(len(targets)).random(len(names))
        for metric, values in row.items():
            scores[metric].append(values)
        for title, chosen in choose_sets(dict(zip(names, row["knn"], strict=True)), asked):
            looks = [[look[name] for name in chosen] for look in (seen, shown)]
            sets[title].append(100 * probe_accuracy(images, test, *looks))
        print(folder.name, seed, file=sys.stderr, flush=True)
    arrays = [
        {key: np.array(rows) for key, rows in each.items()} for each in (scores, truths, sets)
    ]
    return *arrays, np.array(targets)


def score_task(asked, controls, labels, names):
    """What each metric says of each teacher."""
    row = {
        metric: np.array([score(function, asked[name], labels) for name in names])
        for metric, function in METRICS.items()
    }
    for name, function, reference in (("rsa", rsa, START), ("kite", kite, RANDOM)):
        row[name] = np.array(
            [score(function, asked[one], labels, controls[reference]) for one in names]
        )
    for combination in COMBINED:
        row[combination] = np.mean([rankdata(row[m]) for m in combination.split(",")], axis=0)
    for name, function in UNLABELED.items():
        blind = function(asked)
        row[f"{name} (no labels)"] = np.array([blind[one] for one in names])
    return row


def choose_sets(scores, asked):
    """Sets of teachers, by name of the set."""
    order = sorted(scores, key=lambda name: -scores[name])
    yield "all", order
    yield "best by kNN", order[:1]
    shares = share_by_power(scores, 12)
    for count in (3, 5):
        yield f"{count} best by kNN", order[:count]
        yield f"{count} chosen by `--top {count}`", [*choose(shares, asked, count)]


def score(function, features, labels, *reference):
    try:
        return function(features, labels, *reference)
    except RankingError:
        return -1e9


def judge(scores, truth):
    """Per task: weighted tau, regret of the first pick, whether the best is among the first 3."""
    order = np.argsort(-scores, axis=1, kind="stable")
    tau = [weightedtau(one, other)[0] for one, other in zip(truth, scores, strict=True)]
    first = truth[np.arange(len(truth)), order[:, 0]]
    best = truth.argmax(axis=1)
    return np.array(
        [tau, 100 * (truth.max(axis=1) - first), (order[:, :3] == best[:, None]).any(1)]
    )


def draw_tasks(targets):
    """Resamples of the tasks, whole targets at a time."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(targets == target) for target in np.unique(targets)]
    return [
        np.concatenate([groups[g] for g in rng.integers(0, len(groups), len(groups))])
        for _ in range(1000)
    ]


def show(options):
    """A table for each truth: means over tasks, with 95 % intervals from resampling targets."""
    cards = list_cards()
    scores, truths, sets, targets = judge_all(options, cards)
    for truth, title in (("student", "the student"), ("frozen", "a probe on the frozen teacher")):
        known = np.flatnonzero(np.isfinite(truths[truth]).all(axis=1))
        if not len(known):
            continue
        draws = draw_tasks(targets[known])
        print(f"\nTruth: test accuracy of {title}; {len(known)} tasks, {len(cards)} teachers.\n")
        print(
            "| metric | weighted tau | regret of the first, points | less the default's "
            "| best in the first 3 |\n|---|---|---|---|---|"
        )
        usual = judge(scores[METRIC][known], truths[truth][known])[1]
        for metric, values in scores.items():
            tau, regret, found = judge(values[known], truths[truth][known])
            told = [
                interval(tau, draws, "{:.2f}"),
                interval(regret, draws, "{:.1f}"),
                "" if metric == METRIC else interval(regret - usual, draws, "{:+.1f}"),
                interval(found, draws, "{:.0%}"),
            ]
            print(f"| {metric} | " + " | ".join(told) + " |")
        spread = 100 * np.ptp(truths[truth][known], axis=1).mean()
        print(f"\nThe best teacher is {spread:.1f} points above the worst, on average.")
    print("\n| teachers side by side | test accuracy of a frozen probe |\n|---|---|")
    for title, values in sets.items():
        print(f"| {title} | {interval(values, draw_tasks(targets), '{:.1f}')} |")


def interval(values, draws, form):
    low, high = np.percentile([values[draw].mean() for draw in draws], (2.5, 97.5))
    return f"{form.format(values.mean())} ({form.format(low)} to {form.format(high)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    parser.add_argument("--save", type=Path, help="also write all cells into this file")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if not options.show:
        fill(options)
    if options.save:
        cells = {
            path.stem: json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))
        }
        write_atomic(options.save, json.dumps(cells, indent=1) + "\n")
    show(options)


if __name__ == "__main__":
    main()
