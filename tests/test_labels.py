"""Labels from a CSV file, the alternative to sub-folders."""

import pytest
from conftest import COLORS, paint, paint_folder

from zoo.errors import ImagesError
from zoo.images import read_images


@pytest.fixture
def flat(tmp_path):
    folder = paint_folder(tmp_path / "flat", per_class=0, loose=4)
    paint(folder / "sub" / "a,b.png", COLORS["red"], 99)
    return folder


def write(folder, *lines, bom=False):
    path = folder.parent / "labels.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig" if bom else "utf-8")
    return path


@pytest.mark.parametrize("bom", [False, True])
def test_a_file_gives_labels_instead_of_the_folders(flat, bom):
    lines = ["path,label", "loose0.png,cat 🐈", '"sub/a,b.png",[dog]', "loose1.png,"]
    images = read_images(flat, labels=write(flat, *lines, bom=bom))
    assert images.classes == ("[dog]", "cat 🐈")
    given = {p.name: int(n) for p, n in zip(images.paths, images.labels, strict=True)}
    expected = {"a,b.png": 0, "loose0.png": 1, "loose1.png": -1, "loose2.png": -1}
    assert given == expected | {"loose3.png": -1}


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["path,label", "nowhere.png,a"], "nowhere.png, which is not an image"),
        (["path,label", "loose0.png,a", "loose0.png,b"], "Line 3 .* second label"),
        (["file,class", "loose0.png,a"], "Line 2 .* lacks a path or a label"),
        (["path,label", "loose0.png"], "Line 2 .* lacks a path or a label"),
        (["path,label", "../flat/../labels.csv,a"], "not an image"),
    ],
)
def test_a_bad_line_is_named(flat, lines, what):
    with pytest.raises(ImagesError, match=what) as caught:
        read_images(flat, labels=write(flat, *lines))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(flat, tmp_path):
    with pytest.raises(ImagesError, match=r"label file .* cannot be read"):
        read_images(flat, labels=tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(ImagesError, match=r"label file .* cannot be read"):
        read_images(flat, labels=tmp_path / "binary.csv")
