"""Tiny offline worlds: colored image folders, a toy zoo, a cache of its own, no network."""

import json
import os
import socket
import sys

# before numpy and torch are imported, here and in every process that a test starts
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", COLUMNS="100")
os.environ.pop("FORCE_COLOR", None)

import numpy as np
import pytest

from selection import pipeline
from tests.support.hub_server import HubServer
from tests.support.toys import build_teacher, hub_card, paint_folder
from tests.support.worlds import EACH, TINY, Ran
from zoo.teachers import catalogue


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def refuse(self, address, *_):
        if self.family == socket.AF_UNIX:  # how processes of this machine talk
            return connect(self, address)
        raise AssertionError(f"a test reached for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Every test has a cache of its own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(folder))
    return folder


@pytest.fixture
def imgs(tmp_path):
    """Three classes of four images, six loose images."""
    return paint_folder(tmp_path / "imgs", per_class=4, loose=6)


@pytest.fixture
def test_imgs(tmp_path):
    """Held-out images of the same classes."""
    return paint_folder(tmp_path / "test_imgs", per_class=3, seed=7)


@pytest.fixture(scope="session")
def _toy_cards(tmp_path_factory):
    root = tmp_path_factory.mktemp("zoo")
    return [
        build_teacher(root / "ant", "ant", seed=1),
        build_teacher(root / "bee", "bee", labels=("x", "y"), seed=2),
    ]


@pytest.fixture
def toy_catalogue(tmp_path_factory, monkeypatch):
    """The Hub's catalogue is two cards: cat, in the default set, and gated dog."""
    cards = [hub_card("cat", default=True), hub_card("dog", gated=True)]
    path = tmp_path_factory.mktemp("hub") / "catalogue.json"
    path.write_text(json.dumps({"format": 2, "teachers": [card.to_json() for card in cards]}))
    monkeypatch.setattr(catalogue, "CATALOGUE", path)
    return cards


@pytest.fixture
def toy_zoo(_toy_cards, toy_catalogue, monkeypatch):
    """Embedded are two toy teachers, ant and bee, on the Hub two more; returns ant and bee."""
    monkeypatch.setattr(catalogue, "BUILTIN", _toy_cards[0].folder.parent)
    monkeypatch.setattr(pipeline, "extract_controls", lambda *_, **__: {})
    return _toy_cards


@pytest.fixture
def hub(tmp_path):
    """A Hub on this machine, without repositories."""
    with HubServer(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def images(imgs):
    """The eighteen images, read."""
    from zoo.images.folder import read_images

    return read_images(imgs)


@pytest.fixture
def features(images):
    """What two teachers, ant and bee, say of them: noise, but that embeddings know the classes."""
    from zoo.features.store import Features

    rng, other = np.random.default_rng(0), np.random.default_rng(1)

    def teacher(classes):
        logits = rng.normal(0, 3, (len(images), classes)).astype(np.float32)
        centers = 3 * other.normal(size=(4, 8))
        embeddings = centers[images.labels] + other.normal(size=(len(images), 8))
        return Features(embeddings.astype(np.float32), logits)

    return {"ant": teacher(3), "bee": teacher(2)}


@pytest.fixture
def plain_numbers(monkeypatch):
    """No bfloat16 on a processor that has it, so that results can be compared."""
    from zoo.features import inference
    from zoo.system import devices

    for module in (devices, inference):
        monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """The `zoo` command in an empty folder beside the images."""
    from cli import zoo_app

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*words) -> Ran:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            zoo_app.main()
        return Ran(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def distil(command):
    """`zoo distill` of a tiny student in two updates."""
    tiny = (*TINY, "--image-size", 32, "--updates", 2)
    return lambda *words: command("distill", *tiny, *words)


@pytest.fixture
def transfer(distil, imgs, toy_zoo):
    """Without teachers: the quickest run."""
    return lambda *words: distil("--target", imgs, "--baseline", "transfer", *words)


@pytest.fixture
def ranked(command, imgs, toy_zoo):
    """A ranking of the images in ./ranking.json."""

    def rank(*words):
        return command("rank", "--target", imgs, "--json", *words).json

    return rank


@pytest.fixture
def world(monkeypatch):
    """A machine whose clock stands still; what was measured, and times that may be set."""
    from distill import budget
    from distill.budget import StudentRate
    from zoo.features import throughput
    from zoo.features.controls import START
    from zoo.features.throughput import Rate

    seen = {"students": [], "teachers": [], "now": 0.0, "each": EACH}

    def measure_student(how, images, classes, teachers, seconds, device):
        seen["students"].append((how, classes, teachers, how.size, seconds, device))
        each = seen["each"] if how.method_recipe.updates else 0.0
        return StudentRate(0.0, 0.0, each * how.size**2 / 64**2, 0.0)

    def measure_teachers(cards, *, seconds, images, device):
        seen["teachers"].append(([card.name for card in cards], seconds, device))
        return {card.name: Rate(0.0 if card.name == START else 1.0) for card in cards}

    monkeypatch.setattr("zoo.system.timing.clock", lambda: seen["now"])
    monkeypatch.setattr(budget, "LEAST_UPDATES", 2)
    monkeypatch.setattr(budget, "measure_student", measure_student)
    monkeypatch.setattr(throughput, "measure_teachers", measure_teachers)
    monkeypatch.setattr(throughput, "measure_decoding", lambda *_: 0.0)
    monkeypatch.setattr(pipeline, "measure_scoring", lambda *_, **__: 0.0)
    return seen


@pytest.fixture
def timed_distil(command, imgs, toy_zoo, world):
    """`zoo distill` of a tiny student on that machine."""
    sized = (*TINY, "--image-size", 64)
    return lambda *words: command("distill", "--target", imgs, *sized, *words)


@pytest.fixture
def timed_compare(command, imgs, toy_zoo, world):
    """`zoo compare` of tiny students on that machine."""
    sized = (*TINY, "--image-size", 64)
    return lambda *words: command("compare", "--target", imgs, *sized, *words)


@pytest.fixture
def timed_rank(command, imgs, toy_zoo, world):
    """`zoo rank` on that machine."""
    return lambda *words: command("rank", "--target", imgs, *words)
