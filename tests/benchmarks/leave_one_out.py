"""Which teachers of the embedded zoo help: soft labels with all of them, and without each.

python -m tests.benchmarks.leave_one_out --data TUNING, where TUNING is a folder by make_tuning.py.
The teacher that is called like the task is left out of it. Accuracy is that on the images of
TASK/train whose labels were hidden, in %; shares are made by `selection.rank`, and those of the
others grow in proportion where one is left out. A line a task also has the accuracy without
self-training, of ridge regression on the labels alone. --without imagenet shows what a machine
without the extra `imagenet` has, --zoo what another folder of teachers is worth.
"""

import argparse
from pathlib import Path
from unittest.mock import patch

import numpy as np

from distill.training import targets
from distill.training.targets import soft_labels
from selection import rank
from selection.shares import normalize
from zoo import extract_features, list_cards, read_images
from zoo.features.controls import extract_controls

RIDGE = "ridge"
"""Key of the accuracy without self-training."""

METRIC = "linear_probe,hscore"
"""Those that make the shares by default."""

IMAGES = 500
"""Of a task at most."""

LEAST = 30
"""Hidden labels that a task must have to count."""


def measure(folder, options, zoo):
    """[draw, {teacher left out, or "" for none: accuracy}] and {teacher: share} of a task."""
    images = read_images(folder / "train")
    chosen = np.random.default_rng(0).permutation(len(images))[:IMAGES]
    images = images.subset(np.sort(chosen))
    counts = np.bincount(images.labels)
    if counts.min() < options.labels or counts.sum() - options.labels * len(counts) < LEAST:
        return [], {}
    cards = [card for card in zoo if not card.name.startswith(folder.name)]
    features = extract_features(cards, images).features
    controls = extract_controls(images)
    found, shared = [], dict.fromkeys(features, 0.0)
    for seed in range(options.draws):
        known = images.keep_labels(options.labels, seed).labels
        shares = rank(features, known, metric=METRIC, controls=controls).weights()
        row = {"": accuracy(features, shares, known, images.labels)}
        wrong = np.zeros((np.count_nonzero(known >= 0), len(images.classes)))
        with patch.object(targets, "self_train_left_out", lambda *_: wrong):  # noqa: B023
            row[RIDGE] = accuracy(features, shares, known, images.labels)
        for out in features if not options.brief else ():
            others = {name: share for name, share in shares.items() if name != out}
            alike = len(others) == len(shares)
            row[out] = (
                row[""] if alike else accuracy(features, normalize(others), known, images.labels)
            )
            shared[out] += shares.get(out, 0.0) / options.draws
        found.append(row)
    return found, shared


def accuracy(features, shares, known, truth):
    """Of the soft labels where labels are hidden, in %."""
    given = soft_labels(features, shares, known).probabilities.argmax(1).numpy()
    return 100 * float((given == truth)[known < 0].mean())


def interval(gains):
    """95 % interval of the mean over tasks, by resampling them."""
    draw = np.random.default_rng(0)
    means = [np.mean(draw.choice(gains, len(gains))) for _ in range(2000)]
    return np.percentile(means, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--zoo", default="builtin", help="as of `zoo rank`")
    parser.add_argument("--without", help="no teacher whose name begins with this")
    parser.add_argument("--brief", action="store_true", help="leave no teacher out one by one")
    options = parser.parse_args()
    zoo = [
        card
        for card in list_cards(options.zoo)
        if not options.without or not card.name.startswith(options.without)
    ]
    tasks, means = {}, []
    print("| task | teachers | soft labels | without self-training |\n|---|---|---|---|")
    for folder in sorted(options.data.iterdir()):
        rows, shares = measure(folder, options, zoo)
        if rows:
            tasks[folder.name] = rows, shares
            mean, ridge = (np.mean([row[key] for row in rows]) for key in ("", RIDGE))
            print(f"| {folder.name} | {len(shares)} | {mean:.1f} | {ridge:.1f} |", flush=True)
            means.append((mean, ridge))
    print("| mean | | {:.1f} | {:.1f} |".format(*np.mean(means, axis=0)))
    if options.brief:
        return
    print("\n| teacher | points gained | share | most gained | tasks |\n|---|---|---|---|---|")
    lines = []
    for name in sorted({name for _, shares in tasks.values() for name in shares}):
        gains = {
            task: np.mean([row[""] - row[name] for row in rows])
            for task, (rows, shares) in tasks.items()
            if name in shares
        }
        share = np.mean([shares[name] for _, shares in tasks.values() if name in shares])
        low, high = interval(list(gains.values()))
        best = max(gains, key=gains.__getitem__)
        lines.append(
            (
                -np.mean(list(gains.values())),
                f"| {name} | {np.mean(list(gains.values())):+.2f} ({low:+.2f} to {high:+.2f}) "
                f"| {share:.3f} | {gains[best]:+.1f} ({best}) | {len(gains)} |",
            )
        )
    print("\n".join(line for _, line in sorted(lines)))


if __name__ == "__main__":
    main()
