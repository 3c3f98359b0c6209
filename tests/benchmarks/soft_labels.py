"""How right the teachers' soft labels are, by the rule that makes their shares; no student.

python -m tests.benchmarks.soft_labels --data TUNING, where TUNING is a folder by make_tuning.py.
The teacher that is called like the task is left out. Accuracy is that on the images of TASK/train
whose labels were hidden, of 500 at most. `fitted` shares minimize the left-out squared error of the
pooled probe, see `fit_shares`. The last column of a number of labels is the gain over power 4, with
a 95 % interval over the tasks.
"""

import argparse
import sys
from collections import defaultdict
from itertools import product
from math import inf
from pathlib import Path

import numpy as np
import torch

from distill.training.targets import soft_labels
from selection import rank
from selection.shares import share_by_power
from zoo import extract_features, list_cards, read_images
from zoo.features.controls import extract_controls
from zoo.features.kernel import TeacherKernel
from zoo.features.linear_probe import assign_folds

METRIC = "linear_probe,hscore"
"""Those that make the shares by default."""

LEAST = 30
"""Hidden labels that a task must have to count."""

IMAGES = 500
"""Of a task at most."""

POWERS = (0.0, 2.0, 4.0, 8.0, 12.0, inf)
HSCORE_POWERS = (1.0, 2.0, 4.0)
"""Of the H-score, beside power 4 of the linear probe: 2 is the default."""
USUAL = "power 4"

SHRINKAGE = (0.1, 1.0, 3.0)
"""Of fitted shares towards those by power 4."""

IMAGENET = "imagenet_lite"
"""How the names of the generic teachers begin."""


def shares_by_rule(ranking, features, labels):
    """{rule: shares}: by power of the linear probe alone, with the H-score, generic, and fitted."""
    scores = {row.name: row.score for row in ranking.teachers if row.status == "ok"}
    controls = [row.score for row in ranking.teachers if row.status == "control"]
    above = {name: score for name, score in scores.items() if score > max(controls)}
    rules = {f"power {power:g}": share_by_power(scores, power) for power in POWERS}
    rules["above every control"] = share_by_power(above or scores, 4.0)
    hscores = {row.name: row.scores["hscore"] for row in ranking.teachers if row.name in scores}
    for power in HSCORE_POWERS:
        evidence = {name: scores[name] * hscores[name] ** (power / 4) for name in scores}
        rules[f"power 4, hscore^{power:g}"] = share_by_power(evidence, 4.0)
    rules["the default: hscore^2, not significantly worse than a control"] = ranking.weights()
    generic = [name for name in scores if name.startswith(IMAGENET)]
    half = {name: share / 2 for name, share in rules[USUAL].items()}
    half |= {name: half.get(name, 0.0) + 0.5 / len(generic) for name in generic}
    rules["half of power 4, half ImageNet networks alike"] = half
    rules["the largest ImageNet network"] = {max(generic): 1.0}
    rules["ImageNet networks alike"] = dict.fromkeys(generic, 1 / len(generic))
    for shrinkage in SHRINKAGE:
        rules[f"fitted, shrinkage {shrinkage:g}"] = fit_shares(
            features, labels, rules[USUAL], shrinkage
        )
    return rules


