"""Tables, means and plot out of the cells of bench_paper.py."""

import json
import re
from collections import defaultdict

import numpy as np

from distill.catalogue import summarize_student
from zoo.system.files import cache_folder, write_atomic

METHODS = (
    "transfer",
    "fixmatch",
    "probe",
    "random",
    "equal",
    "nearest",
    "weighted",
    "generic",
    "pseudo",
    "feature",
    "default",
    "ceiling",
)
"""The paper's, by its words, `default`, which is `zoo distill --weighted`, and rivals: `probe`, a
head on the frozen start; `generic`, the default with imagenet_lite2 as its only teacher; `pseudo`,
plain training on the classes that the default's soft labels name; `feature`, imitation of
imagenet_lite2's embeddings, then transfer; `ceiling`, no student but the default's soft labels."""

CORE = ("transfer", "fixmatch", "probe", "weighted", "generic", "default", "ceiling")
"""Those that are run first for each seed, for 25 labels and other students."""

MAIN = "mobilenetv3_small_100"
BUDGETS = (4, 10)
"""Labels per class over which the means are taken."""


def gather(cells, arch, labels):
    """{method: {target: [accuracy in percent of each seed]}}."""
    found = defaultdict(lambda: defaultdict(dict))
    for key, cell in cells.items():
        network, target, budget, seed, method = key.split("/")
        if network == arch and int(budget) in labels:
            found[method][target][budget, seed] = 100 * cell["accuracy"]
    return found


def complete(found, methods=METHODS):
    """The named methods without cells that another of them lacks: one base for all.

    So a table stays fair while a further seed is on its way.
    """
    named = {method: found[method] for method in methods if method in found}
    everyone = [*named.values()]
    shared = {
        (target, cell)
        for target in (everyone[0] if everyone else ())
        for cell in everyone[0][target]
        if all(cell in rows.get(target, {}) for rows in everyone)
    }
    return {
        method: {
            target: {cell: value for cell, value in row.items() if (target, cell) in shared}
            for target, row in rows.items()
        }
        for method, rows in named.items()
    }


def count_cells(found):
    """How many cells each method has, after `complete`."""
    return sum(len(row) for row in next(iter(found.values()), {}).values())


def find_means(found):
    """{method: mean of the targets' means}."""
    rows = {method: [[*r.values()] for r in each.values() if r] for method, each in found.items()}
    return {method: round(mean_of(each), 2) for method, each in rows.items() if each}


def paired(one, other):
    """Differences of two methods on the same target, labels and seed: [targets][cells]."""
    both = [
        [
            value - other[target][cell]
            for cell, value in one[target].items()
            if cell in other[target]
        ]
        for target in sorted(one.keys() & other.keys())
    ]
    return [row for row in both if row]


DRAWS = 4000
"""Samples of the bootstrap."""


def mean_of(rows):
    """Mean of the targets' means."""
    return float(np.mean([np.mean(row) for row in rows]))


