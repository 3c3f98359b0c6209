"""How right the teachers' soft labels are, by the rule that makes their shares; no student.

python -m tests.benchmarks.soft_labels --data TUNING, where TUNING is a folder by make_tuning.py.
The teacher that is called like the task is left out. Accuracy is that on the images of TASK/train
whose labels were hidden.
"""

import argparse
from collections import defaultdict
from itertools import product
from math import inf
from pathlib import Path

import numpy as np

from distill.training.targets import soft_labels
from selection import rank
from selection.shares import share_by_power
from zoo import extract_features, list_cards, read_images
from zoo.features.controls import extract_controls

METRIC = "linear_probe"
"""The one that makes the shares by default."""

LEAST = 30
"""Hidden labels that a task must have to count."""

POWERS = (0.0, 2.0, 4.0, 8.0, 12.0, inf)


def shares_by_rule(ranking):
    """{rule: shares}: by power alone, and at the default power by what controls may do."""
    scores = {row.name: row.score for row in ranking.teachers if row.status == "ok"}
    controls = [row.score for row in ranking.teachers if row.status == "control"]
    above = {name: score for name, score in scores.items() if score > max(controls)}
    rules = {f"power {power:g}": share_by_power(scores, power) for power in POWERS}
    rules["not significantly worse than a control"] = ranking.weights()
    rules["above every control"] = share_by_power(above or scores, ranking.power)
    return rules


def measure(folder, labels, seed):
    """{rule: (accuracy, cross-validated accuracy, teachers)} of a task; {} if it is too small."""
    truth = read_images(folder / "train")
    counts = np.bincount(truth.labels)
    if counts.min() < labels or counts.sum() - labels * len(counts) < LEAST:
        return {}
    images = truth.keep_labels(labels, seed)
    hidden = images.labels < 0
    cards = [card for card in list_cards() if card.name != folder.name]
    probe = images.sample(seed=seed)
    ranking = rank(
        extract_features(cards, probe).features,
        probe.labels,
        metric=METRIC,
        controls=extract_controls(probe),
    )
    features = extract_features(cards, images).features
    found = {}
    for rule, shares in shares_by_rule(ranking).items():
        told = soft_labels(features, shares, images.labels)
        right = told.probabilities.argmax(dim=1).numpy() == truth.labels
        found[rule] = right[hidden].mean(), told.accuracy, len(shares)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[4, 10, 25])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folders = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
    found = defaultdict(list)
    for folder, labels, seed in product(folders, options.labels, range(options.seeds)):
        for rule, numbers in measure(folder, labels, seed).items():
            found[rule, labels].append(numbers)
    print(f"Accuracy of the soft labels, % (by their own cross-validation; teachers), "
          f"{len(folders)} tasks x {options.seeds} seeds\n")  # fmt: skip
    print(f"| shares | {' | '.join(f'{n} labels per class' for n in options.labels)} |")
    print(f"|---|{'---|' * len(options.labels)}")
    for rule in dict.fromkeys(rule for rule, _ in found):
        means = [np.mean(found[rule, labels], axis=0) for labels in options.labels]
        cells = [f"{100 * a:.1f} ({100 * cv:.1f}; {count:.1f})" for a, cv, count in means]
        print(f"| {rule} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
