"""Does a metric pick the teacher whose student is best? Every cell is stored, none runs twice.

python tests/bench_selection.py --data DIR --out CELLS fills the folder CELLS, then prints the
tables; DIR holds TARGET/train and TARGET/test. Several processes may fill one folder: --part 0/2
and --part 1/2.
"""

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata, weightedtau

from distill import Recipe, train
from distill.evaluation import evaluate
from selection import METRICS, UNLABELED
from selection.redundancy import choose
from selection.shares import share_by_power
from selection.similarity import kite, rsa
from zoo import keep_freed_memory, list_cards, observe, read_images
from zoo.card import write_whole
from zoo.controls import RANDOM, START, observe_controls
from zoo.errors import RankingError
from zoo.probe import fit_ridge, ridge_leave_one_out, standardise

COMBINED = ("parc,knn", "knn,logme", "parc,knn,logme", "knn,probe", "knn,cka,hscore")
"""Combinations that are tried, by the mean of ranks."""


@cache
def read_all(folder, labels, seed):
    """The images of a target with few labels, and its test images."""
    return read_images(folder / "train").hide_labels(labels, seed), read_images(folder / "test")


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
                seen = observe(cards, images).features
                cell = measure(images, test, seen, name, options, seed)
                write_whole(path, json.dumps(cell))
                print(path.name, cell, file=sys.stderr, flush=True)


def measure(images, test, seen, name, options, seed):
    """Test accuracy of the student of one teacher alone, and of a probe on its frozen features."""
    trained = train(
        images,
        Recipe(updates=options.updates, seed=seed),
        arch="mobilenetv3_small_100",
        features=seen,
        shares={} if name == "none" else {name: 1.0},
    )
    result = evaluate(trained.network, test, images.classes, trained.preprocessing)
    cell = {"accuracy": result.accuracy, "images": result.images, "updates": options.updates}
    if name != "none":
        shown = observe([card for card in list_cards() if card.name == name], test).features
        cell["frozen"] = probe_accuracy(images, test, [seen[name]], [shown[name]])
    return cell


def probe_accuracy(images, test, seen, shown):
    """Test accuracy of a ridge probe on the few labels, its strength chosen by cross-validation."""
    both = [
        standardise(np.concatenate([one.embeddings, other.embeddings])) / one.embeddings.shape[1]
        for one, other in zip(seen, shown, strict=True)
    ]
    rows, labeled = np.concatenate(both, axis=1), images.labels >= 0
    known, labels = rows[: len(images)][labeled], images.labels[labeled]
    weights, intercept = fit_ridge(known, labels, ridge_leave_one_out(known, labels)[1])
    answers = (rows[len(images) :] @ weights + intercept).argmax(axis=1)
    named = [images.classes[answer] for answer in answers]
    truth = [test.classes[label] for label in test.labels]
    return float(np.mean([one == other for one, other in zip(named, truth, strict=True)]))


def tasks_of(options, names):
    """Every target and seed whose cells are all there, with them."""
    for seed in options.seeds:
        for folder in targets_of(options):
            paths = [cell_path(options, folder.name, seed, name) for name in names]
            if all(path.exists() for path in paths):
                yield folder, seed, [json.loads(path.read_text()) for path in paths]


