"""`zoo demo`: the whole tool on real scans of handwritten digits, with a verdict in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cli import terminal
from cli.distilling import Method, Plan, distill_target, read_test
from cli.results import ranking_table
from cli.workflow import Task, command_line, rank_target, save_ranking, saving
from distill.recipe import Recipe
from zoo.errors import ZooError

if TYPE_CHECKING:
    from distill.report.report import Report
    from zoo.images.folder import Images

LABELS_PER_CLASS = 4
UNLABELED = 1200
UPDATES = 300
ARCH = "mobilenetv3_small_100"


def run_demo(folder: Path, *, seed: int, device: str) -> None:
    """Write the images into a new folder, then rank, distil, compare with transfer and judge.

    Raises:
        ZooError: the folder is not new or cannot be written, or the `demo` extra is not installed.
    """
    with saving("demo", folder):
        write_scans(folder, seed=seed)
    task = Task(folder / "images", seed=seed)
    terminal.say(
        f"Wrote {10 * LABELS_PER_CLASS} labeled and {UNLABELED} unlabeled scans to "
        f"{task.target}, and the rest for testing."
    )
    with terminal.progress_bars() as bars:
        images = task.read(bars)
        test = read_test(folder / "test", images, bars)
        ranking, notes = rank_target(task, images, bars, device=device)
    for text in notes:
        terminal.note(text)
    save_ranking(ranking, folder / "ranking.json")
    ranking_table(ranking)
    methods: tuple[Method, ...] = ("weighted", "transfer")
    taught, plain = [_distill(method, task, images, test, folder, device) for method in methods]
    terminal.verdict((taught, plain))


def _distill(
    method: Method, task: Task, images: Images, test: Images, folder: Path, device: str
) -> Report:
    """One student, saved in the demo's folder and tested on its held-out scans."""
    plan = Plan(
        method=method,
        shares={},
        objective="target",
        zoo=None,
        power=None,
        arch=ARCH,
        start="builtin",
        recipe=Recipe(updates=UPDATES, seed=task.seed),
        image_size=64,
        device=device,
        save=folder / f"student-{method}",
        ranking=folder / "ranking.json",
        command=command_line(),
    )
    with terminal.progress_bars() as bars:
        report = distill_target(plan, task, images, bars, test=test, overwrite=False)
    for text in report.notes:
        terminal.note(text)
    return report


def write_scans(folder: Path, *, seed: int) -> None:
    """Write scikit-learn's 1,797 scanned digits as images of 32 x 32 pixels.

    `images/` gets a few of each class in class folders and the unlabeled ones loose, `test/` the
    rest in class folders.

    Raises:
        ZooError: the folder is not new, or scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ZooError(
            "The demo needs scikit-learn: pip install 'source-zoo[demo]', then run it again."
        ) from error
    from PIL import Image

    if folder.exists():
        raise ZooError(f"{folder} exists already: name a new folder with --save.")
    scans, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(scans))
    seen = np.zeros(10, dtype=np.int64)
    loose = 0
    for number in order:
        label = int(labels[number])
        if seen[label] < LABELS_PER_CLASS:
            place = folder / "images" / str(label)
        elif loose < UNLABELED:
            place = folder / "images"
            loose += 1
        else:
            place = folder / "test" / str(label)
        seen[label] += 1
        place.mkdir(parents=True, exist_ok=True)
        pixels = (scans[number].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        scan = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
        scan.save(place / f"{number:04}.png")
