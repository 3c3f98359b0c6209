"""Labels: from a CSV file, hidden, sampled, and whether they make a task."""

import shutil

import numpy as np
import pytest

from tests.support.toys import paint, paint_folder
from zoo.errors import ImagesError
from zoo.images.folder import read_images
from zoo.images.warnings import check_dataset


def read_csv(folder, text, encoding="utf-8"):
    path = folder.parent / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return read_images(folder, labels=path)


def known(images):
    """Class by path below the root."""
    return {
        path.relative_to(images.root).as_posix(): images.classes[label]
        for path, label in zip(images.paths, images.labels, strict=True)
        if label >= 0
    }


def test_a_label_file_replaces_the_sub_folders(imgs):
    images = read_csv(imgs, "path,label\nloose0.png,cat\nred/1.png,dog\nred/2.png,\n")
    assert known(images) == {"loose0.png": "cat", "red/1.png": "dog"}
    assert (images.classes, len(images)) == (("cat", "dog"), 18)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath,label\nloose0.png,cat\nloose1.png,dog\n",
        "label,path\ncat,loose0.png\ndog,loose1.png\n",
        "n,path,label,x\n1,loose0.png,cat,\n2,loose1.png,dog,y\n",
        "path,label\r\nloose0.png,cat\r\n\r\nloose1.png,dog",
        "path,label\n ./loose0.png , cat \nred/../loose1.png,dog\n",
        'path,label\n"loose0.png","cat"\nloose1.png,dog\nloose1.png,dog\n',
        "path;label\nloose0.png;cat\nloose1.png;dog\n",
        "Label\tPath\ncat\tloose0.png\ndog\tloose1.png\n",
        "path|label\nloose0.png|cat\nloose1.png|dog\n",
        "path,label\n.\\loose0.png,cat\nred\\..\\loose1.png,dog\n",
    ],
    ids=[
        "bom",
        "order",
        "columns",
        "crlf",
        "spaces",
        "double",
        "semicolon",
        "tab",
        "bar",
        "windows",
    ],
)
def test_label_files_from_any_program_are_understood(imgs, text):
    assert known(read_csv(imgs, text)) == {"loose0.png": "cat", "loose1.png": "dog"}


@pytest.mark.parametrize("label", ["a, b", "größe 🐜", "[red]x[/]", 'say "hi"'])
def test_names_with_commas_quotes_brackets_and_emoji_survive(imgs, label):
    quoted = '"' + label.replace('"', '""') + '"'
    paint(imgs / "a, [b] 🐜.png", (1, 2, 3), 99)
    images = read_csv(imgs, f'path,label\n"a, [b] 🐜.png",{quoted}\n')
    assert known(images) == {"a, [b] 🐜.png": label}


def test_absolute_paths_and_a_target_with_dots_are_understood(imgs, monkeypatch):
    assert known(read_csv(imgs, f"path,label\n{imgs}/loose0.png,cat\n")) == {"loose0.png": "cat"}
    monkeypatch.chdir(imgs)
    images = read_csv(imgs / ".." / "imgs", "path,label\nloose0.png,cat\n")
    assert known(images) == {"loose0.png": "cat"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with '': the first line has to be `path,label`"),
        ("loose0.png,cat\n", "begins with 'loose0.png,cat': the first line"),
        ("path label\nloose0.png cat\n", "begins with 'path label': the first line"),
        ("path,label\nloose0.png,cat\nloose1.png,dog\nloose2.png,'cat,dog'\n", "more fields"),
        ('path,label\nloose0.png,cat\nloose2.png,"cat,dog"\n', "Line 3 .* several labels"),
        ("path,label\nloose0.png,cat\nloose2.png,dog|cat\n", "Line 3 .* several labels"),
        ("path,label\nloose0.png,cat,brown\n", "Line 2 of .* more fields"),
        ("path,label\nloose0.png\n", "Line 2 of .* lacks"),
        ("path,label\n\n\n,cat\n", "Line 4 of .* lacks"),
        ("path,label\nnone.png,cat\n", "Line 2 of .* names .*none.png, which is not an image in"),
        ("path,label\n../labels.csv,cat\n", "which is not an image in"),
        ("path,label\na.png,cat\nb.png,cat\n", r"Line 2 .*a.png.* \(2 lines name none\)"),
        ("path,label\nloose0.png,cat\n./loose0.png,dog\n", "Line 3 of .* second label"),
        ("path,label\nloose0.png,\nloose0.png,dog\n", "second label"),
        ('path,label\nloose0.png,"cat\nred/1.png,dog\n', "line 2: .* quotation mark"),
        ('path,label\nloose0.png,"cat\nred/1.png",dog\n', "Line 3 .*more fields"),
        ('path,label\nloose0.png,"a\nred/1.png,a"\n', "Line 3 .* a quotation mark too many"),
        ("path,label,label\nloose0.png,cat,\n", "two columns of one name"),
    ],
)
def test_a_bad_label_file_is_one_line_that_says_where(imgs, text, message):
    with pytest.raises(ImagesError, match=message) as caught:
        read_csv(imgs, text)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)


