"""Cards: what is written is read, and what is no card is refused in one line."""

import hashlib
import json
import os
from dataclasses import replace

import pytest

from zoo.errors import TeacherBroken
from zoo.system.files import write_atomic
from zoo.teachers.card import CARD_FILE, Preprocessing, TeacherCard, sha256_of
from zoo.teachers.catalogue import list_cards

LOOK = Preprocessing(32, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3), "bicubic", 0.9, "squash")


@pytest.fixture
def card(tmp_path):
    return TeacherCard(
        name="ant",
        domain="ants 🐜",
        source="builtin:ant",
        network="test_resnet",
        classes=3,
        labels=("[red]", "a, b", "größe"),
        params=3,
        bytes=4,
        sha256="0" * 64,
        license="mit",
        data="noise",
        data_license="CC0",
        preprocessing=LOOK,
        accuracy=0.5,
        accuracy_images=8,
        recipe="by hand",
        folder=tmp_path,
    )


def test_a_saved_card_is_read_back_as_it_was(card, tmp_path):
    card.save(tmp_path)
    assert TeacherCard.load(tmp_path) == card


WHOLE = {
    "classes": 0,
    "labels": (),
    "base": "builtin/objects",
    "revision": "1f" * 20,
    "weights": "pytorch_model.bin",
    "loader": "overlay",
    "model_args": {"img_size": 32, "depth": 2},
    "overlay": {"num_classes": 512},
    "evidence": "seen",
    "gated": True,
    "default": True,
    "note": "mind [this]\nand that",
    "golden": ((1.5, -2e-05, 0.0), (0.25, 3.0, -1e9)),
}


def test_a_card_with_every_entry_is_read_back_as_it_was(card, tmp_path):
    whole = replace(card, preprocessing=replace(LOOK, channels="bgr"), **WHOLE)
    whole.save(tmp_path)
    assert TeacherCard.load(tmp_path) == whole
    text = (tmp_path / CARD_FILE).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) < 500
    assert "[1.5,-2e-05,0.0]" in text


def test_numbers_in_brackets_in_a_text_stay_as_they_are(card, tmp_path):
    named = replace(card, labels=("[0, 10]", "[ ]"), classes=2, note="seeds [0, 1,\n 2]")
    named.save(tmp_path)
    assert TeacherCard.load(tmp_path) == named


def test_a_card_whose_files_nobody_saw_is_read_back_as_it_was(card, tmp_path):
    unknown = replace(card, preprocessing=None, network="", sha256="", accuracy=None)
    unknown.save(tmp_path)
    assert TeacherCard.load(tmp_path) == unknown
    with pytest.raises(TeacherBroken, match="'ant' are not on this machine: `zoo pull ant`"):
        replace(unknown, folder=None).input  # noqa: B018
    with pytest.raises(TeacherBroken, match=r"card\.json has no preprocessing or no sha256: add"):
        unknown.input  # noqa: B018


def test_json_leaves_out_what_is_as_by_default_and_nothing_else(card):
    assert card.to_json().keys() == {
        "name", "domain", "source", "network", "classes", "license", "data", "data_license",
        "preprocessing", "labels", "params", "bytes", "sha256", "accuracy", "accuracy_images",
        "recipe",
    }  # fmt: skip
    assert WHOLE.keys() - {"labels"} <= replace(card, **WHOLE).to_json().keys()
    assert "labels" not in replace(card, **WHOLE).to_json()


def test_the_repository_is_known_of_teachers_of_the_hub_alone(card):
    assert card.repo == ""
    assert replace(card, source="hf-hub:owner/net").repo == "owner/net"
    assert replace(card, name="owner/net").file_name == "owner--net"


