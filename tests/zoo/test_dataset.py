"""`hf://datasets/...`: a data set of parquet files as a folder of images in the cache."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.hub_server import HubServer
from tests.support.toys import COLORS, paint
from zoo.errors import ImagesError
from zoo.images import dataset
from zoo.images.dataset import fetch_dataset, is_dataset, load_rows, save_dataset
from zoo.images.folder import read_images
from zoo.images.source import ImageSource
from zoo.system.runtime import Runtime

ROOT = Path(__file__).parents[2]


def encode(color, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.full((9, 7, 3), color, dtype=np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A data set `birds/tiny` of two splits, as parquet files; the names that were loaded."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    names = [*COLORS]
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    for split, each in (("train", 3), ("test", 2)):
        rows = [(label, number) for label in range(len(names)) for number in range(each)]
        pictures = [
            encode((40 * label, 9 * number, each), "JPEG" if label else "PNG")
            for label, number in rows
        ]
        columns = {
            "image": [{"bytes": content, "path": "../../x"} for content in pictures],
            "label": [label for label, _ in rows],
        }
        made = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
        (tmp_path / "parquet").mkdir(exist_ok=True)
        made.to_parquet(tmp_path / "parquet" / f"{split}-0.parquet")
    asked, real = [], load_rows

    def load(name, split):
        asked.append((name, split))
        return real(str(tmp_path / "parquet"), split)

    monkeypatch.setattr(dataset, "load_rows", load)
    return asked


@pytest.mark.filterwarnings("ignore")
def test_a_split_becomes_labeled_images_once(hub, cache):
    source = ImageSource(Path("hf://datasets/birds/tiny:test"))
    images = source.read(Runtime())
    assert (len(images), images.labeled, set(images.classes)) == (6, 6, set(COLORS))
    assert {path.suffix for path in images.paths} == {".png", ".jpg"}
    assert all(path.is_relative_to(cache / "datasets") for path in images.paths)
    assert images.source
    assert images.source.target == images.root
    assert len(ImageSource(Path("hf://datasets/birds/tiny")).read(Runtime())) == 9
    source.read(Runtime())
    assert hub == [("birds/tiny", "test"), ("birds/tiny", "train")]


@pytest.mark.filterwarnings("ignore")
def test_rank_takes_an_address_and_distill_goes_on_with_it(hub, command, distil, toy_zoo):
    assert command("rank", "--target", "hf://datasets/birds/tiny").code == 0
    assert distil().code == 0
    report = json.loads(Path("student/report.json").read_text())
    assert (report["labeled"], sorted(report["classes"])) == (9, sorted(COLORS))


@pytest.mark.filterwarnings("ignore")
def test_test_and_unlabeled_images_may_be_addresses_too(hub, command, transfer, imgs, toy_zoo):
    test = "hf://datasets/birds/tiny:test"
    assert transfer("--test", test, "--unlabeled", "hf://datasets/birds/tiny").code == 0
    report = json.loads(Path("student/report.json").read_text())
    assert report["evaluation"]["images"] == 6
    assert report["unlabeled"] == 6 + 9
    assert command("eval", "student", "--target", test, "--json").json["images"] == 6
    ran = command("check", "--target", "hf://datasets/birds/tiny:test", "--test", test, "--json")
    assert len(ran.json["leaks"]) == 6, ran.err


@pytest.mark.filterwarnings("ignore")
def test_images_without_bytes_are_never_read_from_a_path(hub, tmp_path):
    datasets = pytest.importorskip("datasets")
    secret = tmp_path / "secret.png"
    paint(secret, (1, 2, 3))
    kinds = datasets.Features({"image": datasets.Image()})
    made = datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": str(secret)}]}, features=kinds
    )
    with pytest.raises(ImagesError, match="holds its images elsewhere"):
        save_dataset(made, tmp_path / "new")
    made = datasets.Dataset.from_dict({"text": ["a"]})
    with pytest.raises(ImagesError, match=r"no column of images: its columns are text"):
        save_dataset(made, tmp_path / "newer")


class Rows(list):
    """Rows of a data set, as `datasets` gives them."""

    def __init__(self, rows, kinds):
        super().__init__(rows)
        self.features = kinds

    def cast_column(self, _name, _kind):
        return self


@pytest.fixture
def rows(monkeypatch):
    """Makes rows of images and labels without the package `datasets`."""
    kind = type("Image", (), {"__init__": lambda _self, decode=True: None})
    fake = SimpleNamespace(Image=kind)
    monkeypatch.setitem(sys.modules, "datasets", fake)

    def make(pictures, labels):
        pairs = zip(pictures, labels, strict=True)
        return Rows(
            [{"image": {"bytes": content}, "label": label} for content, label in pairs],
            {"image": fake.Image(), "label": "text"},
        )

    return make


def phone_photo():
    """A JPEG of two pictures, as phones take them."""
    file = io.BytesIO()
    first, second = (Image.new("RGB", (9, 7), color) for color in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


def test_a_photo_of_a_phone_and_a_broken_image_cost_nothing_but_themselves(rows, tmp_path):
    pictures = [encode((9, 9, 9)), phone_photo(), b"no image"]
    save_dataset(rows(pictures, ["a", "b", "b"]), tmp_path / "new")
    images = read_images(tmp_path / "new/images", labels=tmp_path / "new/labels.csv")
    assert (len(images), images.classes) == (2, ("a", "b"))
    assert [entry.reason for entry in images.skipped] == ["it is not an image"]


def test_a_data_set_without_images_leaves_nothing_behind(rows, tmp_path):
    with pytest.raises(ImagesError, match="holds its images elsewhere"):
        save_dataset(rows([None], ["a"]), tmp_path / "new")
    assert not [*tmp_path.iterdir()]


def test_several_labels_of_an_image_are_refused(rows, tmp_path):
    with pytest.raises(ImagesError, match=r"'label' .* several labels per image"):
        save_dataset(rows([encode((1, 2, 3))], [[0, 1]]), tmp_path / "new")


def test_two_processes_may_fetch_a_data_set_at_once(rows, tmp_path):
    for color in ((1, 2, 3), (4, 5, 6)):
        save_dataset(rows([encode(color)], ["a"]), tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert read_images(tmp_path / "new/images").paths[0].read_bytes() == encode((1, 2, 3))


def test_what_is_no_address_is_a_folder_or_one_line(tmp_path, monkeypatch):
    assert not is_dataset(Path("hf"))
    assert not is_dataset(Path("imgs"))
    assert is_dataset(Path("hf://datasets/a/b"))
    with pytest.raises(ImagesError, match="write hf://datasets/OWNER/NAME:SPLIT"):
        fetch_dataset(Path("hf://datasets/a"), Runtime())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImagesError, match=r"pip install 'source-zoo\[datasets\]'"):
        fetch_dataset(Path("hf://datasets/a/b"), Runtime())


@pytest.mark.filterwarnings("ignore")
def test_the_hub_serves_it_to_the_real_library_once(hub, tmp_path):
    (tmp_path / "hub" / "birds").mkdir(parents=True)
    (tmp_path / "parquet").rename(tmp_path / "hub" / "birds" / "tiny")
    code = (
        "from pathlib import Path; from zoo.images.source import ImageSource\n"
        "from zoo.system.runtime import Runtime\n"
        "images = ImageSource(Path('hf://datasets/birds/tiny:test')).read(Runtime())\n"
        "print(len(images), images.labeled)"
    )
    with HubServer(tmp_path / "hub") as server:
        home = server.environment(tmp_path / "home") | {
            "SOURCE_ZOO_CACHE": str(tmp_path / "mine"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        words = [sys.executable, "-W", "ignore", "-c", code]
        first = subprocess.run(words, env=home, capture_output=True, text=True)
        asked = len(server.requests)
        second = subprocess.run(words, env=home, capture_output=True, text=True)
    assert (first.stdout, first.stderr) == ("6 6\n", "")
    assert second.stdout == "6 6\n"
    assert any("/datasets/birds/tiny/resolve/" in path for _, path in server.requests)
    assert len(server.requests) == asked
