"""A student that becomes a teacher is not believed on its own training images."""

import json
from dataclasses import replace

import numpy as np
import pytest

from selection import Ranking
from zoo.images.folder import count_trained_on, read_images, save_trained_on


@pytest.fixture
def grown(command, transfer):
    """A zoo with a student of `imgs` as its teacher."""
    assert transfer().code == 0
    assert command("add", "student", "--name", "mine", "--domain", "colors").code == 0
    return "my-zoo"


def row_of(ranking, name):
    (row,) = [row for row in ranking["teachers"] if row["name"] == name]
    return row


def test_its_training_images_give_it_no_share_whatever_the_power_and_a_warning(
    command, imgs, test_imgs, grown, tmp_path
):
    ran = command("rank", "--target", imgs, "--zoo", f"builtin,{grown}", "--json")
    assert "mine was trained on 12 of the 12 labeled images" in ran.err
    assert row_of(ran.json, "mine")["share"] == 0
    assert sum(row["share"] for row in ran.json["teachers"]) == pytest.approx(1)
    assert "Share 0, trained on these images: mine." in ran.json["explanation"]
    saved = Ranking.load(tmp_path / "here" / "ranking.json")
    assert saved.nearest() != "mine"
    assert "mine" not in saved.weights(4.0)
    ran = command("rank", "--target", test_imgs, "--zoo", f"builtin,{grown}", "--json")
    assert "was trained on" not in ran.err


def test_alone_it_keeps_its_share_and_the_warning_says_so(command, imgs, grown):
    ran = command("rank", "--target", imgs, "--zoo", grown, "--json")
    assert "all shares are such teachers'" in ran.err
    assert row_of(ran.json, "mine")["share"] == 1


def test_only_labeled_images_are_counted_and_a_damaged_list_is_one_line(
    command, imgs, test_imgs, grown, tmp_path
):
    folder = tmp_path / "here" / grown / "mine"
    assert count_trained_on(read_images(imgs), folder) == 12
    assert count_trained_on(read_images(test_imgs), folder) == 0
    assert count_trained_on(read_images(imgs), None) == 0
    document = json.loads((folder / "trained_on.json").read_text())
    assert {len(digest) for digest in document["images"]} == {16}
    (folder / "trained_on.json").write_text('{"format": 1, "images": ["x"]}')
    line = command("rank", "--target", imgs, "--zoo", grown).mistake
    assert "trained_on.json" in line


def test_a_list_of_very_many_images_that_was_written_is_read(imgs, tmp_path):
    images = read_images(imgs)
    many = replace(
        images,
        paths=images.paths[:1] * 210_000,
        labels=np.zeros(210_000, dtype=np.int64),
        digests=tuple(f"{number:064x}"[::-1] for number in range(210_000)),
    )
    save_trained_on(many, tmp_path)
    assert count_trained_on(many.subset(np.arange(5)), tmp_path) == 5