def test_a_second_label_by_another_path_of_an_image_is_found_and_the_same_is_none(imgs):
    (imgs.parent / "alias").symlink_to(imgs)
    (imgs.parent / "again").symlink_to(imgs)
    one, two = imgs.parent / "alias/loose0.png", imgs.parent / "again/loose0.png"
    for first, second in ((one, "loose0.png"), ("loose0.png", one), (one, two)):
        with pytest.raises(ImagesError, match=r"Line [23] .* second label"):
            read_csv(imgs, f"path,label\n{first},cat\n{second},dog\n")
        images = read_csv(imgs, f"path,label\n{first},cat\n{second},cat\nred/1.png,dog\n")
        assert known(images) == {"loose0.png": "cat", "red/1.png": "dog"}


def test_names_of_folders_are_labels_whatever_is_in_them(imgs):
    (imgs / "red").rename(imgs / " red, green")
    (imgs / "loose0.png").rename(imgs / " top.png")
    images = read_csv(
        imgs, 'path,label\n" red, green/1.png"," red, green"\n" top.png",green\nblue/1.png,blue\n'
    )
    assert known(images) == {
        " red, green/1.png": " red, green", " top.png": "green", "blue/1.png": "blue",
    }  # fmt: skip


def test_names_that_no_file_can_have_are_labels_and_no_images(imgs):
    long = "x" * 300
    images = read_csv(imgs, f"path,label\nloose0.png,{long}\nred/1.png,{long}\n")
    assert images.classes == (long,)
    with pytest.raises(ImagesError, match="not an image"):
        read_csv(imgs, f"path,label\n{long}.png,cat\n")


def test_a_class_whose_images_are_all_unreadable_is_named(imgs):
    (imgs / "bad.png").write_bytes(b"no image")
    images = read_csv(imgs, "path,label\nloose0.png,cat\nred/1.png,dog\nbad.png,owl\n")
    assert "The class 'owl' has no image: the student will not know it." in images.notes


def test_a_label_file_that_cannot_be_read_is_an_error(imgs, tmp_path):
    with pytest.raises(ImagesError, match="cannot be read"):
        read_images(imgs, labels=tmp_path / "none.csv")
    with pytest.raises(ImagesError, match=r"cannot be read \(Is a directory\): name a CSV file"):
        read_images(imgs, labels=tmp_path)
    with pytest.raises(ImagesError, match="save it as UTF-8"):
        read_csv(imgs, "path,label\nloose0.png,größe\n", encoding="latin-1")
    with pytest.raises(ImagesError, match="save it as UTF-8"):
        read_csv(imgs, "path,label\nlöse.png,cat\n", encoding="latin-1")
    with pytest.raises(ImagesError, match="save it as UTF-8"):
        read_csv(imgs, "path,label\nloose0.png,cat\n", encoding="utf-16")


def test_a_label_of_a_broken_image_is_no_unknown_path(imgs):
    (imgs / "bad.png").write_text("x")
    images = read_csv(imgs, "path,label\nbad.png,cat\nloose0.png,dog\n")
    assert images.classes == ("dog",)
    assert len(images.skipped) == 1


def test_hiding_keeps_exactly_so_many_labels_of_each_class(imgs):
    images = read_images(imgs)
    for count in (1, 3, 4):
        hidden = images.keep_labels(count, 0)
        assert np.bincount(hidden.labels[hidden.labels >= 0]).tolist() == [count] * 3
        kept = hidden.labels >= 0
        assert (hidden.labels[kept] == images.labels[kept]).all()
        assert (hidden.paths, hidden.digests) == (images.paths, images.digests)


