"""Does a metric pick the teacher whose student is best? Every cell is stored, none runs twice.

python tests/bench_selection.py --data DIR --out CELLS fills the folder CELLS, then prints the table;
DIR holds TARGET/train and TARGET/test. Several processes may fill one folder: --part 0/2, --part 1/2.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.stats import weightedtau

from distill import Recipe, train
from distill.evaluation import evaluate
from selection import METRICS
from zoo import keep_freed_memory, list_cards, observe, read_images
from zoo.card import write_whole
from zoo.errors import RankingError
from zoo.probe import fit_ridge, ridge_leave_one_out, standardise


def read_target(folder, options, seed):
    """The images of a target with few labels, and its test images."""
    images = read_images(folder / "train").hide_labels(options.labels, seed)
    return images, read_images(folder / "test")


def cell_path(options, target, seed, teacher):
    return options.out / f"{target}-{options.labels}-{seed}-{teacher}.json"


def fill(options):
    """Run the cells of this part that are missing."""
    part, parts = map(int, options.part.split("/"))
    cards = list_cards()
    number = 0
    for seed in options.seeds:
        for folder in sorted(path for path in options.data.iterdir() if path.is_dir()):
            seen = images = test = None
            for name in ("none", *(card.name for card in cards)):
                path, number = cell_path(options, folder.name, seed, name), number + 1
                if path.exists() or number % parts != part:
                    continue
                if images is None:
                    images, test = read_target(folder, options, seed)
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
        cell["frozen"] = probe_accuracy(images, test, seen[name], name)
    return cell


def probe_accuracy(images, test, features, name):
    """Test accuracy of a ridge probe on the few labels, its strength chosen by cross-validation."""
    (card,) = [card for card in list_cards() if card.name == name]
    shown = observe([card], test).features[name].embeddings
    labeled = images.labels >= 0
    rows = standardise(np.concatenate([features.embeddings, shown]))
    _, strength = ridge_leave_one_out(rows[: len(images)][labeled], images.labels[labeled])
    weights, intercept = fit_ridge(rows[: len(images)][labeled], images.labels[labeled], strength)
    answers = (rows[len(images) :] @ weights + intercept).argmax(axis=1)
    named = [images.classes[answer] for answer in answers]
    truth = [test.classes[label] for label in test.labels]
    return float(np.mean([one == other for one, other in zip(named, truth, strict=True)]))


def score_all(options):
    """Scores [metric, task, teacher] of every metric, truths [truth, task, teacher], and the tasks."""
    cards = list_cards()
    names = [card.name for card in cards]
    scores, truths, tasks = {metric: [] for metric in METRICS}, {"accuracy": [], "frozen": []}, []
    for seed in options.seeds:
        for folder in sorted(path for path in options.data.iterdir() if path.is_dir()):
            paths = [cell_path(options, folder.name, seed, name) for name in names]
            if not all(path.exists() for path in paths):
                continue
            cells = [json.loads(path.read_text()) for path in paths]
            images, _ = read_target(folder, options, seed)
            probe = images.probe(seed=seed)
            seen = observe(cards, probe).features
            tasks.append(f"{folder.name} {seed}")
            for truth, rows in truths.items():
                rows.append([cell[truth] for cell in cells])
            for metric, rows in scores.items():
                rows.append([score(metric, seen[name], probe.labels) for name in names])
    return (
        {m: np.array(v) for m, v in scores.items()},
        {t: np.array(v) for t, v in truths.items()},
        tasks,
    )


def score(metric, features, labels):
    try:
        return METRICS[metric](features, labels)
    except RankingError:
        return -np.inf


def judge(scores, truth):
    """Per task: weighted tau, regret of the first pick, whether the best is among the first 3."""
    order = np.argsort(-scores, axis=1, kind="stable")
    best = truth.argmax(axis=1)
    rows = np.arange(len(truth))
    tau = [weightedtau(t, np.maximum(s, -1e9))[0] for s, t in zip(scores, truth, strict=True)]
    regret = 100 * (truth.max(axis=1) - truth[rows, order[:, 0]])
    return np.array([tau, regret, (order[:, :3] == best[:, None]).any(axis=1)])


def show(options):
    """The table: means over tasks, with 95 % intervals from resampling targets."""
    scores, truths, tasks = score_all(options)
    if not tasks:
        sys.exit("No task has all its cells yet.")
    targets = sorted({task.split()[0] for task in tasks})
    groups = [[i for i, task in enumerate(tasks) if task.split()[0] == t] for t in targets]
    rng = np.random.default_rng(0)
    draws = [
        sum((groups[g] for g in rng.integers(0, len(groups), len(groups))), []) for _ in range(1000)
    ]
    scores["random"] = rng.random(truths["accuracy"].shape)
    for truth, title in (("accuracy", "student"), ("frozen", "frozen probe")):
        print(
            f"\n{len(tasks)} tasks, {truths[truth].shape[1]} teachers; truth: test accuracy of the {title}\n"
        )
        print("| metric | weighted tau | regret of the first pick, points | best in the top 3 |")
        print("|---|---|---|---|")
        for metric, values in scores.items():
            judged = judge(values, truths[truth])
            cells = []
            for row, form in zip(judged, ("{:.2f}", "{:.1f}", "{:.0%}"), strict=True):
                low, high = np.percentile([row[draw].mean() for draw in draws], (2.5, 97.5))
                cells.append(
                    f"{form.format(row.mean())} ({form.format(low)} to {form.format(high)})"
                )
            print(f"| {metric} | " + " | ".join(cells) + " |")
        spread = 100 * np.ptp(truths[truth], axis=1)
        print(f"\nBest less worst teacher: {spread.mean():.1f} points on average.")


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
