"""Processor seconds to an accuracy, here and elsewhere.

python -m tests.benchmarks.equal_accuracy --data DIR --targets NAME ..., where DIR holds
TARGET/train and TARGET/test. Every contestant starts from the same weights, sees images of the same
size and knows the same few labels; imagenet_lite2 is the teacher of those that have one. Each runs
with several numbers of updates, from image files to a trained network, on one thread:

- transfer: a plain loop of torch and torchvision on the labeled images;
- timm: its `LogitDistillationTask` on all images, whose teacher runs in every update; the teacher's
  head is a logistic regression on the labels, and its guess stands for every other label;
- ours: `zoo distill --teacher imagenet_lite2`, whose teacher runs once on every image.

The rivals' learning rate is that of LEARNING_RATES with the best test accuracy after TUNED updates.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from timm.task import ClassificationTask, LogitDistillationTask
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from distill import Recipe, train
from distill.evaluation.evaluate import evaluate
from distill.student import create_student, student_preprocessing
from tests.benchmarks.paper import GENERIC, NOT_MIRRORED, POOL, TESTED, some
from zoo import extract_features, keep_freed_memory, list_cards, read_images
from zoo.features.store import FeatureStore
from zoo.images.decoding import open_image
from zoo.teachers.loading import build_network
from zoo.teachers.starts import find_start

SIZE, BATCH, LABELED_BATCH, LABELS = 128, 96, 32, 10
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
UPDATES, TUNED = (25, 50, 100, 200), 50


class Files(Dataset):
    """Decoded anew at every look, as `ImageFolder` does; with a random crop and maybe a flip."""

    def __init__(self, paths, labels, task):
        self.paths, self.labels = paths, labels
        self.change = v2.Compose([
            v2.PILToTensor(), v2.RandomResizedCrop(SIZE, (0.35, 1)),
            v2.RandomHorizontalFlip(0.5 * task.flip), v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(task.form.mean, task.form.std),
        ])  # fmt: skip

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = open_image(self.paths[index].read_bytes()).convert("RGB")
        return self.change(image), int(self.labels[index])


@dataclass
class Task:
    """A target with few labels, its test images, the student and the teacher."""

    folder: Path
    arch: str

    def __post_init__(self):
        self.images = some(read_images(self.folder / "train"), POOL).keep_labels(LABELS, seed=0)
        self.test = some(read_images(self.folder / "test"), TESTED)
        self.flip = self.folder.name not in NOT_MIRRORED
        self.card = next(card for card in list_cards() if card.name == GENERIC)
        self.form = student_preprocessing(find_start("auto", self.arch), SIZE)

    def measure(self, run, *args):
        """Test accuracy of a contestant, in percent, and its seconds of the processor."""
        with TemporaryDirectory() as cache:
            began = time.process_time()
            network = run(self, Path(cache), *args)
            seconds = time.process_time() - began
        found = evaluate(network, self.test, self.images.classes, self.form)
        return 100 * found.accuracy, seconds


def prepare_teacher(task, cache):
    """The teacher's network with a head for the target's classes, and its guess of every label."""
    images, card = task.images, task.card
    features = extract_features([card], images, store=FeatureStore(cache)).features
    embeddings, known = features[card.name].embeddings, images.labels >= 0
    search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": np.logspace(-5, 1, 7)}, cv=5)
    head = search.fit(embeddings[known], images.labels[known]).best_estimator_
    weights, bias = head.coef_, head.intercept_
    if len(images.classes) == 2:
        weights, bias = np.stack([-weights[0], weights[0]]) / 2, np.stack([-bias[0], bias[0]]) / 2
    network: Any = build_network(card)
    network.reset_classifier(len(images.classes))
    layer = network.get_classifier()
    layer.weight.data, layer.bias.data = (torch.tensor(x).float() for x in (weights, bias))
    return network.eval(), np.where(known, images.labels, head.predict(embeddings))


def transfer(task, cache, updates, rate):
    """A plain loop on the labeled images."""
    images = task.images
    student = create_student(task.arch, len(images.classes), image_size=SIZE).network
    rows = np.flatnonzero(images.labels >= 0)
    files = Files([images.paths[row] for row in rows], images.labels[rows], task)
    return run_loop(ClassificationTask(student), student, files, LABELED_BATCH, updates, rate)


def timm_distillation(task, cache, updates, rate):
    """A plain loop on all images, the teacher at hand."""
    student = create_student(task.arch, len(task.images.classes), image_size=SIZE).network
    teacher, labels = prepare_teacher(task, cache)
    pair: tuple[Any, Any] = (student, teacher)
    for network in pair:
        # an EfficientNet of TensorFlow has other numbers: the task gives each its own
        form = task.form if network is student else task.card.preprocessing
        network.pretrained_cfg = {"mean": form.mean, "std": form.std}
    files = Files(task.images.paths, labels, task)
    return run_loop(LogitDistillationTask(student, teacher), student, files, BATCH, updates, rate)


def run_loop(task, student, files, batch, updates, rate):
    """AdamW with one cycle of the learning rate."""
    looks = RandomSampler(files, num_samples=updates * batch, replacement=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=updates)
    task.train()
    for shown, labels in DataLoader(files, batch, sampler=looks):
        loss = task(shown, labels)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return student.eval()


def ours(task, cache, updates):
    """The default, with one teacher."""
    card = task.card
    features = extract_features([card], task.images, store=FeatureStore(cache)).features
    return train(
        task.images, Recipe(updates=updates, flip=task.flip), arch=task.arch, features=features,
        shares={card.name: 1.0}, image_size=SIZE,
    ).network  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--arch", default="mobilenetv3_large_100", help="timm's name")
    parser.add_argument("--updates", type=int, nargs="+", default=UPDATES)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    print("| target | contestant | updates | accuracy, % | processor s |\n" + 5 * "|---" + "|")
    for target in options.targets:
        task = Task(options.data / target, options.arch)
        for run in (ours, transfer, timm_distillation):
            rates = LEARNING_RATES if run is not ours else ()
            tuned = {rate: task.measure(run, TUNED, rate) for rate in rates}
            rate = [max(tuned, key=lambda each, told=tuned: told[each])] if tuned else []
            for updates in options.updates:
                again = tuned and updates == TUNED
                found = tuned[rate[0]] if again else task.measure(run, updates, *rate)
                name = " ".join([run.__name__, *(f"({each:g})" for each in rate)])
                print(
                    f"| {target} | {name} | {updates} | {found[0]:.1f} | {found[1]:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
