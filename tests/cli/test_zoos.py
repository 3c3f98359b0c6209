"""A zoo of one's own: `zoo add`, `zoo pack`, and ranking and distilling with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.worlds import snapshot
from zoo.teachers import catalogue
from zoo.teachers.card import TeacherCard


@pytest.fixture
def student(transfer):
    """A student of three colors in ./student."""
    assert transfer().code == 0
    return Path("student")


@pytest.fixture
def add(command, student):
    """`zoo add` of that student."""

    def run(*words, name="paint", source=student):
        named = () if name is None else ("--name", name, "--domain", "colors")
        return command("add", source, *named, *words)

    return run


@pytest.fixture
def quiet(toy_zoo):
    """./quiet holds eel, and mute, which has no classes; returns how to make it."""

    def make(*kept):
        for name, card in zip(("eel", "mute"), toy_zoo, strict=True):
            if name in kept:
                shutil.copytree(card.folder, Path("quiet", name))
                own = {"name": name, "source": f"folder:{name}"}
                if name == "mute":
                    own |= {"classes": 0, "labels": ()}
                replace(card, **own).save(Path("quiet", name))
        return Path("quiet")

    return make


def share(**shares):
    """Write shares into the ranking by hand: toys are close to nothing."""
    document = json.loads(Path("ranking.json").read_text())
    for row in document["teachers"]:
        row["share"] = shares.get(row["name"], 0)
    Path("ranking.json").write_text(json.dumps(document))


def ranked(ran):
    return sorted(row["name"] for row in ran.json["teachers"] if row["status"] != "control")


def test_a_student_becomes_a_teacher_and_ranks(add, command, imgs, student):
    before = snapshot(student)
    ran = add()
    assert (ran.code, ran.err) == (0, "")
    assert "--zoo builtin,my-zoo" in ran.out
    assert snapshot(student) == before
    card = TeacherCard.load(Path("my-zoo/paint"))
    assert (card.name, card.domain) == ("paint", "colors")
    assert card.labels == ("blue", "green", "red")
    assert len(card.golden) == 2
    assert card.params > 1000
    rank = ("rank", "--target", imgs, "--json", "--zoo")
    assert ranked(command(*rank, "my-zoo")) == ["paint"]
    assert ranked(command(*rank, "builtin,my-zoo")) == ["ant", "bee", "paint"]
    assert ranked(command(*rank, "my-zoo/paint")) == ["paint"]
    assert command("verify", "--zoo", "my-zoo").code == 0


def test_zoo_says_where_a_teacher_is_added(add):
    assert add("--zoo", "theirs [2]").code == 0
    assert TeacherCard.load(Path("theirs [2]/paint")).name == "paint"
    assert not Path("my-zoo").exists()


@pytest.mark.parametrize(
    "zoo", ["builtin", "hub", "all", "my,zoo", "license=permissive", "my-zoo/paint"]
)
def test_a_zoo_that_could_not_be_named_later_is_refused(add, zoo):
    add()
    before = snapshot(Path())
    assert "--zoo" in add("--zoo", zoo, name="more").mistake
    assert snapshot(Path()) == before


def test_a_tilde_in_a_zoo_is_the_home_folder_as_where_it_is_read(add, command, monkeypatch):
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    assert add("--zoo=~/z").code == 0
    assert command("info", "paint", "--zoo=~/z", "--json").json["name"] == "paint"
    assert not Path("~").exists()


def test_a_name_that_is_taken_is_one_line(add):
    add()
    before = snapshot(Path("my-zoo"))
    assert "has a teacher 'paint' already" in add().mistake
    assert snapshot(Path("my-zoo")) == before
    assert add(name="paint 2").code == 0


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "/x", "a/b", "a\\b", ".x", "a,b", "a=b", "a\nb", "\udcff"]
)
def test_a_name_never_leads_out_of_the_zoo(add, tmp_path, name):
    before = snapshot(tmp_path)
    add(name=name).mistake.encode()
    assert snapshot(tmp_path) == before


def test_a_name_of_any_language_is_a_teacher(add, command, imgs):
    for name in ("größe", "蟻 [red]"):
        assert add(name=name).code == 0
        assert command("info", name, "--zoo", "my-zoo", "--json").json["name"] == name
    assert "蟻 [red]" in command("list", "--zoo", "my-zoo").out


def test_what_is_no_network_is_one_line(add, student, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no model.safetensors" in add(source=tmp_path / "empty").mistake
    assert "is not a folder" in add(source=student / "model.safetensors").mistake
    assert "There is no zoo" in add(source="./nowhere").mistake
    assert "No teacher is called" in add(source="nowhere").mistake
    assert "No teacher is called" in add(source="a/b,c/d").mistake
    (student / "config.json").unlink()
    assert "config.json does not exist" in add().mistake
    assert not Path("my-zoo").exists()


def test_a_damaged_network_is_not_added(add, student):
    path = student / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert "model.safetensors is damaged" in add().mistake
    assert not Path("my-zoo").exists()


def test_a_file_in_place_of_the_zoo_is_one_line(add):
    Path("file").write_text("mine")
    assert "cannot be written" in add("--zoo", "file").mistake
    assert Path("file").read_text() == "mine"


def test_an_embedded_teacher_can_be_added_under_another_name(add, command):
    assert add(source="ant", name="my-ant").code == 0
    shown = command("info", "my-ant", "--zoo", "my-zoo", "--json").json
    assert (shown["domain"], shown["classes"]) == ("colors", 3)


def test_packed_teachers_rank_where_nothing_else_is(command, imgs, toy_zoo, monkeypatch, tmp_path):
    ran = command("pack", "out", "--teachers", "ant,bee")
    assert (ran.code, ran.err) == (0, "")
    size = sum(card.bytes for card in toy_zoo) / 1e6
    assert ran.out == f"2 teachers, {size:.1f} MB, are in out.\n"
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path / "nothing")
    assert ranked(command("rank", "--target", imgs, "--zoo", "out", "--json")) == ["ant", "bee"]
    assert command("verify", "--zoo", "out").code == 0


def test_teachers_to_pack_are_named_with_commas_or_one_by_one(command, toy_zoo):
    def packed(out, *words):
        assert command("pack", out, *words).code == 0
        return sorted(path.name for path in Path(out).iterdir())

    assert packed("one", "--teachers", "bee") == ["bee"]
    assert packed("two", "--teachers", "ant", "--teachers", "bee") == ["ant", "bee"]
    assert packed("three", "--teachers", " ant , bee,ant") == ["ant", "bee"]


def test_zoo_says_whose_teachers_are_packed(command, quiet):
    quiet("eel")
    assert "No teacher is called 'eel'" in command("pack", "out", "--teachers", "eel").mistake
    assert command("pack", "out", "--teachers", "eel", "--zoo", "quiet").code == 0
    assert [path.name for path in Path("out").iterdir()] == ["eel"]


def test_packing_into_a_folder_in_use_or_of_nobody_is_one_line(command, toy_zoo):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    line = command("pack", "out", "--teachers", "ant").mistake
    assert "out is not an empty folder: choose another" in line
    assert "No teacher is called ''" in command("pack", "new", "--teachers", "ant,").mistake
    assert not Path("new").exists()


def test_a_ranking_remembers_its_zoo_and_distilling_uses_it(command, distil, imgs, quiet):
    folder = quiet("eel")
    shown = command("rank", "--target", imgs, "--zoo", folder, "--json").json
    assert shown["zoo"] == str(folder.absolute())
    share(eel=1)
    ran = distil("--json")
    assert ran.json["teachers"] == {"eel": 1.0}
    assert "ranked first" not in ran.err
    assert "| eel | 100.0% | folder:eel |" in Path("student/README.md").read_text()


def test_the_same_zoo_in_other_words_needs_no_second_ranking(command, distil, imgs, quiet):
    quiet("eel")
    shown = command("rank", "--target", imgs, "--zoo", "builtin, quiet", "--json").json
    assert shown["zoo"] == f"builtin,{Path('quiet').absolute()}"
    share(eel=1)
    for words in ("builtin,./quiet", f"builtin,{Path('quiet').absolute()}"):
        ran = distil("--target", imgs, "--zoo", words, "--overwrite", "--json")
        assert ran.json["teachers"] == {"eel": 1.0}
        assert "ranked first" not in ran.err


def test_zoo_of_a_run_comes_before_that_of_the_ranking(command, distil, imgs, quiet):
    quiet("eel")
    command("rank", "--target", imgs, "--zoo", "quiet")
    ran = distil("--target", imgs, "--zoo", "builtin")
    assert "eel" not in ran.out + ran.err
    assert "No teacher is called 'eel'" in distil("--target", imgs, "--teacher", "eel").mistake
    shown = distil("--target", imgs, "--teacher", "eel", "--zoo", "quiet", "--overwrite", "--json")
    assert shown.json["teachers"] == {"eel": 1.0}


def test_a_teacher_without_classes_ranks_but_has_none_to_be_imitated_and_that_is_said(
    command, distil, imgs, quiet
):
    quiet("eel", "mute")
    shown = command("rank", "--target", imgs, "--zoo", "quiet", "--json")
    assert ranked(shown) == ["eel", "mute"]
    assert {row["reason"] for row in shown.json["teachers"]} == {""}
    share(eel=1, mute=3)
    ran = distil("--objective", "source", "--json")
    assert ran.json["teachers"] == {"eel": 1.0}
    assert "No classifier to imitate, so share 0: mute." in ran.err
    ran = distil("--objective", "target", "--overwrite", "--json")
    assert ran.json["teachers"] == {"eel": 0.25, "mute": 0.75}


def test_a_teacher_without_classes_alone_is_one_clear_line(command, distil, imgs, quiet):
    quiet("mute")
    command("rank", "--target", imgs, "--zoo", "quiet")
    share(mute=1)
    for words in (("--nearest",), ("--weighted",), ("--teacher", "mute", "--zoo", "quiet")):
        line = distil(*words, "--objective", "source").mistake
        assert "mute has no classifier to imitate" in line
        assert "--teacher" in line
    assert not Path("student").exists()


def test_a_folder_of_teachers_that_is_gone_is_one_line(command, distil, imgs, quiet):
    quiet("eel")
    command("rank", "--target", imgs, "--zoo", "quiet")
    share(eel=1)
    shutil.rmtree("quiet")
    assert "There is no zoo" in distil().mistake
    assert not Path("student").exists()
