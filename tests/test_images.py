"""Folders as images and labels: what counts, what is skipped, what is refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import COLORS, paint, paint_folder

from zoo.errors import ImagesError
from zoo.images import Images, check_files, read_images


def names(images, label):
    """File names of the images of one class, None for the unlabelled."""
    number = -1 if label is None else images.classes.index(label)
    return [p.name for p, n in zip(images.paths, images.labels, strict=True) if n == number]


def test_sub_folders_are_classes_and_loose_images_are_unlabelled(imgs):
    images = read_images(imgs)
    assert images.classes == ("blue", "green", "red")
    assert names(images, "red") == ["0.png", "1.png", "2.png", "3.png"]
    assert names(images, None) == [f"loose{i}.png" for i in range(6)]
    assert images.labeled == 12


def test_deeper_folders_belong_to_their_class(imgs):
    paint(imgs / "red" / "more" / "deep" / "x.png", COLORS["red"], 77)
    assert "x.png" in names(read_images(imgs), "red")


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_of_unlabelled_images_is_no_class_wherever_it_lies(imgs, tmp_path, inside):
    folder = (imgs if inside else tmp_path) / "pool"
    paint(folder / "sub" / "a.png", COLORS["red"], 55)
    images = read_images(imgs, unlabeled=folder)
    assert images.classes == ("blue", "green", "red")
    assert names(images, None)[-1] == "a.png"
    assert len(images) == 19


def test_hidden_files_and_folders_and_other_files_are_ignored(imgs):
    paint(imgs / ".git" / "x.png", COLORS["red"], 1)
    paint(imgs / "red" / ".hidden.png", COLORS["red"], 2)
    (imgs / "red" / "notes.txt").write_text("no image")
    (imgs / "empty").mkdir()
    (imgs / "red" / "folder.jpg").mkdir()
    images = read_images(imgs)
    assert len(images) == 18
    assert images.classes == ("blue", "green", "red")


def test_links_that_run_in_circles_are_followed_once(imgs):
    (imgs / "red" / "loop").symlink_to(imgs)
    assert sorted(read_images(imgs).digests) == sorted(set(read_images(imgs).digests))


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "unreadable"])
def test_a_broken_image_is_named_counted_and_skipped(imgs, damage):
    victim = imgs / "red" / "0.png"
    content = {"empty": b"", "cut": victim.read_bytes()[:-300], "text": b"hello"}
    if damage == "unreadable":
        victim.unlink()
        victim.symlink_to(imgs / "nowhere.png")
    else:
        victim.write_bytes(content[damage])
    images = read_images(imgs)
    assert len(images) == 17
    assert [entry.path for entry in images.skipped] == [victim]
    assert images.skipped[0].reason
    assert str(victim) in images.skipped_note
    assert "\n" not in images.skipped_note


def test_a_decompression_bomb_is_skipped(imgs, monkeypatch):
    monkeypatch.setattr("zoo.decoding.MAX_PIXELS", 24 * 20)
    paint(imgs / "red" / "large.png", COLORS["red"], 3, size=(25, 20))
    images = read_images(imgs)
    assert [entry.path.name for entry in images.skipped] == ["large.png"]
    assert "25 x 20" in images.skipped[0].reason


@pytest.mark.parametrize("bad", ["missing", "file", "empty", "broken"])
def test_a_folder_without_images_is_one_clear_line(tmp_path, bad):
    folder = tmp_path / "x"
    if bad == "file":
        folder.write_text("x")
    elif bad != "missing":
        folder.mkdir()
    if bad == "broken":
        (folder / "a.png").write_bytes(b"")
    with pytest.raises(ImagesError, match="image") as caught:
        read_images(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_class_no_class_and_classes_of_one_image_are_clear_lines(tmp_path):
    single = read_images(paint_folder(tmp_path / "a", classes=("red",)))
    with pytest.raises(ImagesError, match="one class, 'red'"):
        single.check_labels()
    flat = read_images(paint_folder(tmp_path / "b", per_class=0, loose=3))
    with pytest.raises(ImagesError, match="has no labels"):
        flat.check_labels()
    lonely = read_images(paint_folder(tmp_path / "c", per_class=1))
    with pytest.raises(ImagesError, match="single labelled image"):
        lonely.check_labels()
    paint(tmp_path / "c" / "red" / "second.png", COLORS["red"], 9)
    mended = read_images(tmp_path / "c")
    mended.check_labels()
    assert mended.lonely_classes() == ["blue", "green"]


def test_reading_changes_nothing_in_the_folder(imgs):
    def state():
        return [(p, p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(imgs.rglob("*"))]

    before = state()
    read_images(imgs)
    assert state() == before


def test_a_digest_is_of_the_content_not_of_the_name(imgs):
    shutil.copy(imgs / "red" / "0.png", imgs / "red" / "copy.png")
    images = read_images(imgs)
    by_name = dict(zip(images.paths, images.digests, strict=True))
    assert by_name[imgs / "red" / "copy.png"] == by_name[imgs / "red" / "0.png"]
    assert len(set(images.digests)) == 18


def test_the_digest_of_a_task_depends_on_contents_and_labels_but_not_on_the_place(imgs, tmp_path):
    here = read_images(imgs)
    there = read_images(Path(shutil.copytree(imgs, tmp_path / "moved")))
    assert here.digest == there.digest
    assert here.digest != here.hide_labels(2, 0).digest
    os.rename(tmp_path / "moved" / "red" / "0.png", tmp_path / "moved" / "blue" / "new.png")
    assert read_images(tmp_path / "moved").digest != here.digest


def test_hiding_labels_keeps_so_many_of_each_class_by_the_seed(imgs):
    images = read_images(imgs)
    kept = images.hide_labels(2, 0)
    assert [int((kept.labels == c).sum()) for c in range(3)] == [2, 2, 2]
    known = kept.labels >= 0
    assert (kept.labels[known] == images.labels[known]).all()
    assert (kept.labels == images.hide_labels(2, 0).labels).all()
    draws = {tuple(images.hide_labels(2, seed).labels) for seed in range(5)}
    assert len(draws) > 1
    with pytest.raises(ImagesError, match="'blue' .* has 4 labelled images, fewer than the 5"):
        images.hide_labels(5, 0)


def test_a_probe_is_a_sample_of_every_class_and_of_the_pool(imgs):
    images = read_images(imgs)
    assert images.probe().paths == images.paths
    few = images.probe(labeled=6, pool=2)
    assert [int((few.labels == c).sum()) for c in (-1, 0, 1, 2)] == [2, 2, 2, 2]
    assert images.probe(pool=2, seed=0).paths != images.probe(pool=2, seed=3).paths
    assert images.probe(pool=2, seed=1).paths == images.probe(pool=2, seed=1).paths


def test_files_by_name_and_in_folders_are_read_without_labels(imgs):
    images = check_files([imgs / "red" / "1.png", imgs / "blue"])
    assert [p.name for p in images.paths] == ["1.png", "0.png", "1.png", "2.png", "3.png"]
    assert images.labeled == 0
    with pytest.raises(ImagesError, match="does not exist"):
        check_files([imgs / "nothing.png"])


def test_a_subset_keeps_paths_labels_and_digests_together(imgs):
    images = read_images(imgs)
    part = images.subset(np.array([5, 2]))
    assert part.paths == (images.paths[5], images.paths[2])
    assert part.digests == (images.digests[5], images.digests[2])
    assert isinstance(part, Images)
    assert list(part.labels) == [images.labels[5], images.labels[2]]
