"""`zoo list`, `info`, `pull` and `verify`: options, tables, exit codes. No network."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cli import terminal
from tests.support.toys import hub_card
from tests.support.worlds import snapshot
from zoo.teachers import card as card_module
from zoo.teachers import catalogue as catalogue_module
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import pulled_folder
from zoo.teachers.verify import measure


@pytest.fixture
def own(toy_zoo):
    """A zoo of the user's, ./mine with the teachers ant and eel."""

    def make():
        for name, card in zip(("ant", "eel"), toy_zoo, strict=True):
            shutil.copytree(card.folder, Path("mine", name))
            replace(card, name=name, domain=f"my {name}s").save(Path("mine", name))
        return Path("mine")

    return make


@pytest.fixture
def pulled(toy_zoo, toy_catalogue):
    """The teacher cat as `zoo pull` leaves it, not verified yet."""
    known = {"sha256": toy_zoo[1].sha256, "labels": toy_zoo[1].labels, "revision": "1f" * 20}
    cat = replace(toy_catalogue[0], preprocessing=toy_zoo[1].preprocessing, **known)
    folder = pulled_folder(cat)
    shutil.copytree(toy_zoo[1].folder, folder)
    cat.save(folder)
    return replace(cat, folder=folder)


def names(ran):
    return [row["name"] for row in ran.json]


def test_zoo_says_which_teachers_are_listed(command, own):
    own()
    assert names(command("list", "--json")) == ["ant", "bee", "cat", "dog"]
    assert names(command("list", "--zoo", "builtin", "--json")) == ["ant", "bee"]
    assert names(command("list", "--zoo", "hub", "--json")) == ["cat", "dog"]
    assert names(command("list", "--zoo", "mine", "--json")) == ["ant", "eel"]
    assert names(command("list", "--zoo", "hub,mine", "--json")) == ["ant", "cat", "dog", "eel"]


def test_domain_keeps_teachers_whose_domain_has_it_in_it(command, toy_zoo):
    assert names(command("list", "--domain", "EE", "--json")) == ["bee"]
    assert names(command("list", "--domain", "s", "--json")) == ["ant", "bee", "cat", "dog"]
    line = command("list", "--domain", "[birds]").mistake
    assert line.endswith("Its domains: ants, bees, cats, dogs.")


def test_local_keeps_teachers_that_are_here(command, toy_zoo, pulled):
    assert names(command("list", "--local", "--json")) == ["ant", "bee", "cat"]
    (pulled.folder / pulled.weights).unlink()
    assert names(command("list", "--local", "--json")) == ["ant", "bee"]
    assert "No teacher of --zoo hub fits" in command("list", "--zoo", "hub", "--local").mistake


@pytest.mark.parametrize("zoo", ["", "nonsense", "builtin,", "../nowhere", "a/b/c", "[red]x", "\0"])
def test_a_zoo_that_is_none_is_one_line_for_every_command(command, imgs, toy_zoo, zoo):
    for words in (("list",), ("info", "ant"), ("verify",), ("rank", "--target", imgs),
                  ("pack", "out", "--teachers", "ant"), ("pull", "--default")):  # fmt: skip
        assert "There is no zoo" in command(*words, "--zoo", zoo).mistake


def test_a_broken_card_in_a_users_folder_is_one_line_that_names_it(command, own):
    (own() / "eel/card.json").write_text('{"format": 2, "name": "[eel]"}')
    for words in (("list",), ("info", "ant"), ("verify",)):
        line = command(*words, "--zoo", "mine").mistake
        assert "mine/eel/card.json" in line


def test_two_teachers_of_one_name_are_one_line(command, own):
    own()
    replace(TeacherCard.load(Path("mine/ant")), sha256="0" * 64).save(Path("mine/ant"))
    assert "called 'ant'" in command("list", "--zoo", "builtin,mine").mistake


WIDE = {
    "name": "a-teacher-of-many-words-in1k-vit-b16",
    "domain": "something rather hard to say in a word",
    "license": "custom-non-commercial",
    "classes": 115217,
    "bytes": 4_500_000_000,
    "data": "an unpublished data set of many images from many places",
    "network": "vit_base_patch32_clip_quickgelu_224.openai",
}


@pytest.mark.parametrize("width", [80, 100, 120, 140, 200])
def test_the_table_fits_the_terminal(command, toy_zoo, toy_catalogue, monkeypatch, width):
    cards = [hub_card(f"owner{n}/net-{n}", domain="things") for n in range(30)]
    cards.append(replace(hub_card("wide"), **WIDE))
    path = Path("catalogue.json")
    path.write_text(json.dumps({"format": 2, "teachers": [card.to_json() for card in cards]}))
    monkeypatch.setattr(catalogue_module, "CATALOGUE", path)
    monkeypatch.setattr(terminal.out, "width", width)
    lines = command("list").out.splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert WIDE["name"] in text
    assert "115217" in text
    assert "4500 MB" in text
    assert ("50.0%" in text) == (width >= 120)
    assert ("test_resnet" in text) == (width >= 120)
    assert "33 teachers of 4 domains, 2 on this machine" in text


def test_the_table_says_where_a_teacher_is(command, toy_zoo, own, pulled):
    own()

    def place(name, zoo="all"):
        out = command("list", "--zoo", zoo).out
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
        return line.split()[-1]

    assert (place("ant"), place("cat"), place("dog")) == ("embedded", "pulled", "gated")
    shutil.rmtree(pulled.folder)
    assert place("cat") == "*"
    replace(TeacherCard.load(Path("mine/eel")), source="folder:eel").save(Path("mine/eel"))
    assert place("eel", "mine") == "yours"


