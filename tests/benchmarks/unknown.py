"""Does `zoo predict --unknown` tell images of held-out classes and of other targets?

python -m tests.benchmarks.unknown --data DIR, where DIR has folders TARGET/train and TARGET/test of
class folders. A fifth of the classes is held out; the student knows ten labels of each other class.
It prints the table of docs/check.md.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from distill import Distillation, Recipe, distill_images, load_network
from distill.evaluation.prediction import embed_and_classify
from distill.evaluation.rejection import Rejection
from selection import ranker
from zoo import Runtime, read_images
from zoo.images.decoding import decode_images
from zoo.system.devices import choose_device

LABELS = 10
FOREIGN = 20
"""Test images of each other target."""


def keep(images, classes):
    """The images of some classes only."""
    names = np.array(images.classes)[images.labels]
    rows = images.subset(np.flatnonzero(np.isin(names, classes)))
    number = {name: index for index, name in enumerate(classes)}
    labels = np.array([number[images.classes[label]] for label in rows.labels])
    return type(images)(rows.root, rows.paths, labels, tuple(classes), rows.digests)


def area(inside, outside):
    """AUROC: the probability that an image outside is farther than one inside."""
    below = (inside[:, None] < outside).mean() + (inside[:, None] == outside).mean() / 2
    return float(below)


def measure(folder, others, options, seed):
    """AUROC of held-out classes and of foreign images; fractions rejected of all three kinds."""
    train, test = read_images(folder / "train"), read_images(folder / "test")
    draw = np.random.default_rng(seed)
    count = max(1, round(len(train.classes) / 5))
    held = sorted(draw.choice(train.classes, count, replace=False).tolist())
    known = [name for name in train.classes if name not in held]
    images = keep(train, known).sample(max_labeled=options.images)
    per_class = min(LABELS, int(np.bincount(images.labels).min()))
    recipe = Recipe(updates=options.updates, seed=seed)
    how = Distillation(options.method, image_size=options.size, recipe=recipe)
    with TemporaryDirectory() as place:
        student = Path(place) / "student"
        distill_images(images.keep_labels(per_class, seed), how, save=student, ranker=ranker)
        rejection = Rejection.load(student)
        network, _, form = load_network(student)
    tests = [read_images(other / "test").sample(max_labeled=FOREIGN) for other in others]
    foreign = [path for each in tests for path in each.paths]

    def far(paths):
        device = choose_device(Runtime().device)
        embeddings, _ = embed_and_classify(network, decode_images(paths, form), form, device)
        return rejection.distances(embeddings)

    inside, outside = (far(keep(test, names).paths) for names in (known, held))
    strange = far(foreign)
    rejected = [(part > 1).mean() for part in (inside, outside, strange)]
    return [area(inside, outside), area(inside, strange), *rejected]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--method", default="probe")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    folders = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
    print("| target | AUROC, held-out classes | AUROC, other targets | known rejected "
          "| held-out rejected | others rejected |\n|---|---|---|---|---|---|")  # fmt: skip
    found = []
    for folder in folders:
        others = [other for other in folders if other != folder]
        rows = [measure(folder, others, options, seed) for seed in range(options.seeds)]
        found += rows
        show(folder.name, rows)
    show("mean", found)


def show(name, rows):
    """A row of the table."""
    near, foreign, *rejected = np.mean(rows, axis=0)
    cells = [f"{near:.2f}", f"{foreign:.2f}", *(f"{100 * part:.0f} %" for part in rejected)]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
