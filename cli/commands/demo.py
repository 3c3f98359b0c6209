"""`zoo demo`: the whole tool on scans of handwritten digits, with a verdict in plain words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli import options, tables, terminal
from zoo.errors import ZooError
from zoo.system.files import atomic_new_folder, saving

LABELS_PER_CLASS = 4
UNLABELED = 1200
ARCH = "mobilenetv3_small_100"
UNFINISHED = ".unfinished"
app = typer.Typer(rich_markup_mode=None)


@app.command()
def demo(
    save: Annotated[Path, typer.Option(help="A new folder for its images and students.")] = Path(
        "zoo-demo"
    ),
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Try the whole tool on scanned digits, in a few minutes."""
    resumed = is_unfinished(save, seed=seed)
    if not resumed:
        with saving("demo", save):
            write_scans(save, seed=seed)
    from zoo.images.source import ImageSource

    source = ImageSource(save / "images", seed=seed)
    terminal.say(
        f"Wrote {10 * LABELS_PER_CLASS} labeled and {UNLABELED} unlabeled scans to "
        f"{source.target}, and the rest for testing."
    )
    from distill.pipeline import DistillationJob, load_test
    from distill.recipe import Distillation, Recipe
    from selection.pipeline import rank_images

    with terminal.runtime(device, seed) as runtime:
        images = source.read(runtime)
        test = load_test(save / "test", images, runtime)
        ranking = rank_images(images, runtime=runtime)
    with saving("ranking", save / "ranking.json"):
        ranking.save(save / "ranking.json")
    tables.ranking_table(ranking)
    how = Distillation(arch=ARCH, recipe=Recipe(seed=seed))
    reports = []
    for method in ("weighted", "transfer"):
        with terminal.runtime(device, seed) as runtime:
            job = DistillationJob(
                images,
                replace(how, method=method),
                ranking=ranking,
                test=test,
                save=save / f"student-{method}",
                overwrite=resumed,
                command=options.command_line(),
                runtime=runtime,
            )
            reports.append(job.run())
    tables.verdict(reports)
    (save / UNFINISHED).unlink(missing_ok=True)


def is_unfinished(folder: Path, *, seed: int) -> bool:
    """Whether a demo of this seed was stopped in a folder."""
    try:
        return (folder / UNFINISHED).read_text() == str(seed)
    except OSError:
        return False


def write_scans(folder: Path, *, seed: int) -> None:
    """Write scikit-learn's 1,797 scanned digits as images of 32 x 32 pixels.

    `images/` gets a few of each class in class folders and the unlabeled ones loose, `test/` the
    rest in class folders. Until the demo is done, a file there has its seed.

    Raises:
        ZooError: the folder is not new, or scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ZooError(
            "The demo needs scikit-learn: pip install 'source-zoo[demo]', then run it again."
        ) from error
    import numpy as np
    from PIL import Image

    if folder.exists():
        raise ZooError(f"{folder} exists already: name a new folder with --save.")
    scans, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(scans))
    seen = np.zeros(10, dtype=np.int64)
    loose = 0
    with atomic_new_folder(folder) as part:
        for number in order:
            label = int(labels[number])
            if seen[label] < LABELS_PER_CLASS:
                place = part / "images" / str(label)
            elif loose < UNLABELED:
                place = part / "images"
                loose += 1
            else:
                place = part / "test" / str(label)
            seen[label] += 1
            place.mkdir(parents=True, exist_ok=True)
            pixels = (scans[number].reshape(8, 8) * (255 / 16)).astype(np.uint8)
            scan = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
            scan.save(place / f"{number:04}.png")
        (part / UNFINISHED).write_text(str(seed))
