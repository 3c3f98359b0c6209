"""Seeded mutations of every kind of file: each may be refused, none may end in a bug."""

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from distill.compare import FinishedStudents
from distill.student import load_network
from selection.ranking import Ranking
from tests.support.toys import build_teacher, paint
from zoo.errors import ZooError
from zoo.images.decoding import FORMATS
from zoo.images.folder import read_images
from zoo.images.warnings import check_dataset
from zoo.system.tensors import read_tensors, write_tensors
from zoo.teachers.card import TeacherCard
from zoo.teachers.collection import describe_folder
from zoo.teachers.fingerprint import FINGERPRINT_FILE, Fingerprint
from zoo.teachers.loading import build_network
from zoo.teachers.model_card import teacher_model_card

NASTY: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, 1e300, 1e308, -0.5, float("nan"),
    float("inf"), "", "\0", "../../x", "/dev/zero", "hf-hub:evil/x", "\x1b[2J\n", "\ud800",
    "x" * 30_000, [], {}, [None], [[]], {"a": 1}, [1e999] * 3, "1", "true",
)  # fmt: skip
"""Values that files do not expect."""

Use = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """A kind of file, its folder and how it is used; `save` writes a mutated document."""

    name: str
    file: Path
    use: Use
    mutate: Callable[[Path, np.random.Generator], None]


def mutate_bytes(path: Path, rng: np.random.Generator) -> None:
    """Flip, cut, insert or repeat some bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, len(content) + 1))
        kind = rng.integers(0, 4)
        if kind == 0 and place < len(content):
            content[place] = int(rng.integers(0, 256))
        elif kind == 1:
            del content[place : place + int(rng.integers(1, 40))]
        elif kind == 2:
            content[place:place] = rng.bytes(int(rng.integers(1, 9)))
        else:
            content[place:place] = content[max(0, place - 20) : place]
    path.write_bytes(content)


def mutate_json(path: Path, rng: np.random.Generator) -> None:
    """Replace, remove, add or wrap an entry anywhere in a document; at times its bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(path, rng)
    document = json.loads(path.read_text())
    for _ in range(rng.integers(1, 3)):
        mutate_value(document, rng)
    text = json.dumps(document)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return None


def mutate_value(document: Any, rng: np.random.Generator) -> None:
    """Change one entry of a document of dictionaries and lists, in place."""
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    for holder in waiting:
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    if not places:
        return
    holder, key = places[int(rng.integers(0, len(places)))]
    nasty = copy.deepcopy(NASTY[int(rng.integers(0, len(NASTY)))])
    kind = rng.integers(0, 6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(nasty)[:50]] = holder[key]
    elif kind == 2:
        holder[key] = [holder[key]] * int(rng.integers(0, 4))
    else:
        holder[key] = nasty


