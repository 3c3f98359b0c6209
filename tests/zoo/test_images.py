"""Folders as paths, labels and classes: what counts as an image, a class, a label."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.toys import COLORS, paint, paint_folder
from zoo.errors import ImagesError
from zoo.images.folder import images_of_files, list_files, read_images


def names(images, label):
    """Paths below the root of one class, None for the unlabeled."""
    index = -1 if label is None else images.classes.index(label)
    rows = np.flatnonzero(images.labels == index)
    return [images.paths[row].relative_to(images.root).as_posix() for row in rows]


def listing(folder):
    """All that a write could change: names, sizes, times."""
    stats = {path: path.stat() for path in [folder, *folder.rglob("*")]}
    return {path: (stat.st_size, stat.st_mtime_ns, stat.st_mode) for path, stat in stats.items()}


def test_sub_folders_are_classes_and_loose_images_have_no_label(imgs):
    images = read_images(imgs)
    assert images.classes == ("blue", "green", "red")
    assert names(images, "red") == [f"red/{i}.png" for i in range(4)]
    assert names(images, None) == [f"loose{i}.png" for i in range(6)]
    assert (len(images), images.labeled) == (18, 12)
    assert images.warnings == []


def test_another_folder_adds_unlabeled_images_whatever_its_sub_folders(imgs, tmp_path):
    paint_folder(tmp_path / "more", per_class=2, loose=1, seed=3)
    images = read_images(imgs, unlabeled=tmp_path / "more")
    assert (len(images), images.labeled) == (18 + 7, 12)
    assert images.classes == ("blue", "green", "red")


@pytest.mark.parametrize("inner", ["rest", "red/rest", ".rest"])
def test_the_unlabeled_folder_may_lie_inside_the_target(imgs, inner):
    paint(imgs / inner / "a" / "x.png", (9, 9, 9), 99)
    images = read_images(imgs, unlabeled=imgs / inner)
    assert images.classes == ("blue", "green", "red")
    assert (len(images), images.labeled) == (19, 12)
    assert f"{inner}/a/x.png" in names(images, None)


def test_an_unlabeled_folder_around_the_target_does_not_count_its_images_twice(imgs, tmp_path):
    paint(tmp_path / "other" / "x.png", (9, 9, 9), 99)
    images = read_images(imgs, unlabeled=tmp_path)
    assert (len(images), images.labeled, len(set(images.paths))) == (19, 12, 19)


def test_the_target_as_its_own_unlabeled_folder_is_refused(imgs, tmp_path):
    (tmp_path / "link").symlink_to(imgs)
    with pytest.raises(ImagesError, match="is the target itself"):
        read_images(imgs, unlabeled=tmp_path / "link")


def test_sub_folders_of_a_class_belong_to_it(imgs):
    paint(imgs / "red" / "more" / "deep" / "x.png", COLORS["red"], 99)
    assert "red/more/deep/x.png" in names(read_images(imgs), "red")


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "PNG", "webp", "bmp", "tif", "tiff", "gif"])
def test_every_promised_format_is_read(imgs, ending):
    name = f"a.{ending}"
    paint(imgs / "red" / name, COLORS["red"], 99)
    assert f"red/{name}" in names(read_images(imgs), "red")


def test_hidden_files_hidden_folders_and_other_files_are_ignored(imgs):
    for name in (".x.png", "red/._1.png", ".hidden/x.png", "red/.thumbs/x.png"):
        paint(imgs / name, (1, 2, 3), 99)
    (imgs / "red" / "notes.txt").write_text("x")
    (imgs / "empty").mkdir()
    images = read_images(imgs)
    assert (len(images), images.classes) == (18, ("blue", "green", "red"))
    assert not images.skipped


def test_a_folder_named_like_an_image_is_a_folder(imgs):
    paint(imgs / "x.jpg" / "y.png", (9, 9, 9), 99)
    (imgs / "red" / "z.png").mkdir()
    images = read_images(imgs)
    assert images.classes == ("blue", "green", "red", "x.jpg")
    assert not images.skipped


@pytest.mark.parametrize("name", ["a, b", "größe 🐜", "[red]bold", "it's", "0", "None", "-1"])
def test_a_class_may_have_any_name(imgs, name):
    shutil.copytree(imgs / "red", imgs / name)
    images = read_images(imgs)
    assert len(names(images, name)) == 4
    assert len(images.digest) == 64


def test_a_class_name_that_is_no_text_is_refused_before_any_work(imgs):
    try:
        os.rename(os.fsencode(imgs / "red"), os.fsencode(imgs) + b"/r\xffd")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    with pytest.raises(ImagesError, match="not UTF-8") as caught:
        read_images(imgs)
    str(caught.value).encode()


def test_links_to_files_and_folders_elsewhere_are_followed(imgs, tmp_path):
    paint_folder(tmp_path / "far", per_class=2, classes=("green",), seed=4)
    (imgs / "linked").symlink_to(tmp_path / "far" / "green")
    (imgs / "red" / "link.png").symlink_to(imgs / "red" / "0.png")
    images = read_images(imgs)
    assert names(images, "linked") == ["linked/0.png", "linked/1.png"]
    assert "red/link.png" in names(images, "red")


def test_link_loops_end_and_do_not_rename_classes(imgs, tmp_path):
    (imgs / "blue" / "loop").symlink_to(imgs)
    (imgs / "blue" / "other").symlink_to(imgs / "red")
    (imgs / "a").symlink_to(imgs / "green")
    (imgs / "self").symlink_to(imgs / "self")
    images = read_images(imgs)
    assert images.classes == ("blue", "green", "red")
    assert [len(names(images, name)) for name in images.classes] == [4, 4, 4]


def test_unreadable_images_are_named_counted_and_skipped(imgs, monkeypatch):
    red = imgs / "red"
    jpg = paint(red / "whole.jpg", (1, 2, 3), 98, size=(64, 64)).read_bytes()
    (red / "cut.jpg").write_bytes(jpg[: len(jpg) // 2])
    (red / "cut.png").write_bytes((red / "0.png").read_bytes()[:200])
    (red / "zero.png").write_bytes(b"")
    (red / "text.gif").write_text("hello")
    Image.new("1", (20000, 20000)).save(red / "bomb.png")
    (red / "dangling.png").symlink_to(imgs / "nowhere.png")
    (red / "round.png").symlink_to(red / "round.png")
    os.mkfifo(red / "pipe.png")
    images = read_images(imgs)
    bad = {"cut.jpg", "cut.png", "zero.png", "text.gif", "bomb.png"}
    bad |= {"dangling.png", "round.png", "pipe.png"}
    assert {entry.path.name for entry in images.skipped} == bad
    assert len(images) == 19
    (warning,) = images.warnings
    assert warning.startswith("Skipped 8 unreadable images (")
    assert warning.endswith("; and 3 more).")
    assert "\n" not in warning
    reasons = {entry.path.name: entry.reason for entry in images.skipped}
    assert reasons["text.gif"] == "it is not an image"
    assert reasons["pipe.png"] == "it is not a regular file"
    assert reasons["dangling.png"] == "No such file or directory"
    assert "pixels" in reasons["bomb.png"]


def test_a_text_in_an_image_is_no_number_of_ours(imgs):
    told = PngInfo()
    told.add_text("largest", "hello")
    Image.new("RGB", (40, 40)).save(imgs / "red" / "told.png", pnginfo=told)
    images = read_images(imgs)
    assert (len(images), images.notes, images.skipped) == (19, (), ())


def test_an_image_without_permission_is_skipped_with_the_reason(imgs, monkeypatch):
    whole = os.open

    def refuse(path, *more, **options):
        if str(path).endswith("/2.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    images = read_images(imgs)
    assert [entry.reason for entry in images.skipped] == ["Permission denied"] * 3


def test_a_folder_without_permission_is_named_not_left_out(imgs, monkeypatch):
    whole = os.scandir

    def refuse(path):
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImagesError, match=r"red cannot be read \(Permission denied\)"):
        read_images(imgs)


def test_reading_writes_nothing_into_the_folder(imgs):
    (imgs / "red" / "bad.png").write_text("x")
    before = listing(imgs)
    read_images(imgs).sample()
    assert listing(imgs) == before


def test_a_missing_folder_a_file_and_an_empty_folder_are_one_line_each(tmp_path):
    paint(tmp_path / "x.png", (1, 2, 3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("x")
    for name, message in {
        "none": "does not exist",
        "x.png": "is a file",
        "empty": "No readable image",
        "bad": "it is not an image",
    }.items():
        with pytest.raises(ImagesError, match=message) as caught:
            read_images(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_progress_counts_every_file_even_the_broken(imgs):
    (imgs / "bad.png").write_text("x")
    said = []
    read_images(imgs, progress=lambda done, total: said.append((done, total)))
    assert said == [(i, 19) for i in range(1, 20)]


def test_digests_are_those_of_the_content_whatever_the_name(imgs):
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "copy.png")
    images = read_images(imgs)
    for path, digest in zip(images.paths, images.digests, strict=True):
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(set(images.digests)) == len(images) - 1


def test_the_digest_of_a_task_depends_on_contents_and_labels_not_on_place_or_names(imgs, tmp_path):
    digest = read_images(imgs).digest
    moved = shutil.copytree(imgs, tmp_path / "elsewhere")
    (moved / "red" / "0.png").rename(moved / "red" / "zzz.png")
    assert read_images(moved).digest == digest
    (moved / "red" / "zzz.png").rename(moved / "blue" / "zzz.png")
    assert read_images(moved).digest != digest
    shutil.move(moved / "blue" / "zzz.png", moved / "red")
    assert read_images(moved).digest == digest
    (moved / "red").rename(moved / "rouge")
    assert read_images(moved).digest != digest


def test_a_changed_pixel_or_a_hidden_label_changes_the_digest(imgs):
    images = read_images(imgs)
    assert images.keep_labels(2, 0).digest != images.digest
    assert images.keep_labels(4, 0).digest == images.digest
    paint(imgs / "red" / "0.png", COLORS["red"], 99)
    assert read_images(imgs).digest != images.digest


def test_files_and_folders_to_predict_are_listed_as_they_are_named(imgs, tmp_path):
    lone = paint(tmp_path / "odd name.weird.png", (1, 2, 3))
    (tmp_path / "x.txt").write_text("x")
    (imgs / "red" / "notes.txt").write_text("x")
    files, notes = list_files([imgs / "red", lone, tmp_path / "x.txt"])
    assert files == [*sorted((imgs / "red").glob("*.png")), lone, tmp_path / "x.txt"]
    (note,) = notes
    assert "1 .txt" in note
    with pytest.raises(ImagesError, match="does not exist"):
        list_files([tmp_path / "none.png"])


def test_images_are_named_with_their_classes_and_more_may_be_unlabeled(imgs, tmp_path):
    paths = [imgs / "red" / "0.png", imgs / "blue" / "1.png", imgs / "loose0.png"]
    images = images_of_files(paths, ["b", "a", None], unlabeled=imgs / "green")
    assert images.classes == ("a", "b")
    assert images.labels.tolist() == [1, 0, -1, -1, -1, -1, -1]
    assert images.paths[:3] == tuple(paths)
    with pytest.raises(ImagesError, match="None of 1 images"):
        images_of_files([tmp_path / "none.png"], ["a"])


def test_a_label_file_names_images_of_the_unlabeled_folder_too(imgs, tmp_path):
    more = paint_folder(tmp_path / "more", per_class=0, loose=2, seed=3)
    (tmp_path / "labels.csv").write_text(
        f"path,label,reason\nred/0.png,r,\nred/1.png,r,\n{more / 'loose0.png'},g,\nblue/0.png,,x\n"
    )
    images = read_images(imgs, unlabeled=more, labels=tmp_path / "labels.csv")
    named = {path.name: label for path, label in zip(images.paths, images.labels, strict=True)
             if label >= 0}  # fmt: skip
    assert images.classes == ("g", "r")
    assert images.labels[images.paths.index(more / "loose0.png")] == 0
    assert (len(images), images.labeled, len(named)) == (20, 3, 3)
