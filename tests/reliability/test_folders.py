"""Folders as people have them: what is left out is named, and nothing is told apart by accident."""

import shlex
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, features

from tests.support.toys import COLORS, paint, paint_folder
from zoo.errors import ImagesError
from zoo.images import decoding
from zoo.images.decoding import FORMATS, SUFFIXES, open_image
from zoo.images.folder import read_images
from zoo.images.warnings import check_dataset

AVION = unicodedata.normalize("NFC", "avión")
DECOMPOSED = unicodedata.normalize("NFD", AVION)


def named(images):
    """Class by the name of the file."""
    return {
        path.name: images.classes[label]
        for path, label in zip(images.paths, images.labels, strict=True)
        if label >= 0
    }


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "HEIF"])
def test_a_class_in_any_format_of_the_list_is_read(imgs, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    color = Image.fromarray(np.full((20, 24, 3), COLORS["red"], np.uint8))
    for suffix in FORMATS[kind].split():
        path = imgs / "other" / f"x{suffix}"
        path.parent.mkdir(exist_ok=True)
        color.convert("L" if suffix in (".pgm", ".pbm") else "RGB").save(path, kind)
    images = read_images(imgs)
    assert len(images) == 18 + len(FORMATS[kind].split())
    assert "other" in images.classes
    assert check_dataset(images)[-1:] == [
        note for note in check_dataset(images) if "single labeled image" in note
    ]


def test_a_file_without_a_suffix_is_read_if_it_is_an_image(imgs):
    (imgs / "red" / "0.png").rename(imgs / "red" / "scan")
    (imgs / "red" / "README").write_text("about these")
    images = read_images(imgs)
    assert len(images) == 18
    assert images.notes == (
        "Left out 1 file that is no image by the suffix: 1 without a suffix, in red (1).",
    )


def test_what_is_left_out_is_named_by_suffix_count_and_class(command, imgs, toy_zoo):
    for number in range(4):
        (imgs / "cat").mkdir(exist_ok=True)
        (imgs / "cat" / f"{number}.heif9").write_bytes(b"x")
    (imgs / "red" / "x.mp4").write_bytes(b"x")
    (imgs / "notes.txt").write_text("x")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (imgs / "red" / name).write_bytes(b"x")
    (imgs / "zebra").mkdir()
    (imgs / "broken").mkdir()
    (imgs / "broken" / "x.png").write_bytes(b"x")
    ran = command("rank", "--target", imgs, "--json")
    assert ran.json["images"] == 18
    said = ran.err.splitlines()
    assert (
        "Left out 6 files that are no image by the suffix: 4 .heif9, 1 .mp4, 1 .txt, in cat (4), "
        "red (1)." in said
    )
    for name in ("cat", "zebra", "broken"):
        assert f"The class {name!r} has no image: the student will not know it." in said


def test_eps_is_never_handed_to_ghostscript(imgs, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("it was"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("x.jpg", "x.png", "bare"):
        (imgs / "red" / name).write_bytes(eps)
    images = read_images(imgs)
    assert {entry.reason for entry in images.skipped} == {"it is not an image"}
    assert len(images.skipped) == 2
    assert "EPS" not in FORMATS
    assert ".eps" not in SUFFIXES


def test_folders_of_the_system_are_no_classes_and_are_named_once(imgs):
    for name in ("@eaDir", "__MACOSX", "red/@eaDir", "$RECYCLE.BIN"):
        paint(imgs / name / "x.png", (1, 2, 3), 5)
    images = read_images(imgs)
    assert images.classes == ("blue", "green", "red")
    assert images.notes == ("Left out folders of the system: $RECYCLE.BIN, @eaDir, __MACOSX.",)


def test_a_name_is_one_class_in_any_form_of_unicode(command, distil, tmp_path, toy_zoo):
    train, test = tmp_path / "train", tmp_path / "test"
    for folder, name, seed in ((train, AVION, 0), (test, DECOMPOSED, 7)):
        paint_folder(folder, per_class=3, classes=("red",), seed=seed)
        (folder / "red").rename(folder / name)
        paint_folder(folder, per_class=3, classes=("blue",), seed=seed + 1)
    assert read_images(train).classes == read_images(test).classes == (AVION, "blue")
    ran = distil("--target", train, "--baseline", "transfer", "--test", test, "--json")
    assert ran.json["accuracy"] is not None
    assert command("eval", "student", "--target", test, "--json").json["images"] == 6


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_label_file_finds_its_images_through_links_and_in_any_form(tmp_path, form):
    place = tmp_path / "place"
    for number in range(4):
        paint(place / f"{AVION}{number}.png", (1, 2, 3), number)
    (tmp_path / "link").symlink_to(place)
    rows = [f"{place}/{AVION}{number}.png,{'ab'[number % 2]}" for number in range(4)]
    text = unicodedata.normalize(form, "path,label\n" + "\n".join(rows))
    (tmp_path / "labels.csv").write_text(text)
    images = read_images(tmp_path / "link", labels=tmp_path / "labels.csv")
    assert named(images) == {f"{AVION}{number}.png": "ab"[number % 2] for number in range(4)}


def test_splits_beside_another_folder_and_one_wrapping_folder_are_noticed(tmp_path):
    for seed, name in enumerate(("train", "test", "docs")):
        paint_folder(tmp_path / "imgs" / name, per_class=2, seed=seed)
    (note,) = check_dataset(read_images(tmp_path / "imgs"))
    assert note.endswith(f"--target {tmp_path / 'imgs' / 'train'}.")
    paint_folder(tmp_path / "wrapped" / "dataset", per_class=2)
    with pytest.raises(ImagesError, match=f"use --target {tmp_path / 'wrapped' / 'dataset'}"):
        read_images(tmp_path / "wrapped").check_labels()


def test_commands_in_messages_can_be_typed_whatever_the_folder_is_called(tmp_path):
    for seed, name in enumerate(("train", "test")):
        paint_folder(tmp_path / "my imgs" / name, per_class=2, seed=seed)
    paint_folder(tmp_path / "whole" / "my data", per_class=2)
    splits, *_ = check_dataset(read_images(tmp_path / "my imgs"))
    paint_folder(tmp_path / "it's" / "unsorted", per_class=0, loose=2, seed=5)
    paint_folder(tmp_path / "it's", per_class=2)
    unsorted, *_ = check_dataset(read_images(tmp_path / "it's"))
    with pytest.raises(ImagesError) as wrapped:
        read_images(tmp_path / "whole").check_labels()
    for text, option, folder in (
        (splits, "--target", tmp_path / "my imgs" / "train"),
        (unsorted, "--unlabeled", tmp_path / "it's" / "unsorted"),
        (str(wrapped.value), "--target", tmp_path / "whole" / "my data"),
    ):
        assert shlex.split(text[text.index(option) :].rstrip("."))[:2] == [option, str(folder)]


def test_names_that_are_nearly_equal_are_noticed(imgs):
    for number, name in enumerate(("Dog", "dog", "dog ", "sea lion", "sea_lion", "cat")):
        for index in range(2):
            paint(imgs / name / f"{index}.png", (1, 2, 3), 50 + 2 * number + index)
    (note,) = check_dataset(read_images(imgs))
    assert note.startswith("Classes differ only in case, spaces or hyphens (Dog, dog, dog , ...)")


def test_skewed_labels_are_noticed(imgs):
    for number in range(26):
        paint(imgs / "red" / f"more{number}.png", COLORS["red"], 100 + number)
    (note,) = check_dataset(read_images(imgs))
    assert note.startswith("The labels are skewed: red has 30 images, blue 4.")


@pytest.mark.parametrize("bits", [10, 12])
def test_dark_grays_of_sixteen_bits_have_one_white_and_a_warning(imgs, bits):
    for number, top in enumerate((255, 256, 2**bits - 1)):
        values = np.linspace(0, top, 400).reshape(20, 20).astype(np.uint16)
        Image.fromarray(values).save(imgs / "red" / f"deep{number}.png")
    (note,) = read_images(imgs).notes
    assert note.startswith(
        f"3 images have 16 bits per value, of which the largest is {2**bits - 1}"
    )
    means = [
        np.asarray(open_image((imgs / "red" / f"deep{number}.png").read_bytes())).mean()
        for number in range(3)
    ]
    assert all(before <= after < 255 / 2 ** (15 - bits) for before, after in pairwise(means))
    Image.fromarray(np.full((20, 20), 60_000, np.uint16)).save(imgs / "red" / "bright.png")
    assert read_images(imgs).notes == ()


def test_large_files_are_skipped_without_being_read(imgs, monkeypatch):
    with (imgs / "red" / "sparse.jpg").open("wb") as file:
        file.truncate(12 << 30)
    monkeypatch.setattr(decoding, "MAX_BYTES", 1 << 20)
    (skipped,) = read_images(imgs).skipped
    assert skipped.reason == "it is larger than 1 MB"


def test_large_images_are_decoded_one_at_a_time(imgs, monkeypatch):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 100)
    inside, most = [0], [0]
    load = Image.Image.load

    def count(image):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        result = load(image)
        inside[0] -= 1
        return result

    monkeypatch.setattr(decoding, "_to_rgb", lambda image: (count(image), image)[1].convert("RGB"))
    assert len(read_images(imgs)) == 18
    assert most[0] == 1