def test_info_shows_all_of_a_card(command, toy_zoo, toy_catalogue):
    ran = command("info", "ant")
    assert (ran.code, ran.err) == (0, "")
    for words in ("ants", "builtin:ant", "test_resnet", "a, b, c", toy_zoo[0].sha256[:40],
                  "50.0% on 8 held-out images", "CC0", str(toy_zoo[0].folder)[:20]):  # fmt: skip
        assert words in ran.out
    shown = command("info", "ant", "--json").json
    assert shown.items() >= json.loads(json.dumps(toy_zoo[0].to_json())).items()
    assert shown["local"]
    assert "not on this machine" in command("info", "owner/dog-net").out
    assert command("info", "owner/dog-net", "--json").json["gated"]


def test_info_cuts_long_lists_of_classes(command, toy_zoo, tmp_path, monkeypatch):
    labels = tuple(f"[class {n}]" for n in range(300))
    folder = tmp_path / "zoo" / "many"
    folder.mkdir(parents=True)
    golden = ((0.5,) * 512,) * 2
    replace(toy_zoo[0], name="many", labels=labels, classes=300, golden=golden).save(folder)
    ran = command("info", "many", "--zoo", tmp_path / "zoo")
    assert "[class 11], ... (300)" in " ".join(ran.out.split())
    assert "[class 12]" not in ran.out
    assert "512 numbers each" in ran.out
    assert len(ran.out) < 6000


def test_info_looks_in_the_zoo_that_is_named(command, own):
    own()
    assert command("info", "eel", "--zoo", "mine", "--json").json["domain"] == "my eels"
    assert "No teacher is called 'eel'" in command("info", "eel").mistake
    assert "Did you mean 'bee'" in command("info", "beee").mistake


@pytest.mark.parametrize("name", ["", "../ant", "a/b", "[red]", "蟻", "ant\nbee"])
def test_info_of_a_name_that_nobody_has_is_one_line(command, toy_zoo, name):
    assert "No teacher is called" in command("info", name).mistake


def test_verify_passes_what_is_here_and_exits_with_zero(command, toy_zoo):
    ran = command("verify")
    assert (ran.code, ran.err) == (0, "")
    assert "2 of 2 teachers verified." in ran.out
    assert [row["problem"] for row in command("verify", "--json").json] == ["", ""]
    assert names(command("verify", "bee", "--json")) == ["bee"]
    assert names(command("verify", "bee", "bee", "--json")) == ["bee"]


def test_verify_names_what_is_wrong_and_exits_with_one(command, own):
    own()
    path = Path("mine/ant/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    ran = command("verify", "--zoo", "mine")
    assert ran.code == 1
    assert "BROKEN" in ran.out
    assert "1 of 2 teachers verified." in ran.out
    ran = command("verify", "--zoo", "mine", "--json")
    assert ran.code == 1
    ant, eel = json.loads(ran.out)
    assert "is not the file of its card" in ant["problem"]
    assert eel["problem"] == ""
    assert command("verify", "eel", "--zoo", "mine").code == 0


def test_verify_of_a_teacher_that_is_elsewhere_says_how_it_comes(command, toy_zoo):
    ran = command("verify", "dog", "--json")
    assert ran.code == 1
    assert "`zoo pull dog`" in json.loads(ran.out)[0]["problem"]
    assert "No teacher of --zoo hub fits" in command("verify", "--zoo", "hub").mistake


def test_verify_notes_what_a_pulled_teacher_answers_and_holds_it_to_that(command, pulled, toy_zoo):
    (row,) = command("verify", "cat", "--json").json
    assert row["checks"][-1] == "golden outputs saved"
    assert TeacherCard.load(pulled.folder).golden == measure(pulled).golden != ()
    assert command("verify", "cat", "--json").json[0]["checks"][-1] == "golden logits"
    # other weights and a hash that is true of them
    shutil.copy(toy_zoo[0].folder / "model.safetensors", pulled.folder)
    card = TeacherCard.load(pulled.folder)
    replace(card, golden=((1.0, 2.0), (3.0, 4.0)), sha256=toy_zoo[0].sha256).save(pulled.folder)
    assert command("verify", "cat").code == 1


def test_verify_leaves_embedded_and_own_teachers_as_they_are(command, own):
    folder = own()
    before = snapshot(folder)
    assert command("verify", "--zoo", "mine").code == 0
    assert snapshot(folder) == before


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_teacher(command, pulled, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(card_module, "write_atomic", fail)
    (row,) = command("verify", "cat", "--json").json
    assert row["problem"] == ""
    assert "not saved" in row["checks"][-1]


def test_pull_without_a_choice_is_a_usage_error(command, toy_zoo):
    for words in ((), ("--dry-run",), ("--zoo", "hub"), ("--json",)):
        ran = command("pull", *words)
        assert (ran.code, ran.out) == (2, "")
        assert "name teachers, or choose them with --domain or --default" in ran.err


def test_pull_of_what_is_here_fetches_nothing(command, pulled):
    (row,) = command("pull", "cat", "--json").json
    assert (row["name"], row["status"], row["revision"]) == ("cat", "here", "1f" * 20)
    (row,) = command("pull", "--default", "--dry-run", "--json").json
    assert (row["name"], row["status"], row["bytes"]) == ("cat", "here", 0)


def test_pull_of_a_name_that_nobody_has_is_one_line(command, toy_zoo):
    assert "Did you mean 'cat'" in command("pull", "catt").mistake
    assert "No teacher of --zoo hub fits" in command("pull", "--domain", "birds").mistake


def test_a_teacher_of_another_zoo_is_named_as_that(command, toy_zoo):
    ran = command("pull", "ant")
    assert ran.code == 1
    assert ran.mistake == "Error: 'ant' is no teacher of --zoo hub: add --zoo all."
    assert command("pull", "ant", "--zoo", "all").code == 0
