"""The checks of images: planted faults are found, and by literal oracles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from selection.check.copies import compare, find_copies, group_copies
from selection.check.findings import Copies, DataCheck, DoubtedLabel, Leak, Suggestion
from selection.check.labels import (
    STRENGTH,
    choose_next,
    doubt_labels,
    find_alike_classes,
    fit_error_model,
)
from selection.check.outliers import find_outliers, find_small, measure_distances
from zoo.features.store import Features
from zoo.images.folder import read_images


def clouds(seed, each=40, classes=4, width=12, signal=3.0):
    """Features of Gaussian classes, and their labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(each * classes) % classes
    centers = signal * draw.normal(size=(classes, width)) / 2
    return centers[labels] + draw.normal(size=(len(labels), width)), labels


def plant(labels, rate, seed):
    draw = np.random.default_rng(seed)
    wrong = draw.random(len(labels)) < rate
    other = (labels + draw.integers(1, labels.max() + 1, len(labels))) % (labels.max() + 1)
    return np.where(wrong, other, labels), wrong


def photo(path, seed, size=(48, 40)):
    """A smooth picture, unlike any of another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    picture.save(path)
    return picture


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3])
def test_the_rate_of_label_errors_is_estimated(rate):
    draw = np.random.default_rng(1)
    logits = 4 * draw.normal(size=(4000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) > draw.random(4000)[:, None]).argmax(axis=1)
    labels, _ = plant(truth, rate, 2)
    temperature, found = fit_error_model(0.3 * logits, labels)
    assert found == pytest.approx(rate, abs=0.02)
    assert temperature == pytest.approx(0.3, rel=0.15)


def test_planted_label_errors_are_found_and_the_probabilities_hold():
    hits = flagged = planted = 0
    expected = 0.0
    for seed in range(10):
        rows, truth = clouds(seed)
        labels, wrong = plant(truth, 0.1, seed)
        doubts = doubt_labels(rows, labels)
        hits += (wrong & ~doubts.trusted).sum()
        flagged += (~doubts.trusted).sum()
        planted += wrong.sum()
        expected += doubts.wrong.sum()
    assert hits / planted > 0.7
    assert hits / flagged > 0.8
    assert expected == pytest.approx(planted, rel=0.3)


def test_clean_labels_are_not_doubted():
    assert sum((~doubt_labels(*clouds(seed)).trusted).sum() for seed in range(10)) <= 8


def test_the_only_image_of_a_class_is_no_label_error_and_its_class_like_no_other():
    rows, labels = clouds(0, each=5, classes=5, signal=9.0)
    some = (labels < 2) | (np.arange(25) < 5)  # five images of two classes, one of each other
    doubts = doubt_labels(rows[some], labels[some])
    assert doubts.trusted.all()
    assert doubts.rate == 0
    unknown = np.array([[0.2, 0.8], [0.8, 0.2]])
    assert find_alike_classes(unknown, np.array([0, 1]), "ab") == []


def test_copies_are_found_in_any_file_and_orientation(tmp_path):
    picture = photo(tmp_path / "a" / "one.png", 1)
    for seed in range(2, 9):
        photo(tmp_path / "b" / f"{seed}.png", seed)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bytes.png").write_bytes((tmp_path / "a" / "one.png").read_bytes())
    picture.save(tmp_path / "c" / "pixels.bmp")
    picture.save(tmp_path / "c" / "jpeg.jpg", quality=60)
    picture.resize((24, 20)).transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "c" / "turned.png"
    )
    ImageEnhance.Brightness(picture).enhance(0.7).transpose(
        Image.Transpose.FLIP_LEFT_RIGHT
    ).save(tmp_path / "c" / "dark.png")  # fmt: skip
    images = read_images(tmp_path)
    copies = find_copies(images, np.ones((len(images), 2)))  # every image is a candidate
    names = {path.name: row for row, path in enumerate(images.paths)}
    first = names["one.png"]
    kinds = {images.paths[copy.other].name: copy.kind for copy in copies if copy.one == first}
    assert kinds == {"bytes.png": "bytes", "pixels.bmp": "pixels", "jpeg.jpg": "near",
                     "turned.png": "near", "dark.png": "near"}  # fmt: skip
    (group,) = group_copies(copies)
    assert [images.paths[row].name for row in group] == sorted(
        [*kinds, "one.png"], key=lambda name: names[name]
    )


def test_images_of_one_color_are_not_copies_of_each_other():
    plain = np.stack([np.full((3, 32, 32), value, np.uint8) for value in (10, 200)])
    assert compare(plain, np.array([[0, 1]]))[0] == 0


def test_the_distance_of_an_outlier_is_its_mean_squared_deviation():
    draw = np.random.default_rng(0)
    one, two = draw.normal(size=(30, 6)), draw.normal(size=(30, 9))
    one[7] += 9
    features = {
        name: Features(rows.astype(np.float32), rows.astype(np.float32))
        for name, rows in (("one", one), ("two", two))
    }
    found = measure_distances(features, {"one": 0.75, "two": 0.25})
    plain = [((rows - rows.mean(axis=0)) / rows.std(axis=0)) ** 2 for rows in (one, two)]
    assert found == pytest.approx(0.75 * plain[0].mean(axis=1) + 0.25 * plain[1].mean(axis=1), 1e-4)
    assert find_outliers(found).tolist() == [7]
    assert not len(find_outliers(found[:10]))


def test_a_class_that_was_split_at_random_is_two_that_cannot_be_told_apart():
    rows, labels = clouds(3, each=60)
    halves = np.where((labels == 0) & (np.arange(len(labels)) % 8 < 4), 4, labels)
    doubts = doubt_labels(rows, halves)
    (pair,) = find_alike_classes(doubts.probabilities, halves, "abcde")
    assert (pair.one, pair.other, pair.images) == ("a", "e", 60)
    assert pair.low < 0.5 < pair.high < 0.8
    assert find_alike_classes(doubt_labels(rows, labels).probabilities, labels, "abcd") == []


def test_few_images_are_no_evidence_that_classes_are_alike():
    chances = np.full((4, 2), 0.5)
    assert find_alike_classes(chances, np.array([0, 0, 1, 1]), "ab") == []


def test_an_image_is_small_by_itself_and_beside_the_others():
    assert find_small(np.array([200, 220, 20, 210, 40])).tolist() == [2, 4]
    assert find_small(np.array([28] * 9)).tolist() == []


def test_each_suggestion_takes_the_most_variance_from_the_unsure_images():
    draw = np.random.default_rng(4)
    rows, labels = draw.normal(size=(14, 5)), np.array([0, 1, *[-1] * 12])
    unsure = draw.random(14)
    centered = rows - rows.mean(axis=0)
    noise = STRENGTH * (centered**2).sum() / len(rows)
    known = [0, 1]

    def left(chosen):
        seen = centered[known + chosen]
        covariance = np.linalg.inv(seen.T @ seen / noise + np.eye(5))
        return sum(unsure[row] * centered[row] @ covariance @ centered[row] for row in range(2, 14))

    chosen: list[int] = []
    for _ in range(5):
        rest = [row for row in range(2, 14) if row not in chosen]
        chosen.append(min(rest, key=lambda row: left([*chosen, row])))
    assert choose_next(rows, labels, unsure, 5).tolist() == chosen
    assert sorted(choose_next(rows, labels, unsure, 99).tolist()) == [*range(2, 14)]


def test_of_images_that_are_all_the_same_any_are_suggested():
    with np.errstate(all="raise"):
        assert choose_next(np.full((4, 3), 0.1), np.full(4, -1), np.ones(4), 2).tolist() == [0, 1]


def test_a_copy_of_a_chosen_image_is_not_chosen_next():
    rows = np.random.default_rng(0).normal(size=(30, 8))
    rows[1:6] = rows[0]
    chosen = choose_next(rows, np.full(30, -1), np.ones(30), 6)
    assert sum(row < 6 for row in chosen.tolist()) <= 1


def make_check(target):
    wrong, *right = (
        DoubtedLabel(str(target / path), label, suggestion, doubt)
        for path, label, suggestion, doubt in [
            ("red/1.png", "red", "blue, sky", 0.8),
            ("red/0.png", "red", "blue, sky", 0.3),
            ("blue/0.png", "blue, sky", "red", 0.1),
        ]
    )
    return DataCheck(
        target=str(target),
        images=9,
        labeled=70,
        counts={"red": 6, "blue, sky": 1},
        teachers={"ant": 1.0},
        accuracy=0.9,
        error_rate=0.1,
        label_errors=(wrong,),
        copies=(Copies(("a", "b"), ("red", "blue, sky"), "near"),),
        leaks=(Leak("t", "a", "bytes", ("red", "red")), Leak("t", "b", "near", ("red", "red"))),
        outliers=("o",),
        suggestions=(Suggestion(str(target / "loose0.png"), "red", 0.41),),
        labels=(wrong, *right),
    )


def test_the_label_file_can_be_filled_in_and_read(imgs, tmp_path):
    text = make_check(imgs).label_file()
    lines = text.splitlines()
    assert lines[0] == "path,label,suggestion,probability,reason"
    assert lines[1] == "loose0.png,,red,0.410,label this"
    assert lines[2] == 'red/1.png,red,"blue, sky",0.800,probably wrong'
    assert lines[3] == 'red/0.png,red,"blue, sky",0.300,'
    (tmp_path / "empty.csv").write_text(text)
    images = read_images(imgs, labels=tmp_path / "empty.csv")
    assert (images.classes, images.labeled) == (("blue, sky", "red"), 3)
    (tmp_path / "filled.csv").write_text(text.replace("loose0.png,,", "loose0.png,green,"))
    images = read_images(imgs, labels=tmp_path / "filled.csv")
    assert (images.classes, images.labeled) == (("blue, sky", "green", "red"), 4)


def test_the_findings_are_told_in_sentences():
    assert make_check(Path("imgs")).sentences == [
        "70 labeled of 9 images, 2 classes; a probe on 1 teacher predicts 90.0% of the labels that "
        "it did not see.",
        "Label errors: 1 probable, about 10% of the labels are wrong; most often red that look "
        "like blue, sky (1).",
        "Copies: 1 in nearly equal versions, 1 of them with different labels.",
        "Test images: 1 is in the training folder too: test on others.",
        "Images: 1 unlike all others.",
        "Skew: red has 6 labels, blue, sky 1.",
    ]


@pytest.mark.parametrize("changes", [{"labeled": 20}, {"error_rate": 0.002}])
def test_a_rate_of_few_labels_or_one_that_contradicts_the_findings_is_not_told(changes):
    told = replace(make_check(Path("imgs")), **changes).sentences[1]
    assert told == "Label errors: 1 probable; most often red that look like blue, sky (1)."