def mutate_metadata(path: Path, rng: np.random.Generator) -> None:
    """Change texts and arrays of a file of tensors, whose checksum is right again."""
    if rng.random() < 0.2:
        return mutate_bytes(path, rng)
    arrays, metadata = read_tensors(path)
    if rng.random() < 0.5 and metadata:
        name = sorted(metadata)[int(rng.integers(0, len(metadata)))]
        metadata[name] = str(NASTY[int(rng.integers(0, len(NASTY)))]).replace("\ud800", "?")
    else:
        name = sorted(arrays)[int(rng.integers(0, len(arrays)))]
        kinds = (np.int64, np.float64, np.float16, np.uint8, bool)
        changes = (
            lambda array: array.astype(kinds[int(rng.integers(0, 5))]),
            lambda array: array.reshape(-1)[: int(rng.integers(0, 3))],
            lambda array: array * np.nan if array.dtype.kind == "f" else array,
            lambda array: array[None],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays[name] = changes[int(rng.integers(0, 4))](arrays[name])
        if rng.random() < 0.2:
            del arrays[name]
    return write_tensors(path, arrays, metadata)


def use_card(path: Path) -> None:
    from cli import tables

    card = TeacherCard.load(path.parent)
    tables.card_lines(card)
    tables.teacher_table([card])
    teacher_model_card(card)
    json.dumps([card.to_json(), card.summary()])
    build_network(card)


def use_config(path: Path) -> None:
    describe_folder(path.parent, "fly", "flies")
    load_network(path.parent)


def use_ranking(path: Path) -> None:
    from cli import tables

    ranking = Ranking.load(path)
    tables.ranking_table(ranking)
    json.dumps([ranking.warnings, ranking.weights(), ranking.nearest()])
    ranking.save(path)
    Ranking.load(path)


def use_comparison(path: Path) -> None:
    record = FinishedStudents.open(path, "a" * 64)
    if record.holds("transfer/0", 4):
        record.gather("transfer", 1, 1)
    record.add("fixmatch/0", np.ones(4, bool), 1.0)


def use_labels(path: Path) -> None:
    images = read_images(path.parent / "imgs", labels=path)
    check_dataset(images)
    images.check_labels()


def use_image(path: Path) -> None:
    images = read_images(path.parent)
    check_dataset(images)
    images.median_side()


RANKING = {
    "format": 3, "target": "/imgs", "zoo": "builtin", "metric": "linear_probe,logme", "images": 18,
    "labeled": 12, "classes": 3, "unlabeled": None, "labels": None, "labels_per_class": None,
    "seed": 0, "digest": "d", "power": 6.0, "forward_passes": 36,
    "teachers": [
        {"name": name, "domain": "d", "score": 0.5, "low": 0.4, "high": 0.6, "share": share,
         "status": "ok", "reason": "", "chance": 0.3, "rank": 1,
         "scores": {"linear_probe": 0.5, "logme": -0.1}}
        for name, share in (("ant", 0.75), ("bee", 0.25))
    ],
}  # fmt: skip


def make_targets(root: Path) -> list[Target]:
    """One intact file of each kind, in folders below `root`."""
    build_teacher(root / "teacher", "fly")
    build_teacher(root / "student", "fly")
    card, config = root / "teacher" / "card.json", root / "student" / "config.json"
    report = root / "student" / "report.json"
    report.write_text(json.dumps({"evaluation": {"accuracy": 0.5, "images": 8}}))
    ranking = root / "ranking.json"
    ranking.write_text(json.dumps(RANKING))
    comparison = root / "comparison" / "comparison.json"
    comparison.parent.mkdir()
    cells = {"transfer/0": {"hits": "0110", "seconds": 1.5}}
    comparison.write_text(json.dumps({"format": 1, "run": "a" * 64, "cells": cells}))
    labels = root / "labels.csv"
    rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(4)]
    for number in range(4):
        paint(root / "imgs" / f"{number}.png", (1, 2, 3), number)
    labels.write_text("path,label\n" + "\n".join(rows))
    row = np.eye(4, dtype=np.float16)
    Fingerprint(row, "r", 9).save(root / "teacher")
    mark = root / "teacher" / FINGERPRINT_FILE
    targets = [
        Target("card", card, use_card, mutate_json),
        Target("config", config, use_config, mutate_json),
        Target("report", report, lambda path: use_config(path), mutate_json),
        Target("ranking", ranking, use_ranking, mutate_json),
        Target("comparison", comparison, use_comparison, mutate_json),
        Target("labels", labels, use_labels, mutate_bytes),
        Target("fingerprint", mark, lambda path: Fingerprint.load(path, "r"), mutate_metadata),
        Target("weights", root / "student" / "model.safetensors", use_config, mutate_bytes),
    ]
    return [*targets, *image_targets(root)]


def image_targets(root: Path) -> list[Target]:
    """An image of each format that this Pillow writes."""
    noise = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    targets: list[Target] = []
    for kind, suffixes in FORMATS.items():
        folder = root / "formats" / kind
        paint(folder / "intact.png", (9, 9, 9))
        path = folder / f"x{suffixes.split()[0]}"
        try:
            Image.fromarray(noise).save(path, kind)
        except (OSError, KeyError, ValueError):
            continue
        targets.append(Target(kind, path, use_image, mutate_bytes))
    return targets


def run_mutations(root: Path, count: int, seed: int = 0) -> Mapping[str, tuple[int, int]]:
    """Mutate each kind of file in turn, `count` times in all, and use it.

    Returns:
        Per kind how many were used, and how many refused with a `ZooError`.

    Raises:
        Exception: what is not a `ZooError`: a bug; a note names kind and seed.
    """
    targets = make_targets(root)
    used = {target.name: [0, 0] for target in targets}
    for target in targets:
        content = target.file.read_bytes()
        target.use(target.file)  # as it is, it can be used
        target.file.write_bytes(content)
    for number in range(count):
        target = targets[number % len(targets)]
        rng = np.random.default_rng([seed, number])
        before = {
            path: path.read_bytes() for path in target.file.parent.iterdir() if path.is_file()
        }
        try:
            target.mutate(target.file, rng)
            target.use(target.file)
            used[target.name][0] += 1
        except ZooError as error:
            if len(str(error).splitlines()) > 1 or len(str(error)) > 4000:
                raise AssertionError(f"{target.name} {seed} {number}: {error}") from error
            used[target.name][1] += 1
        except Exception as error:
            error.add_note(f"{target.name}, seed {seed}, number {number}")
            raise
        finally:
            for path in [path for path in target.file.parent.iterdir() if path.is_file()]:
                if path not in before:
                    path.unlink()
            for path, content in before.items():
                path.write_bytes(content)
    return {name: (good, refused) for name, (good, refused) in used.items()}
