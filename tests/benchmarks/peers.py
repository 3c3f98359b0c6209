"""What a student costs here and elsewhere: `python -m tests.benchmarks.peers --lightly PYTHON`.

Same images, student, image size, images in an update and updates, one process and thread each, from
files to a trained network; all images are labeled, networks have random weights where none are
embedded. Contestants: a plain loop of torch and torchvision (transfer); timm's
`LogitDistillationTask`, which runs its teacher in every update; LightlyTrain's default
distillation, which runs a ViT-S/14 in every update and uses no labels; and `zoo distill`, which
runs its teacher once for each image. The other two teachers are ResNet-50s.

Every contestant runs with so many updates and with three times as many: the difference is the time
of an update, the rest that of the start. Times are of the processor: the machine may be shared.
PYTHON is that of an environment with `lightly-train`; without it the row is left out.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import timm
import torch
from timm.task import ClassificationTask, LogitDistillationTask
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tests.benchmarks.observe import draw_folder
from tests.benchmarks.scale import run
from tests.support.toys import build_teacher
from zoo.teachers.starts import IMAGENET

ARCH, TEACHER, SIZE, CLASSES = "resnet18", "resnet50", 112, 4
IMAGES, BATCH = 480, 96
"""Five updates look at all images once; 96 is what an update of `zoo distill` looks at."""

LIGHTLY = f"""
import sys
import lightly_train
lightly_train.pretrain(
    out=sys.argv[1], data=sys.argv[2], model="timm/{ARCH}", model_args={{"pretrained": False}},
    method="distillation", method_args={{"teacher": "dinov2/vits14-notpretrained"}},
    epochs=int(sys.argv[3]) // {IMAGES // BATCH}, batch_size={BATCH}, num_workers=0, devices=1,
    accelerator="cpu", transform_args={{"image_size": ({SIZE}, {SIZE})}},
)
"""


def train(folder, updates, *, teacher):
    """The plain loop, with or without timm's distillation."""
    torch.set_num_threads(1)
    student = timm.create_model(ARCH, num_classes=CLASSES)
    task = (
        LogitDistillationTask(student, timm.create_model(TEACHER, num_classes=CLASSES))
        if teacher
        else ClassificationTask(student)
    )
    changes = [
        v2.PILToTensor(), v2.RandomResizedCrop(SIZE), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET.mean, IMAGENET.std),
    ]  # fmt: skip
    images = ImageFolder(folder, v2.Compose(changes))
    loader = DataLoader(images, BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    task.train()
    for _ in range(updates // len(loader)):
        for shown, labels in loader:
            loss = task(shown, labels)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def contestants(place, updates, lightly):
    """The command of each contestant, for a number of updates."""
    imgs, zoo, python = place / "imgs", place / "zoo", sys.executable
    own = [python, "-m", "tests.benchmarks.peers", "--train", imgs, "--updates", updates]
    ours = [
        python, "-m", "cli.zoo_app", "distill", "--target", imgs, "--zoo", zoo, "--arch", ARCH,
        "--start", "random", "--image-size", SIZE, "--device", "cpu", "--updates", updates,
    ]  # fmt: skip
    taught = [*ours, "--teacher", "large"]
    alone = ["--baseline", "transfer", "--batch-size", BATCH]
    yield "transfer, plain loop", [*own, "--no-teacher"]
    yield "`zoo distill --baseline transfer`", [*ours, *alone, "--save", place / f"a{updates}"]
    yield "timm's distillation, teacher online", own
    if lightly:
        out = place / f"out{updates}"
        yield "LightlyTrain, teacher online", [lightly, "-c", LIGHTLY, out, imgs, updates]
    source = [*taught, "--objective", "source", "--save", place / f"b{updates}"]
    yield "`zoo distill --objective source`, teacher cached", source
    yield "`zoo distill`, teacher cached", [*taught, "--save", place / f"c{updates}"]


def measure(options, place):
    """Print the table."""
    draw_folder(place / "imgs", IMAGES, 160)
    labels = [f"class {label}" for label in range(CLASSES)]
    build_teacher(place / "zoo" / "large", "large", arch=TEACHER, size=SIZE, labels=labels)
    print("| contestant | s of an update | images/s | start, s | all, s | peak MB |")
    print("|---|---|---|---|---|---|", flush=True)
    few, many = options.updates, 3 * options.updates
    both = zip(*(contestants(place, count, options.lightly) for count in (few, many)), strict=True)
    for (name, short), (_, long) in both:
        if options.only and options.only not in name:
            continue
        caches = [place / f"cache-{len(name)}-{count}" for count in (few, many)]
        _, less, _ = run(short, caches[0], place / "log")
        _, more, peak = run(long, caches[1], place / "log")
        each = (more - less) / (many - few)
        print(
            f"| {name} | {each:.2f} | {BATCH / each:.0f} | {less - few * each:.0f} | {more:.0f} "
            f"| {peak / 1e6:.0f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lightly", metavar="PYTHON", help="of an environment with lightly-train")
    parser.add_argument("--updates", type=int, default=5, help="a multiple of 5")
    parser.add_argument("--only", help="contestants with this in their names")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--no-teacher", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(options.train, options.updates, teacher=not options.no_teacher)
        return
    with tempfile.TemporaryDirectory() as name:
        measure(options, Path(name))


if __name__ == "__main__":
    main()