def test_a_card_does_not_tell_where_it_lay(card, tmp_path):
    card.save(tmp_path)
    document = json.loads((tmp_path / CARD_FILE).read_text(encoding="utf-8"))
    assert "folder" not in document
    assert str(tmp_path) not in json.dumps(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("classes"),
        lambda d: d.update(labels=["a", "b"]),
        lambda d: d.update(labels="abc"),
        lambda d: d.update(labels=[1, 2, 3]),
        lambda d: d.update(name=3),
        lambda d: d.update(name=".ant"),
        lambda d: d.update(domain=None),
        lambda d: d.update(source=3),
        lambda d: d.update(bytes="4"),
        lambda d: d.update(gated="yes"),
        lambda d: d.update(accuracy="0.5"),
        lambda d: d.update(accuracy=float("nan")),
        lambda d: d.update(model_args=[]),
        lambda d: d.update(golden="ab"),
        lambda d: d.update(weights=".."),
        lambda d: d.update(weights=""),
        lambda d: d["preprocessing"].update(mean=["a", "b", "c"]),
        lambda d: d["preprocessing"].update(mean=[0.5, 0.5]),
        lambda d: d["preprocessing"].update(std=[0.5, 0, 0.5]),
        lambda d: d["preprocessing"].update(std=[float("inf")] * 3),
        lambda d: d["preprocessing"].update(size=32.5),
        lambda d: d.update(loader="pickle"),
        lambda d: d.update(evidence="certain"),
        lambda d: d.update(weights="../model.safetensors"),
        lambda d: d.update(weights="/etc/passwd"),
        lambda d: d["preprocessing"].update(channels="grb"),
        lambda d: d["preprocessing"].pop("mean"),
        lambda d: d.pop("preprocessing"),
        lambda d: d.update(preprocessing=3),
        lambda d: d["preprocessing"].update(size="32"),
        lambda d: d["preprocessing"].update(size=1),
        lambda d: d["preprocessing"].update(crop_mode="border"),
        lambda d: d.update(format=1),
        lambda d: d.update(format=3),
        lambda d: d.pop("format"),
        lambda d: d.update(color="blue"),
        lambda d: d["preprocessing"].update(color="blue"),
        lambda d: d["preprocessing"].update(size=100_000),
        lambda d: d.update({"x\ny": 1}),
        lambda d: d.update(base=3),
        lambda d: d.update(base="../elsewhere"),
        lambda d: d.update(base="/etc/elsewhere"),
        lambda d: d.update(base="builtin/../../elsewhere"),
        lambda d: d.update(note="x" * 100_000),
        lambda d: d.update(golden=[["a"]]),
    ],
)
def test_a_card_with_wrong_entries_is_refused_in_one_line(card, tmp_path, change):
    card.save(tmp_path)
    document = json.loads((tmp_path / CARD_FILE).read_text(encoding="utf-8"))
    change(document)
    (tmp_path / CARD_FILE).write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(TeacherBroken, match=CARD_FILE) as caught:
        TeacherCard.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[" * 100_000, b"[]", b"3", b"{", b"\xff\xfe{}"]
)
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / CARD_FILE).write_bytes(content)
    with pytest.raises(TeacherBroken, match=r"card\.json is not valid"):
        TeacherCard.load(tmp_path)


def test_a_pipe_or_device_as_card_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / CARD_FILE)
    with pytest.raises(TeacherBroken, match="not a regular file"):
        TeacherCard.load(tmp_path)
    with pytest.raises(TeacherBroken, match="not a regular file"):
        list_cards(str(tmp_path))
    (tmp_path / CARD_FILE).unlink()
    (tmp_path / CARD_FILE).symlink_to("/dev/zero")
    with pytest.raises(TeacherBroken, match="not a regular file"):
        TeacherCard.load(tmp_path)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(TeacherBroken, match=r"card\.json does not exist"):
        TeacherCard.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 7},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"crop_pct": float("nan")},
        {"interpolation": "nearest"},
        {"crop_mode": "border"},
        {"channels": "grb"},
    ],
)
def test_preprocessing_out_of_range_is_a_programmers_mistake(change):
    with pytest.raises(ValueError, match=r"out of range|unknown"):
        replace(LOOK, **change)


def test_geometry_leaves_out_what_does_not_change_the_pixels():
    assert replace(LOOK, mean=(0, 0, 0), std=(1, 1, 1)).geometry == LOOK.geometry
    others = [{"size": 40}, {"interpolation": "bilinear"}, {"crop_pct": 1}, {"crop_mode": "center"}]
    assert len({replace(LOOK, **change).geometry for change in others} | {LOOK.geometry}) == 5


def test_the_summary_counts_classes_and_fits_into_json(card):
    summary = card.summary()
    assert summary["classes"] == 3
    assert summary["local"]
    assert not replace(card, folder=None).summary()["local"]
    json.dumps(summary)


def test_sha256_is_that_of_the_content(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 99999)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 99999).hexdigest()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "x", "old")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
