"""Fingerprints: what they hold, and that a damaged or foreign one is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.support.toys import hub_card
from zoo.errors import TeacherBroken
from zoo.system.tensors import read_tensors, write_tensors
from zoo.teachers.catalogue import BUILTIN, pulled_folder
from zoo.teachers.collection import copy_teacher
from zoo.teachers.fingerprint import (
    FINGERPRINT_FILE,
    Fingerprint,
    fingerprint_path,
    reference_card,
)

REFERENCE = "f" * 64


def draw_fingerprint(seed=0, prototypes=3, width=8):
    rows = np.random.default_rng(seed).normal(size=(prototypes, width))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Fingerprint(unit.astype(np.float16), REFERENCE, 50)


def test_a_fingerprint_comes_back_from_its_file(tmp_path):
    made = draw_fingerprint()
    made.save(tmp_path)
    again = Fingerprint.load(tmp_path / FINGERPRINT_FILE, REFERENCE)
    assert np.array_equal(again.prototypes, made.prototypes)
    assert again.prototypes.dtype == np.float16
    assert (again.reference, again.images) == (REFERENCE, 50)
    assert [path.name for path in tmp_path.iterdir()] == [FINGERPRINT_FILE]


def test_the_fingerprint_of_another_reference_is_refused(tmp_path):
    draw_fingerprint().save(tmp_path)
    with pytest.raises(TeacherBroken, match="another reference") as caught:
        Fingerprint.load(tmp_path / FINGERPRINT_FILE, "0" * 64)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at", [3, 60, -1])
def test_a_fingerprint_with_one_wrong_byte_is_refused(tmp_path, at):
    draw_fingerprint().save(tmp_path)
    path = tmp_path / FINGERPRINT_FILE
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(TeacherBroken, match="cannot be used"):
        Fingerprint.load(path, REFERENCE)


@pytest.mark.parametrize("content", [b"", b"no tensors", bytes(100)])
def test_what_is_no_fingerprint_is_refused(tmp_path, content):
    (tmp_path / FINGERPRINT_FILE).write_bytes(content)
    with pytest.raises(TeacherBroken, match="cannot be used"):
        Fingerprint.load(tmp_path / FINGERPRINT_FILE, REFERENCE)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(TeacherBroken, match="cannot be written"):
        draw_fingerprint().save(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.ones((2, 3), np.float16), "unit length"),
        (np.full((2, 3), np.nan, np.float16), "unit length"),
        (np.eye(3, dtype=np.float32), "float16"),
        (np.empty((0, 3), np.float16), r"\[k, D\]"),
    ],
)
def test_prototypes_are_float16_of_unit_length(rows, reason):
    with pytest.raises(ValueError, match=reason):
        Fingerprint(rows, REFERENCE, 9)


def test_the_file_lies_beside_the_weights_or_where_they_would_be(tmp_path, toy_zoo):
    here = tmp_path / "ant"
    shutil.copytree(toy_zoo[0].folder, here)
    card = replace(toy_zoo[0], folder=here)
    assert fingerprint_path(card) is None
    draw_fingerprint().save(here)
    assert fingerprint_path(card) == here / FINGERPRINT_FILE
    away = hub_card("cat")
    assert fingerprint_path(away) is None
    pulled_folder(away).mkdir(parents=True)
    draw_fingerprint().save(pulled_folder(away))
    assert fingerprint_path(away) == pulled_folder(away) / FINGERPRINT_FILE


def test_a_copied_teacher_keeps_its_fingerprint(tmp_path, toy_zoo):
    shutil.copytree(toy_zoo[0].folder, tmp_path / "ant")
    draw_fingerprint().save(tmp_path / "ant")
    copied = copy_teacher(replace(toy_zoo[0], folder=tmp_path / "ant"), tmp_path / "mine")
    assert fingerprint_path(copied)
    assert fingerprint_path(copy_teacher(toy_zoo[1], tmp_path / "mine")) is None


def test_every_embedded_fingerprint_is_of_the_embedded_reference():
    reference = reference_card()
    paths = list(BUILTIN.glob(f"*/{FINGERPRINT_FILE}"))
    assert len(paths) >= 10
    for path in paths:
        made = Fingerprint.load(path, reference.sha256)
        assert made.prototypes.shape == (16, 256)
        assert made.images >= 500
        assert path.stat().st_size < 9000


def test_arrays_come_back_with_what_explains_them(tmp_path):
    arrays = {"one": np.arange(6).reshape(2, 3).T, "two": np.ones(2, np.float16)}
    write_tensors(tmp_path / "file", arrays, {"format": "7"})
    again, metadata = read_tensors(tmp_path / "file")
    assert metadata == {"format": "7"}
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")
