"""What is published: the network and a model card with a license; nothing of the user's."""

import errno
import json
import shutil
from dataclasses import replace

import pytest
import timm

from tests.support.toys import build_teacher
from zoo.errors import TeacherBroken
from zoo.hub.publish import stage
from zoo.teachers.card import TeacherCard
from zoo.teachers.model_card import FRONT_MATTER

README = """---
license: other
library_name: timm
tags: [a, b]
---

# A student

license: this line is text.
"""


@pytest.fixture
def staging(tmp_path):
    (tmp_path / "staging").mkdir()
    return tmp_path / "staging"


@pytest.fixture
def teacher(tmp_path):
    return build_teacher(tmp_path / "fly", "fly", labels=("[a]", "ü", "c, d"))


@pytest.fixture
def student(teacher):
    """A folder as `zoo distill` leaves it: nobody chose a license."""
    folder = teacher.folder
    (folder / "card.json").unlink()
    set_license(folder, "other")
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "report.json").write_text('{"target": "/home/me/secret"}')
    (folder / "ranking.json").write_text('{"target": "/home/me/secret"}')
    (folder / "notes.txt").write_text("mine")
    return folder


def set_license(folder, license):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["pretrained_cfg"]["license"] = license
    path.write_text(json.dumps(config))


def front_matter(staging):
    text = (staging / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    return head.splitlines(), body


def test_only_the_network_and_its_model_card_are_published(student, staging):
    stage(student, staging, "mit")
    names = {path.name for path in staging.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors"}
    assert not any(b"secret" in path.read_bytes() for path in staging.iterdir())
    weights = (student / "model.safetensors").read_bytes()
    assert (staging / "model.safetensors").read_bytes() == weights


def test_what_is_published_is_what_timm_loads(student, staging):
    stage(student, staging, "cc-by-4.0")
    network = timm.create_model(f"local-dir:{staging}", pretrained=True)
    assert network.pretrained_cfg["license"] == "cc-by-4.0"  # pyright: ignore
    assert list(network.pretrained_cfg["label_names"]) == ["[a]", "ü", "c, d"]  # pyright: ignore


def test_the_license_that_is_named_replaces_the_one_in_the_front_matter(student, staging):
    stage(student, staging, "cc-by-4.0")
    head, body = front_matter(staging)
    assert head == ["license: cc-by-4.0", "library_name: timm", "tags: [a, b]"]
    assert body == README.split("---\n", 2)[2]


def test_the_published_card_loads_the_network_from_the_hub(teacher, staging):
    stage(teacher.folder, staging, "mit", "me/birds")
    text = (staging / "README.md").read_text()
    assert 'timm.create_model("hf-hub:me/birds", pretrained=True)' in text
    assert "local-dir" not in text


@pytest.mark.parametrize("stated", ["other", "unknown", "", None])
def test_without_a_license_nothing_is_published(student, staging, stated):
    set_license(student, stated)
    with pytest.raises(TeacherBroken, match="states no license: name one with --license"):
        stage(student, staging, None)
    assert list(staging.iterdir()) == []


def test_the_license_that_the_folder_states_is_taken(student, staging):
    set_license(student, "cc0-1.0")
    stage(student, staging, None)
    assert front_matter(staging)[0][0] == "license: cc0-1.0"


def test_a_license_named_in_words_may_be_other(student, staging):
    stage(student, staging, "other")
    assert front_matter(staging)[0][0] == "license: other"


def test_the_license_of_the_card_comes_before_that_of_the_config(teacher, staging):
    """timm writes apache-2.0 by itself: cards know better."""
    set_license(teacher.folder, "apache-2.0")
    replace(teacher, license="cc-by-nc-4.0").save(teacher.folder)
    stage(teacher.folder, staging, None)
    assert front_matter(staging)[0][0] == "license: cc-by-nc-4.0"
    config = json.loads((staging / "config.json").read_text())
    assert config["pretrained_cfg"]["license"] == "cc-by-nc-4.0"
    replace(teacher, license="unknown").save(teacher.folder)
    with pytest.raises(TeacherBroken, match="states no license"):
        stage(teacher.folder, staging, None)


@pytest.mark.parametrize(
    ("text", "head", "body"),
    [
        ("no front matter\n", FRONT_MATTER.splitlines(),
         "no front matter\n"),
        ("---\n---\ntext\n---\nmore\n", [], "text\n---\nmore\n"),
        ("---\nlicense: mit\n---", [], ""),
        ("---\r\nlicense: mit\r\ntags: [a]\r\n---\r\ntext\r\n", ["tags: [a]"], "text\n"),
        ("---\nlicense:\n- mit\n- gpl\ntags:\n- a\n---\ntext\n", ["tags:", "- a"], "text\n"),
        ("---\nlicense:\n  - mit\ntags: [a]\n---\ntext\n", ["tags: [a]"], "text\n"),
        ("---\nlicense_name: mine\n---\ntext\n", ["license_name: mine"], "text\n"),
        ("---\nnever closed\n", FRONT_MATTER.splitlines(),
         "---\nnever closed\n"),
    ],
    ids=["none", "empty", "cut", "windows", "list", "indented list", "own name", "not closed"],
)  # fmt: skip
def test_front_matter_of_any_form_keeps_its_other_keys(student, staging, text, head, body):
    (student / "README.md").write_bytes(text.encode())
    stage(student, staging, "mit")
    found, rest = front_matter(staging)
    assert found == ["license: mit", *head]
    assert rest == body


def test_a_teacher_without_a_model_card_gets_one(teacher, staging):
    replace(teacher, accuracy=0.5, accuracy_images=8, recipe="by hand").save(teacher.folder)
    stage(teacher.folder, staging, None)
    head, body = front_matter(staging)
    assert head[0] == "license: mit"
    for words in ("# fly", "flys", "test_resnet", r"\[a\], ü, c, d", "noise (CC0)", "by hand",
                  "50.0% of 8 held-out images"):  # fmt: skip
        assert words in body
    assert "{" not in body


def test_a_folder_without_card_and_model_card_gets_one_too(student, staging):
    (student / "README.md").unlink()
    stage(student, staging, "mit")
    assert r"\[a\], ü, c, d" in front_matter(staging)[1]


def test_a_teacher_of_no_classes_says_what_it_is_for(teacher, staging):
    replace(teacher, classes=0, labels=(), accuracy=None).save(teacher.folder)
    stage(teacher.folder, staging, None)
    body = front_matter(staging)[1]
    assert "used for its features" in body
    assert "accuracy: unknown" in body


def test_a_model_card_of_odd_bytes_is_published_as_far_as_it_can_be_read(student, staging):
    (student / "README.md").write_bytes(b"---\nlicense: mit\n---\n\xff\xfe caf\xe9\n")
    stage(student, staging, "mit")
    assert "caf" in front_matter(staging)[1]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_what_is_not_in_timms_layout_is_not_published(student, staging, lost):
    (student / lost).unlink()
    with pytest.raises(TeacherBroken, match=lost):
        stage(student, staging, "mit")
    assert list(staging.iterdir()) == []


def test_a_broken_card_is_not_published(teacher, staging):
    (teacher.folder / "card.json").write_text("{")
    with pytest.raises(TeacherBroken, match=r"card\.json is not valid"):
        stage(teacher.folder, staging, "mit")


@pytest.mark.parametrize("place", ["snapshots/st", "models--lab--net/snapshots/st"])
def test_no_name_of_a_folder_makes_links_out_of_it_publishable(student, staging, tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    shutil.move(student, tmp_path / place)
    (tmp_path / place).parents[1].joinpath("secret.txt").write_text("SECRET")
    (tmp_path / place / "README.md").unlink()
    (tmp_path / place / "README.md").symlink_to("../../secret.txt")
    with pytest.raises(TeacherBroken, match="is a link out of its folder"):
        stage(tmp_path / place, staging, "mit")


def test_a_full_disk_is_one_line(student, staging, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(TeacherBroken, match="cannot be copied: No space left"):
        stage(student, staging, "mit")


def test_the_folder_itself_stays_as_it_was(teacher, staging):
    before = {path: path.read_bytes() for path in teacher.folder.iterdir()}
    stage(teacher.folder, staging, "cc-by-4.0")
    assert {path: path.read_bytes() for path in teacher.folder.iterdir()} == before
    assert TeacherCard.load(teacher.folder) == teacher