def test_the_same_seed_hides_the_same_labels_and_another_seed_others(imgs):
    images = read_images(imgs)
    draws = [tuple(images.keep_labels(2, seed).labels) for seed in range(8)]
    assert draws == [tuple(images.keep_labels(2, seed).labels) for seed in range(8)]
    assert len(set(draws)) > 4


def test_more_labels_than_a_class_has_cannot_be_kept(imgs):
    (imgs / "red" / "0.png").unlink()
    with pytest.raises(ImagesError, match=r"Class 'red' .* has 3 labeled images, fewer than the 4"):
        read_images(imgs).keep_labels(4, 0)
    with pytest.raises(ValueError, match="at least 1"):
        read_images(imgs).keep_labels(0, 0)


def test_no_labels_one_class_and_single_images_make_no_task(tmp_path):
    worlds = {
        "has no labels": {"per_class": 0, "loose": 3},
        "has one class, 'red'": {"classes": ("red",), "loose": 2},
        "has a single labeled image": {"per_class": 1, "loose": 2},
    }
    for message, world in worlds.items():
        folder = paint_folder(tmp_path / message, **world)
        with pytest.raises(ImagesError, match=message) as caught:
            read_images(folder).check_labels()
        assert "\n" not in str(caught.value)


def test_a_class_with_one_image_is_named_and_tolerated_beside_others(imgs):
    paint(imgs / "lone" / "x.png", (1, 2, 3), 99)
    images = read_images(imgs)
    images.check_labels()
    (oddity,) = check_dataset(images)
    assert "1 of 4 classes have a single labeled image (lone)" in oddity


def test_copies_of_an_image_under_two_labels_are_named(imgs):
    shutil.copy(imgs / "red" / "0.png", imgs / "blue" / "copy.png")
    shutil.copy(imgs / "red" / "0.png", imgs / "red" / "copy.png")
    shutil.copy(imgs / "red" / "1.png", imgs / "unlabeled copy.png")
    (oddity,) = check_dataset(read_images(imgs))
    assert "3 files are copies" in oddity
    assert str(imgs / "blue" / "copy.png") in oddity


def test_a_folder_of_splits_is_not_taken_for_classes_without_a_word(tmp_path):
    for split in ("Train", "test"):
        paint_folder(tmp_path / "imgs" / split, per_class=3, seed=len(split))
    (oddity,) = check_dataset(read_images(tmp_path / "imgs"))
    assert oddity.endswith(f"--target {tmp_path / 'imgs' / 'Train'}.")


@pytest.mark.parametrize("name", ["unlabeled", "Unsorted"])
def test_a_folder_of_images_without_labels_is_not_taken_for_a_class_without_a_word(imgs, name):
    paint_folder(imgs / name, per_class=0, loose=4, seed=5)
    (oddity,) = check_dataset(read_images(imgs))
    assert oddity.startswith(f"The folder '{name}' counts as a class")
    assert f"--unlabeled {imgs / name}" in oddity
    images = read_images(imgs, unlabeled=imgs / name)
    assert name not in images.classes
    assert check_dataset(images) == []


def test_of_usual_images_nothing_is_odd(imgs):
    assert check_dataset(read_images(imgs)) == []


def test_a_small_task_is_probed_whole(imgs):
    images = read_images(imgs)
    assert images.sample().paths == images.paths
    assert images.sample().digest == images.digest


def test_a_probe_keeps_the_shares_of_the_classes_and_two_of_each_at_least(tmp_path):
    folder = tmp_path / "imgs"
    paint_folder(folder, per_class=40, classes=("blue",), loose=12)
    paint_folder(folder, per_class=20, classes=("green",), seed=1)
    paint_folder(folder, per_class=3, classes=("red",), seed=2)
    images = read_images(folder)
    probe = images.sample(max_labeled=21, max_unlabeled=5, seed=3)
    assert [int((probe.labels == label).sum()) for label in (-1, 0, 1, 2)] == [5, 13, 7, 2]
    assert probe.classes == images.classes
    place = {path: row for row, path in enumerate(images.paths)}
    rows = np.array([place[path] for path in probe.paths])
    assert (np.diff(rows) > 0).all()
    assert (images.labels[rows] == probe.labels).all()
    assert probe.paths == images.sample(max_labeled=21, max_unlabeled=5, seed=3).paths
    assert probe.paths != images.sample(max_labeled=21, max_unlabeled=5, seed=4).paths