def score_all(options, cards):
    """Scores {metric: [task, teacher]}, truths {truth: [task, teacher]}, and the tasks' targets."""
    names = [card.name for card in cards]
    scores, truths, targets = {}, {"accuracy": [], "frozen": []}, []
    for folder, seed, cells in tasks_of(options, names):
        images, _ = read_all(folder, options.labels, seed)
        probe = images.probe(seed=seed)
        seen, controls = observe(cards, probe).features, observe_controls(probe)
        targets.append(folder.name)
        for truth, rows in truths.items():
            rows.append([cell[truth] for cell in cells])
        row = {
            metric: np.array([score(function, seen[name], probe.labels) for name in names])
            for metric, function in METRICS.items()
        }
        for name, function, reference in (("rsa", rsa, START), ("kite", kite, RANDOM)):
            with_it = [
                score(function, seen[one], probe.labels, controls[reference]) for one in names
            ]
            row[name] = np.array(with_it)
        for combination in COMBINED:
            parts = [rankdata(row[metric]) for metric in combination.split(",")]
            row[combination] = np.mean(parts, axis=0)
        for name, function in UNLABELED.items():
            blind = function(seen)
            row[f"{name} (no labels)"] = np.array([blind[one] for one in names])
        row["chance"] = np.random.default_rng(len(targets)).random(len(names))
        for metric, values in row.items():
            scores.setdefault(metric, []).append(values)
    arrays = {metric: np.array(rows) for metric, rows in scores.items()}
    return arrays, {truth: np.array(rows) for truth, rows in truths.items()}, np.array(targets)


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
    rng, groups = np.random.default_rng(0), [np.flatnonzero(targets == t) for t in set(targets)]
    return [
        np.concatenate([groups[g] for g in rng.integers(0, len(groups), len(groups))])
        for _ in range(1000)
    ]


def show(options):
    """A table for each truth: means over tasks, with 95 % intervals from resampling targets."""
    cards = list_cards()
    scores, truths, targets = score_all(options, cards)
    if not len(targets):
        sys.exit("No task has all its cells yet.")
    draws = draw_tasks(targets)
    for truth, title in (("accuracy", "the student"), ("frozen", "a probe on the frozen teacher")):
        print(f"\nTruth: test accuracy of {title}; {len(targets)} tasks, {len(cards)} teachers.\n")
        print("| metric | weighted tau | regret of the first, points | best in the first 3 |")
        print("|---|---|---|---|")
        for metric, values in scores.items():
            cells = [
                interval(row, draws, form)
                for row, form in zip(
                    judge(values, truths[truth]), ("{:.2f}", "{:.1f}", "{:.0%}"), strict=True
                )
            ]
            print(f"| {metric} | " + " | ".join(cells) + " |")
        spread = 100 * np.ptp(truths[truth], axis=1).mean()
        print(f"\nThe best teacher is {spread:.1f} points above the worst, on average.")
    show_sets(options, cards, draws)


def interval(values, draws, form):
    low, high = np.percentile([values[draw].mean() for draw in draws], (2.5, 97.5))
    return f"{form.format(values.mean())} ({form.format(low)} to {form.format(high)})"


def show_sets(options, cards, draws):
    """What a set of teachers is worth: a probe on their features side by side."""
    names = [card.name for card in cards]
    rows = {}
    for folder, seed, _ in tasks_of(options, names):
        images, test = read_all(folder, options.labels, seed)
        seen, shown = observe(cards, images).features, observe(cards, test).features
        probe = images.probe(seed=seed)
        asked = observe(cards, probe).features
        scores = {name: METRICS["knn"](asked[name], probe.labels) for name in names}
        order = sorted(names, key=lambda name: -scores[name])
        shares = share_by_power(scores, 12)
        sets = {"all": order, "best by kNN": order[:1]}
        for count in (3, 5):
            sets[f"{count} best by kNN"] = order[:count]
            sets[f"{count} greedy (`--top {count}`)"] = [*choose(shares, asked, count)]
        for title, chosen in sets.items():
            value = probe_accuracy(
                images, test, [seen[name] for name in chosen], [shown[name] for name in chosen]
            )
            rows.setdefault(title, []).append(100 * value)
    print("\n| teachers side by side | test accuracy of a frozen probe |\n|---|---|")
    for title, values in rows.items():
        print(f"| {title} | {interval(np.array(values), draws, '{:.1f}')} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--show", action="store_true", help="only print what is there")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(1)
    if not options.show:
        fill(options)
    show(options)


if __name__ == "__main__":
    main()