def fit_shares(features, labels, prior, shrinkage):
    """Shares that minimize the left-out squared error of the pooled probe, by L-BFGS.

    Multiple-kernel learning on the simplex: mean squared error of kernel ridge regression on the
    labeled images, one image of each class left out, plus shrinkage / L times the Kullback-Leibler
    divergence from the prior. The ridge strength is fitted too.
    """
    known = np.flatnonzero(labels >= 0)
    names, count = labels[known], len(known)
    folds = [torch.from_numpy(fold) for fold in assign_folds(names)]
    centered = torch.eye(count, dtype=torch.float64) - 1 / count
    alone = [
        TeacherKernel.of({name: each}, {name: 1.0}, known).rows(known)
        for name, each in features.items()
    ]
    kernels = torch.stack([centered @ torch.from_numpy(k) @ centered for k in alone])
    start = torch.tensor([max(1e-4, prior.get(name, 0.0)) for name in features]).double()
    start = (start / start.sum()).log()
    targets = torch.eye(names.max() + 1, dtype=torch.float64)[torch.from_numpy(names)]
    theta, strength = start.clone(), torch.tensor(0.1, dtype=torch.float64).log()
    parameters = [theta.requires_grad_(), strength.requires_grad_()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        shares = theta.softmax(0)
        kernel = torch.einsum("t,tij->ij", shares, kernels)
        ridge = (1e-3 + strength.exp()) * torch.trace(kernel) / count
        one = torch.eye(count, dtype=torch.float64)
        hat = torch.linalg.solve(kernel + ridge * one, kernel) + 1 / count
        rest = targets - hat @ targets
        left_out = [
            torch.linalg.solve(one[fold][:, fold] - hat[fold][:, fold], rest[fold])
            for fold in folds
        ]
        error = torch.cat(left_out).square().sum() / count
        value = error + shrinkage / count * (shares * (theta.log_softmax(0) - start)).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return dict(zip(features, theta.softmax(0).tolist(), strict=True))


def measure(folder, labels, seed):
    """{rule: (accuracy, cross-validated accuracy, teachers)} of a task; {} if it is too small."""
    truth = read_images(folder / "train")
    chosen = np.random.default_rng(0).permutation(len(truth))[:IMAGES]
    truth = truth.subset(np.sort(chosen))
    counts = np.bincount(truth.labels)
    if counts.min() < labels or counts.sum() - labels * len(counts) < LEAST:
        return {}
    images = truth.keep_labels(labels, seed)
    hidden = images.labels < 0
    cards = [card for card in list_cards() if not card.name.startswith(folder.name)]
    features = extract_features(cards, images).features
    controls = extract_controls(images)
    ranking = rank(features, images.labels, metric=METRIC, controls=controls)
    found = {}
    for rule, shares in shares_by_rule(ranking, features, images.labels).items():
        told = soft_labels(features, shares, images.labels)
        right = told.probabilities.argmax(dim=1).numpy() == truth.labels
        found[rule] = right[hidden].mean(), told.accuracy, len(shares)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[4, 10])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folders = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
    found = defaultdict(dict)
    for folder, labels in product(folders, options.labels):
        rows = [measure(folder, labels, seed) for seed in range(options.seeds)]
        for rule in rows[0]:
            found[rule, labels][folder.name] = np.mean([row[rule] for row in rows], axis=0)
        print(folder.name, labels, file=sys.stderr, flush=True)
    tasks = {labels: len(found[USUAL, labels]) for labels in options.labels}
    print(f"Accuracy of the soft labels, % (by their own cross-validation; teachers), means of "
          f"{options.seeds} seeds\n")  # fmt: skip
    heads = [f"{n} labels per class, {tasks[n]} tasks | over {USUAL}" for n in options.labels]
    print(f"| shares | {' | '.join(heads)} |\n|---|{'---|---|' * len(heads)}")
    for rule in dict.fromkeys(rule for rule, _ in found):
        cells = [describe(found[rule, n], found[USUAL, n]) for n in options.labels]
        print(f"| {rule} | {' | '.join(cells)} |")


def describe(rows, usual):
    """Means over tasks of the rows of `measure`, and the gain in accuracy over the usual rule."""
    accuracy, own, teachers = np.mean([*rows.values()], axis=0)
    gains = 100 * np.array([rows[task][0] - usual[task][0] for task in rows])
    draw = np.random.default_rng(0)
    low, high = np.percentile(
        [np.mean(draw.choice(gains, len(gains))) for _ in range(4000)], [2.5, 97.5]
    )
    mean = f"{100 * accuracy:.1f} ({100 * own:.1f}; {teachers:.1f})"
    return f"{mean} | {gains.mean():+.1f} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