def interval(rows):
    """Mean of the targets' means; 95 % interval, targets and their cells drawn with replacement."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        chosen = rng.integers(0, len(rows), len(rows))
        drawn.append(np.mean([np.mean(rng.choice(rows[i], len(rows[i]))) for i in chosen]))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return mean_of(rows), float(low), float(high)


def print_table(found):
    """Accuracy by target and method, then each method against the two baselines."""
    methods = list(found)
    targets = sorted({target for rows in found.values() for target, row in rows.items() if row})
    if not targets:
        return
    print(f"| target | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}")
    for target in targets:
        cells = [[*found[method].get(target, {}).values()] for method in methods]
        print(f"| {target} | {' | '.join(f'{np.mean(c):.1f}' if c else '' for c in cells)} |")
    means = [mean_of([[*row.values()] for row in found[m].values() if row]) for m in methods]
    print(f"| **mean** | {' | '.join(f'**{mean:.1f}**' for mean in means)} |")
    for baseline in ("transfer", "fixmatch"):
        cells = [compare(found, method, baseline) for method in methods]
        print(f"| over {baseline} | {' | '.join(cells)} |")


def compare(found, method, other):
    """Difference of two methods in the cells that both have: mean, interval, won targets."""
    rows = paired(found[method], found.get(other, {}))
    if method == other or not rows:
        return ""
    mean, low, high = interval(rows)
    wins = sum(np.mean(row) > 0 for row in rows)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f}), {wins} of {len(rows)}"


def print_variants(found):
    """Each method with other numbers, teachers or zoo against the same without, cell by cell."""
    variants = sorted(found.keys() - set(METHODS))
    if not variants:
        return
    print("\n| variant | cells | mean | over the same without | over transfer | over fixmatch |")
    print("|---|---|---|---|---|---|")
    for variant in variants:
        rows = [[*row.values()] for row in found[variant].values()]
        base = re.split("[:@]|_less", variant)[0]
        cells = [compare(found, variant, other) for other in (base, "transfer", "fixmatch")]
        print(f"| {variant} | {sum(map(len, rows))} | {mean_of(rows):.1f} | {' | '.join(cells)} |")


def show(cells, *, regime="real", save=None, plot=None):
    """Print every table that the cells fill; write them and the means; draw them."""
    for arch in sorted({key.split("/")[0] for key in cells}, reverse=True):
        budgets = sorted({int(key.split("/")[2]) for key in cells if key.startswith(arch)})
        joint = [BUDGETS] if set(BUDGETS) <= set(budgets) else []
        for labels in [(budget,) for budget in budgets] + joint:
            every = gather(cells, arch, labels)
            bases = [complete(every, methods) for methods in (METHODS, CORE)]
            for found in bases if count_cells(bases[1]) > count_cells(bases[0]) else bases[:1]:
                seeds = {
                    seed for rows in found.values() for row in rows.values() for _, seed in row
                }
                print(f"\n### {arch}, {' and '.join(map(str, labels))} labels per class, "
                      f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}\n")  # fmt: skip
                print_table(found)
            print_variants(every)
    seconds = defaultdict(list)
    for key, cell in cells.items():
        if key.split("/")[-1] in METHODS and "seconds" in cell:
            seconds[key.split("/")[0], key.split("/")[-1]].append(cell["seconds"])
    print("\n| student | method | median seconds of training | cells |\n|---|---|---|---|")
    for (arch, method), values in sorted(seconds.items()):
        print(f"| {arch} | {method} | {np.median(values):.0f} | {len(values)} |")
    if save:
        every = gather(cells, MAIN, BUDGETS)
        means, core_means = (find_means(complete(every, methods)) for methods in (METHODS, CORE))
        document = json.loads(save.read_text()) if save.exists() else {}
        document[regime] = {"means": means, "core_means": core_means, "cells": cells}
        write_atomic(save, json.dumps(document, indent=1) + "\n")
    if plot:
        draw(complete(gather(cells, MAIN, BUDGETS)), plot)


def draw(found, path):
    """Gain over transfer of each method: targets as dots, the mean and its interval."""
    from matplotlib.figure import Figure

    methods = [method for method in METHODS[1:] if method in found]
    figure = Figure(figsize=(7, 1 + 0.44 * len(methods)), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(reversed(methods)):
        rows = paired(found[method], found["transfer"])
        mean, low, high = interval(rows)
        dots = [np.mean(row) for row in rows]
        axes.plot(dots, [place] * len(dots), "o", color="#7a8ba6", alpha=0.6, markersize=5)
        color = "#b3401f" if method == "default" else "#1f3a5f"
        axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="D", color=color,
                      capsize=4, linewidth=2)  # fmt: skip
        axes.annotate(f"{mean:+.1f}", (mean, place), xytext=(0, 8), textcoords="offset points",
                      ha="center", color=color, fontweight="bold")  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(methods)), reversed(methods))
    axes.set_ylim(-0.5, len(methods) - 0.3)
    axes.set_xlabel("points of accuracy over transfer; dots: targets; bar: 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def draw_costs(cells, image_size, path):
    """Accuracy against milliseconds per image of each student, a line for each method of MAIN.

    Means are over the cells that all these students and methods have. The soft labels themselves
    need all their teachers, so they are a level and no point.
    """
    from matplotlib.figure import Figure

    shown = {"default": "#b3401f", "fixmatch": "#1f3a5f", "transfer": "#7a8ba6", "probe": "#9a8c5f"}
    archs = sorted({key.split("/")[0] for key in cells})
    accuracy = {
        (arch, method): {
            tuple(key.split("/")[1:4]): 100 * cell["accuracy"]
            for key, cell in cells.items()
            if key.startswith(f"{arch}/") and key.endswith(f"/{method}")
        }
        for arch in archs
        for method in shown
    }
    accuracy = {row: values for row, values in accuracy.items() if values}
    shared = set.intersection(*(set(values) for values in accuracy.values()))
    ms = {
        arch: summarize_student(arch, image_size, {}, cache=cache_folder()).milliseconds
        for arch in archs
    }
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    print("\n| student | ms per image | method | accuracy, % |\n|---|---|---|---|")
    for method, color in shown.items():
        points = sorted(
            (ms[arch], np.mean([values[cell] for cell in shared]), arch)
            for (arch, name), values in accuracy.items()
            if name == method
        )
        axes.plot(*zip(*(point[:2] for point in points), strict=True), "o-", color=color,
                  label=method)  # fmt: skip
        for milliseconds, mean, arch in points:
            if method == "default":
                axes.annotate(arch, (milliseconds, mean), xytext=(0, 8), ha="center",
                              textcoords="offset points")  # fmt: skip
            print(f"| {arch} | {milliseconds:.1f} | {method} | {mean:.1f} |")
    said = [100 * cells[f"{MAIN}/{'/'.join(cell)}/ceiling"]["accuracy"] for cell in shared]
    axes.axhline(float(np.mean(said)), color="black", linestyle=":", linewidth=1)
    axes.annotate("soft labels of all teachers", (0, np.mean(said)), xytext=(4, 4),
                  xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks([*ms.values()], [f"{value:.1f}" for value in ms.values()])
    axes.minorticks_off()
    axes.margins(0.2, 0.1)
    axes.set_xlabel("milliseconds per image, one thread, torch")
    axes.set_ylabel(f"accuracy, mean of {len(shared)} cells, %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
