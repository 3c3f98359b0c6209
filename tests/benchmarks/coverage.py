"""Do the claims of a ranking hold? Coverage of its intervals, false claims, and power, simulated.

python -m tests.benchmarks.coverage prints the tables of docs/metrics.md; --data DIR, of folders
TARGET/train with class folders, adds the features of an embedded teacher. --tasks, --rankings,
--metrics and --labels make it shorter.
"""

import argparse
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selection import rank
from selection.resampling import find_interval, measure
from tests.support.scoring_tasks import wrap
from zoo import extract_features, list_cards, read_images

WIDTH, SIGNAL, UNLABELED = 16, 0.6, 200
TEACHERS = 16


def draw_gaussian(rng, labels, classes, unlabeled, signal=SIGNAL):
    """A task of equal Gaussian classes, whose centers are always the same."""
    centers = signal * np.random.default_rng(99).normal(size=(classes, WIDTH))
    truth = np.arange(labels * classes + unlabeled) % classes
    rows = rng.normal(size=(len(truth), WIDTH)) + centers[truth]
    return replace(wrap(rows), logits=rows.astype(np.float32)), np.where(
        np.arange(len(truth)) < labels * classes, truth, -1
    )


def draw_real(rng, features, truth, labels, classes, unlabeled):
    """A task of real features: some images of the first classes, the rest in part unlabeled."""
    order = rng.permutation(np.flatnonzero(truth < classes))
    known = np.concatenate([order[truth[order] == c][:labels] for c in range(classes)])
    rest = order[~np.isin(order, known)][:unlabeled]
    hidden = np.full(len(rest), -1)
    return features.rows(np.r_[known, rest]), np.r_[truth[known], hidden]


def cover(metric, draw, tasks):
    """Fraction of intervals that hold the mean score of all tasks; width of one over its ideal."""
    found = []
    for seed in range(tasks):
        features, labels = draw(np.random.default_rng([seed, 1]))
        score, subsamples, _ = measure(metric, features, labels, seed=seed)
        found.append((score, *(find_interval(metric, score, subsamples, labels) or (score, score))))
    scores, lows, highs = np.array(found).T
    inside = (lows <= scores.mean()) & (scores.mean() <= highs)
    return inside.mean(), (highs - lows).mean() / (3.92 * scores.std(ddof=1))


def read_pools(options):
    """Features and labels of the images of some targets, by the first embedded teacher."""
    card = list_cards()[0]
    for name in options.targets if options.data else ():
        images = read_images(options.data / name / "train")
        yield name, extract_features([card], images).features[card.name], images.labels


def show_intervals(options):
    print("| features | classes | labels per class | unlabeled |", *options.metrics, sep=" | ")
    worlds: list[tuple[str, int, Any]] = [("Gaussian", 99, draw_gaussian)]
    for name, features, truth in read_pools(options):
        worlds.append((name, truth.max() + 1, partial(draw_real, features=features, truth=truth)))
    for name, most, draw in worlds:
        for classes in (count for count in options.classes if count <= most):
            for labels in options.labels:
                for unlabeled in (0, UNLABELED):
                    task = partial(draw, labels=labels, classes=classes, unlabeled=unlabeled)
                    cells = [cover(metric, task, options.tasks) for metric in options.metrics]
                    shown = [f"{100 * inside:.0f} ({width:.1f})" for inside, width in cells]
                    row = [name, classes, labels, unlabeled, *shown]
                    print("|", " | ".join(map(str, row)), "|", flush=True)


def draw_zoo(seed, classes, labels, signals):
    """Teachers of independent noise on the same images."""
    rng = np.random.default_rng([seed, 1])  # other numbers than those of the subsamples
    drawn = [draw_gaussian(rng, labels, classes, 0, signal) for signal in signals]
    return {f"t{i:02}": features for i, (features, _) in enumerate(drawn)}, drawn[0][1]


def show_families(options):
    """How often equal teachers are said to differ, or noise to be above chance; and power."""
    print("| classes | labels per class | metric | equal apart, % | noise above chance, % |"
          " the good one apart, % of pairs |")  # fmt: skip
    for classes in options.classes:
        for labels in options.labels:
            for metric in options.metrics:
                apart, chance, power = [], [], []
                for seed in range(options.rankings):
                    zoo, known = draw_zoo(seed, classes, labels, [SIGNAL] * TEACHERS)
                    rows = rank(zoo, known, metric=metric, seed=seed).teachers
                    apart.append(any((row.rank or 1) > 1 for row in rows))
                    zoo, known = draw_zoo(seed, classes, labels, [0.0] * TEACHERS)
                    rows = rank(zoo, known, metric=metric, seed=seed).teachers
                    chance.append(any((row.score or 0) > (row.chance or 9) for row in rows))
                    signals = [2 * SIGNAL] + [SIGNAL] * (TEACHERS - 1)
                    zoo, known = draw_zoo(seed, classes, labels, signals)
                    rows = rank(zoo, known, metric=metric, seed=seed).teachers
                    power.append(
                        np.mean([(row.rank or 1) > 1 for row in rows if row.name != "t00"])
                    )
                cells = [f"{100 * np.mean(each):.0f}" for each in (apart, chance, power)]
                print(f"| {classes} | {labels} | {metric} |", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--targets", nargs="+", default=["digits", "flowers"], help="in DIR")
    parser.add_argument("--what", choices=("intervals", "families", "both"), default="both")
    parser.add_argument("--metrics", nargs="+", default=["linear_probe", "knn", "parc", "logme"])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 3])
    parser.add_argument("--labels", type=int, nargs="+", default=[4, 10, 40])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rankings", type=int, default=100)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.what != "families":
        show_intervals(options)
    if options.what != "intervals":
        show_families(options)


if __name__ == "__main__":
    main()
