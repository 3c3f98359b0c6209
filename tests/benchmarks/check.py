"""Does `zoo check` find planted label errors, and are its suggestions better than random images?

python -m tests.benchmarks.check --data DIR, where DIR has folders TARGET/train and TARGET/test of
class folders. It prints the tables of docs/check.md. Accuracy is that of the pooled probe, which
makes the soft labels that students learn from; no student is trained.
"""

import argparse
from pathlib import Path

import numpy as np

from distill.training.targets import soft_labels
from selection import rank
from selection.check.labels import choose_next, doubt_labels
from selection.check.pipeline import describe
from zoo import Features, Runtime, extract_features, list_cards, read_images
from zoo.features.linear_probe import fit_ridge, softmax

RATES = (0.0, 0.05, 0.2)
START, BUDGETS = 3, (20, 50)
"""Labels of each class before labeling begins, and images that are labeled then."""


def read(folder, most):
    """Training and test images of a target, at most so many, and outputs of the teachers."""
    parts = [read_images(folder / part).sample(max_labeled=n)
             for part, n in (("train", most), ("test", 3 * most // 4))]  # fmt: skip
    cards = list_cards("builtin")
    outputs = [extract_features(cards, part).features for part in parts]
    features = {
        name: Features(
            np.concatenate([each[name].embeddings for each in outputs]),
            np.concatenate([each[name].logits for each in outputs]),
        )
        for name in outputs[0]
    }
    return parts, features


def find_shares(features, labels):
    """Shares of the teachers by these labels of the first images."""
    own = {name: outputs.rows(np.arange(len(labels))) for name, outputs in features.items()}
    return rank(own, labels, metric="linear_probe", resamples=0).weights()


def plant(labels, rate, seed):
    """Labels of which some are replaced by another class, and which."""
    draw = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[draw.choice(len(labels), round(rate * len(labels)), replace=False)] = True
    classes = labels.max() + 1
    other = (labels + draw.integers(1, classes, len(labels))) % classes
    return np.where(wrong, other, labels), wrong


def average_precision(scores, truth):
    """Mean precision at each image that is true, by descending score."""
    right = truth[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())


def measure_errors(images, features, rate, seed):
    """Average precision, precision, recall, flagged fraction and estimated rate."""
    labels, wrong = plant(images.labels, rate, seed)
    shares = find_shares(features, labels)
    own = {name: features[name].rows(np.arange(len(images))) for name in shares}
    doubts = doubt_labels(describe(images, own, shares, Runtime()), labels)
    flagged = ~doubts.trusted
    hits = (flagged & wrong).sum()
    return (
        average_precision(doubts.wrong, wrong) if wrong.any() else np.nan,
        hits / flagged.sum() if flagged.any() else np.nan,
        hits / wrong.sum() if wrong.any() else np.nan,
        flagged.mean(),
        doubts.rate,
    )


def choose(how, rows, labels, count, seed):
    """Images to label: at random, the most uncertain ones, or as `zoo check --suggest`."""
    pool = np.flatnonzero(labels < 0)
    if how == "random":
        return np.random.default_rng(seed).choice(pool, count, replace=False)
    known = np.flatnonzero(labels >= 0)
    doubts = doubt_labels(rows[known], labels[known])
    used = known[doubts.trusted]
    weights, intercept = fit_ridge(rows[used], labels[used], doubts.strength)
    probabilities = softmax((rows @ weights + intercept) / doubts.temperature)
    if how == "margin":
        ordered = np.sort(probabilities[pool], axis=1)
        return pool[np.argsort(ordered[:, -1] - ordered[:, -2])[:count]]
    return choose_next(rows, labels, 1 - probabilities.max(axis=1), count)


def measure_suggestions(parts, features, seed):
    """{(images labeled, how): accuracy on the test images}."""
    train, test = parts
    truth = np.concatenate([train.labels, test.labels])
    labels = np.full(len(truth), -1)
    labels[: len(train)] = train.keep_labels(START, seed).labels
    shares = find_shares(features, labels[: len(train)])
    own = {name: features[name].rows(np.arange(len(train))) for name in shares}
    rows = describe(train, own, shares, Runtime())

    def accuracy(known):
        found = soft_labels(features, find_shares(features, known[: len(train)]), known)
        right = found.probabilities.argmax(dim=1).numpy() == truth
        return right[len(train) :].mean()

    found = {(0, "start"): accuracy(labels)}
    for how in ("random", "margin", "suggested"):
        order = choose(how, rows, labels[: len(train)], max(BUDGETS), seed)
        for budget in BUDGETS:
            more = labels.copy()
            more[order[:budget]] = truth[order[:budget]]
            found[budget, how] = accuracy(more)
    return found


def print_errors(found):
    """Precision and recall of each target, mean over the seeds."""
    print("| target | planted | average precision | precision | recall | flagged | estimated |")
    print("|---|---|---|---|---|---|---|")
    for (name, rate), rows in found.items():
        *quality, flagged, estimated = zip(*rows, strict=True)
        # nothing flagged has no precision
        means = [np.mean([x for x in each if not np.isnan(x)] or [np.nan]) for each in quality]
        cells = [f"{mean:.2f}" if rate and not np.isnan(mean) else "-" for mean in means]
        print(f"| {name} | {rate:.0%} | {' | '.join(cells)} | {np.mean(flagged):.1%} "
              f"| {np.mean(estimated):.1%} |")  # fmt: skip


def print_suggestions(found):
    """Accuracy of each target at the start, and points gained by how images are chosen."""
    keys = [(budget, how) for budget in BUDGETS for how in ("random", "margin", "suggested")]
    print(f"\n| target | start | {' | '.join(f'{how}, {n}' for n, how in keys)} |")
    print(f"|---|---|{'---|' * len(keys)}")
    for name, rows in found.items():
        start = np.mean([row[0, "start"] for row in rows])
        gains = [100 * (np.mean([row[key] for row in rows]) - start) for key in keys]
        print(f"| {name} | {100 * start:.1f} | {' | '.join(f'{gain:+.1f}' for gain in gains)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=400, help="Training images at most.")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    errors, gains = {}, {}
    for folder in sorted(path for path in options.data.iterdir() if path.is_dir()):
        parts, features = read(folder, options.images)
        for rate in RATES:
            errors[folder.name, rate] = [
                measure_errors(parts[0], features, rate, seed) for seed in range(options.seeds)
            ]
        gains[folder.name] = [
            measure_suggestions(parts, features, seed) for seed in range(options.seeds)
        ]
    for rate in RATES:
        own = [rows for (_, planted), rows in errors.items() if planted == rate]
        errors["mean", rate] = [row for rows in own for row in rows]
    print_errors(errors)
    print_suggestions({**gains, "mean": [row for rows in gains.values() for row in rows]})


if __name__ == "__main__":
    main()
