"""Are verdicts and intervals of `zoo compare` right? False claims, power, coverage, simulated.

python -m tests.benchmarks.verdicts prints the tables of docs/reliability.md. Images differ in
difficulty, methods and students in what they find difficult, students of a method by seed noise.
"""

import argparse
from math import erf, sqrt

import numpy as np

from distill.evaluation.comparison import SIGNIFICANCE, compare

SPREAD = 0.25
"""Density of the latent difficulty near the threshold, which makes points of accuracy of shifts."""


def draw(rng, gains, images, seeds, noise, folds):
    """Hits [S, N] by method: `gains` and `noise` in points of accuracy."""
    difficulty = rng.normal(size=images)
    fold = np.repeat(np.arange(folds), np.diff(np.linspace(0, images, folds + 1).astype(int)))
    hits = {}
    for number, gain in enumerate(gains):
        own = 0.4 * rng.normal(size=images)
        each = 0.4 * rng.normal(size=(seeds, images))
        shift = noise * rng.normal(size=(seeds, folds))
        if folds > 1:  # training sets of a method, whose effects correlate by 1 / folds
            common = np.sqrt(1 / folds) * rng.normal()
            shift += noise * (common + np.sqrt(1 - 1 / folds) * rng.normal(size=folds))
        latent = difficulty + own + each + (gain + shift[:, fold]) / 100 / SPREAD
        hits[f"m{number}"] = (latent > -0.8, 1.0)
    return hits, (np.bincount(fold).tolist() if folds > 1 else ())


def claims(gains, options, **world):
    """Fraction of comparisons with a significant difference from the best."""
    found = []
    for seed in range(options.repeats):
        hits, folds = draw(np.random.default_rng(seed), gains, **world)
        rows = compare(hits, folds=folds).standings
        found.append(any(row.chance < SIGNIFICANCE for row in rows))
    return f"{100 * np.mean(found):.0f}"


def expect(noise, folds):
    """Accuracy of a method over new images, students and training sets."""
    shifts = (noise / 100 / SPREAD) ** 2 * (1 if folds == 1 else 2)
    return (1 + erf(0.8 / sqrt(1 + 2 * 0.4**2 + shifts) / sqrt(2))) / 2


def holds(options, **world):
    """How often the interval of a method holds its expected accuracy, and its mean width."""
    truth, found = expect(world["noise"], world["folds"]), []
    for seed in range(options.repeats):
        hits, folds = draw(np.random.default_rng(seed), [0], **world)
        row = compare(hits, folds=folds).standings[0]
        found.append((row.low <= truth <= row.high, row.high - row.low))
    held, width = np.mean(found, axis=0)
    return f"{100 * held:.0f} ({100 * width:.0f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--methods", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 300, 900])
    options = parser.parse_args()
    print("| seeds | folds | images | methods | " + "false claims, %, at a seed noise of 0 / 1 / 2"
          " points | one method better by 3 / 6 / 12 points, noise 1: found, % |")  # fmt: skip
    for seeds, folds in ((3, 1), (3, 3), (2, 1), (1, 1)):
        for images in options.images:
            for methods in options.methods:
                world = {"images": images, "seeds": seeds, "folds": folds}
                none = [claims([0] * methods, options, noise=n, **world) for n in (0, 1, 2)]
                gains = ([gain] + [0] * (methods - 1) for gain in (3, 6, 12))
                some = [claims(each, options, noise=1, **world) for each in gains]
                print(f"| {seeds} | {folds if folds > 1 else 'held out'} | {images} | {methods} | "
                      f"{' / '.join(none)} | {' / '.join(some)} |", flush=True)  # fmt: skip
    noises = (0, 1, 2, 4)
    print("\n| seeds | folds | images | held, % (width, points), at a seed noise of "
          f"{' / '.join(map(str, noises))} points |\n|---|---|---|---|")  # fmt: skip
    for seeds, folds in ((3, 1), (3, 3), (2, 1), (1, 1)):
        for images in options.images:
            world = {"images": images, "seeds": seeds, "folds": folds}
            each = [holds(options, noise=noise, **world) for noise in noises]
            print(f"| {seeds} | {folds if folds > 1 else 'held out'} | {images} | "
                  f"{' / '.join(each)} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
