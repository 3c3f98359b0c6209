"""A user's own zoo: described, copied, packed; whole or not at all."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.toys import build_teacher
from tests.support.worlds import snapshot
from zoo.errors import TeacherBroken
from zoo.features.extraction import extract_features
from zoo.images.folder import read_images
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.catalogue import list_cards
from zoo.teachers.collection import check_words, copy_teacher, describe_folder, pack


@pytest.fixture
def student(tmp_path):
    """A folder as `zoo distill` leaves it."""
    folder = tmp_path / "student"
    build_teacher(folder, "fly")
    (folder / "card.json").unlink()
    report = {"evaluation": {"accuracy": 0.75, "images": 12}}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "ranking.json").write_text("{}")
    return folder


@pytest.fixture
def full_disk(monkeypatch):
    """The disk is full when so many files are copied."""

    def after(count):
        whole, left = shutil.copyfile, iter(range(count))

        def copy(source, target):
            if next(left, None) is None:
                Path(target).write_bytes(b"half of it")
                raise OSError(errno.ENOSPC, "No space left on device")
            return whole(source, target)

        monkeypatch.setattr("shutil.copyfile", copy)

    return after


def names_in(card):
    return {path.name for path in card.folder.iterdir()}


def test_a_student_is_described_by_its_files(student):
    card = describe_folder(student, "fly", "flies [2]")
    config = json.loads((student / "config.json").read_text())
    assert (card.name, card.domain, card.source) == ("fly", "flies [2]", "folder:fly")
    assert (card.network, card.classes) == (config["architecture"], len(config["label_names"]))
    assert card.labels == tuple(config["label_names"])
    assert card.license == config["pretrained_cfg"]["license"] == "mit"
    assert card.input.size == config["pretrained_cfg"]["input_size"][1]
    assert card.sha256 == sha256_of(student / "model.safetensors")
    assert card.bytes == (student / "model.safetensors").stat().st_size
    assert (card.accuracy, card.accuracy_images) == (0.75, 12)
    assert (card.folder, card.loader, card.repo) == (student, "hf-hub", "")


@pytest.mark.parametrize(
    "report",
    ["", "[]", "{}", '{"evaluation": null}', '{"evaluation": {"accuracy": 0.5}}',
     '{"evaluation": {"accuracy": NaN, "images": 3}}',
     '{"evaluation": {"accuracy": 7, "images": 3}}', None],
)  # fmt: skip
def test_a_student_that_was_not_tested_has_no_accuracy(student, report):
    (student / "report.json").unlink()
    if report is not None:
        (student / "report.json").write_text(report)
    card = describe_folder(student, "fly", "flies")
    assert (card.accuracy, card.accuracy_images) == (None, 0)


def test_the_weights_are_those_that_timm_would_take(student):
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | {"sha256": ""}))
    (student / "pytorch_model.bin").write_bytes(b"not these")
    assert describe_folder(student, "fly", "flies").weights == "model.safetensors"
    (student / "model.safetensors").unlink()
    assert describe_folder(student, "fly", "flies").weights == "pytorch_model.bin"
    (student / "pytorch_model.bin").unlink()
    with pytest.raises(TeacherBroken, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        describe_folder(student, "fly", "flies")


def test_a_copy_holds_the_files_and_the_card_and_nothing_else(student, tmp_path):
    card = describe_folder(student, "fly", "flies")
    copied = copy_teacher(card, tmp_path / "zoo")
    assert copied.folder == tmp_path / "zoo" / "fly"
    assert TeacherCard.load(tmp_path / "zoo/fly") == copied == replace(card, folder=copied.folder)
    assert names_in(copied) == {"card.json", "config.json", "model.safetensors"}
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["fly"]
    assert list_cards(str(tmp_path / "zoo")) == [copied]


def test_links_are_copied_as_the_files_that_they_lead_to(student, tmp_path):
    snapshot_folder = tmp_path / "models--lab--net" / "snapshots" / "abc"
    snapshot_folder.mkdir(parents=True)
    (tmp_path / "models--lab--net" / "blobs").mkdir()
    for name in ("model.safetensors", "config.json"):
        blob = tmp_path / "models--lab--net" / "blobs" / f"blob of {name}"
        blob.write_bytes((student / name).read_bytes())
        (snapshot_folder / name).symlink_to(blob)
    copied = copy_teacher(describe_folder(snapshot_folder, "fly", "flies"), tmp_path / "zoo")
    assert names_in(copied) == {"card.json", "config.json", "model.safetensors"}
    assert not any(path.is_symlink() for path in (tmp_path / "zoo/fly").iterdir())


@pytest.mark.parametrize("file", ["config.json", "fingerprint.safetensors"])
def test_no_card_makes_a_copy_of_what_lies_outside_its_folder(student, tmp_path, file):
    card = replace(describe_folder(student, "fly", "flies"), source="package:torch")
    (tmp_path / "secret").write_bytes((student / "config.json").read_bytes())
    (student / file).unlink(missing_ok=True)
    (student / file).symlink_to(tmp_path / "secret")
    with pytest.raises(TeacherBroken, match="is a link out of its folder"):
        copy_teacher(card, tmp_path / "zoo")
    assert list((tmp_path / "zoo").iterdir()) == []


def test_weights_that_changed_after_training_are_no_teacher(student):
    path = student / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TeacherBroken, match=r"model\.safetensors is damaged"):
        describe_folder(student, "fly", "flies")


def test_a_teacher_that_no_config_describes_is_copied_without_one(student, tmp_path):
    card = replace(describe_folder(student, "fly", "flies"), loader="overlay")
    copied = copy_teacher(card, tmp_path / "zoo")
    assert names_in(copied) == {"card.json", "model.safetensors"}


def test_a_name_that_is_taken_is_refused_and_its_owner_untouched(student, tmp_path):
    card = describe_folder(student, "fly", "flies")
    copy_teacher(card, tmp_path / "zoo")
    before = snapshot(tmp_path / "zoo" / "fly")
    with pytest.raises(TeacherBroken, match="has a teacher 'fly' already: choose another name"):
        copy_teacher(replace(card, domain="other"), tmp_path / "zoo")
    assert snapshot(tmp_path / "zoo" / "fly") == before
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["fly"]


def test_a_teacher_that_is_elsewhere_cannot_be_copied(student, tmp_path):
    card = replace(describe_folder(student, "fly", "flies"), folder=None)
    with pytest.raises(TeacherBroken, match="not on this machine: `zoo pull fly`"):
        copy_teacher(card, tmp_path / "zoo")


@pytest.mark.parametrize("files", [0, 1])
def test_a_full_disk_leaves_nothing_half_written(student, tmp_path, full_disk, files):
    card = describe_folder(student, "fly", "flies")
    full_disk(files)
    with pytest.raises(TeacherBroken, match=r"zoo.fly cannot be written: No space left") as caught:
        copy_teacher(card, tmp_path / "zoo")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "zoo").iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_in_one_line(student, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TeacherBroken, match="cannot be written"):
        copy_teacher(describe_folder(student, "fly", "flies"), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["fly", "größe 2", "ant_v2.1-b", "fly [red]", "蟻", "7"])
def test_names_that_make_a_folder_and_a_word_are_allowed(name):
    check_words(name, "any domain, with [commas]")


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../x", "a/b", "/etc", "a\\b", ".hidden", "-option", "--zoo", "_x",
     "a,b", "a=1", "a:b", "a\nb", "a\0b", "a\x1b[31m", "\udcff", " fly", "fly ", 300 * "x"],
    ids=repr,
)  # fmt: skip
def test_names_that_would_escape_or_could_not_be_typed_are_refused(name):
    with pytest.raises(TeacherBroken) as caught:
        check_words(name, "flies")
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("domain", ["", " ", "a\nb", "\x1b[31m", "\udcff"], ids=repr)
def test_domains_that_cannot_be_printed_are_refused(domain):
    with pytest.raises(TeacherBroken, match="Names and domains"):
        check_words("fly", domain)


def test_a_packed_zoo_is_a_zoo_elsewhere(toy_zoo, tmp_path, imgs):
    packed = pack(toy_zoo, tmp_path / "a" / "b")
    shutil.move(tmp_path / "a" / "b", tmp_path / "moved")
    cards = list_cards(str(tmp_path / "moved"))
    assert [replace(card, folder=None) for card in cards] == [
        replace(card, folder=None) for card in packed
    ]
    images = read_images(imgs)
    there, here = extract_features(cards, images), extract_features(toy_zoo, images)
    assert not there.failures
    for name in ("ant", "bee"):
        assert np.array_equal(there.features[name].logits, here.features[name].logits)


def test_packing_refuses_a_folder_that_holds_something(toy_zoo, tmp_path):
    (tmp_path / "zoo").mkdir()
    assert len(pack(toy_zoo, tmp_path / "zoo")) == 2
    before = snapshot(tmp_path / "zoo")
    for place in (tmp_path / "zoo", tmp_path / "zoo/ant/card.json"):
        with pytest.raises(TeacherBroken, match="is not an empty folder: choose another"):
            pack(toy_zoo, place)
    assert snapshot(tmp_path / "zoo") == before


def test_packing_onto_a_full_disk_leaves_nothing_so_that_it_can_be_run_again(
    toy_zoo, tmp_path, full_disk
):
    full_disk(3)
    with pytest.raises(TeacherBroken, match="No space left"):
        pack(toy_zoo, tmp_path / "zoo")
    assert list((tmp_path / "zoo").iterdir()) == []
