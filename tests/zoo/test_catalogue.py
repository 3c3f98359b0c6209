"""The catalogue: teachers by name, in every kind of zoo."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.toys import build_teacher, hub_card
from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.teachers import catalogue
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import (
    absolute_zoo,
    find_card,
    list_cards,
    pulled_folder,
    repository_card,
)
from zoo.teachers.collection import copy_teacher


def test_cards_are_listed_by_name(toy_zoo):
    assert [card.name for card in list_cards()] == ["ant", "bee"]
    assert list_cards() == toy_zoo


def test_a_card_is_found_by_its_name(toy_zoo):
    assert find_card("bee") == toy_zoo[1]


def test_a_misspelt_name_is_answered_with_a_close_one(toy_zoo):
    with pytest.raises(TeacherNotFound, match=r"No teacher is called 'bees'. Did you mean 'bee'"):
        find_card("bees")


@pytest.mark.parametrize("name", ["zzzz", "", "../ant"])
def test_an_unknown_name_is_answered_with_the_command_that_lists_them(toy_zoo, name):
    with pytest.raises(TeacherNotFound, match=r"No teacher is called .*(zoo list|Did you mean)"):
        find_card(name)


def test_folders_without_a_card_are_no_teachers(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray.txt").write_text("x")
    assert list_cards() == []
    build_teacher(tmp_path / "fly", "fly")
    assert [card.name for card in list_cards()] == ["fly"]


def test_a_broken_card_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "BUILTIN", tmp_path)
    (tmp_path / "fly").mkdir()
    (tmp_path / "fly" / "card.json").write_text("{")
    with pytest.raises(TeacherBroken, match=r"fly.card\.json"):
        list_cards()


def names(zoo):
    return [card.name for card in list_cards(zoo)]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's own zoo, ./mine with the teacher eel; the working folder is its parent."""
    monkeypatch.chdir(tmp_path)
    return replace(build_teacher(tmp_path / "mine" / "eel", "eel"), source="folder:eel")


@pytest.fixture
def pulled(toy_zoo, toy_catalogue):
    """The card of cat as `zoo pull` leaves it."""
    cat = replace(
        toy_catalogue[0],
        revision="1f" * 20,
        sha256=toy_zoo[1].sha256,
        labels=toy_zoo[1].labels,
        preprocessing=toy_zoo[1].preprocessing,
        note="pulled",
    )
    folder = pulled_folder(cat)
    folder.mkdir(parents=True)
    for file in ("model.safetensors", "config.json"):
        (folder / file).symlink_to(toy_zoo[1].folder / file)
    cat.save(folder)
    return replace(cat, folder=folder)


@pytest.mark.parametrize(
    ("zoo", "expected"),
    [
        ("builtin", ["ant", "bee"]),
        ("hub", ["cat", "dog"]),
        ("all", ["ant", "bee", "cat", "dog"]),
        ("mine", ["eel"]),
        ("./mine/", ["eel"]),
        ("mine/eel", ["eel"]),
        ("builtin,mine", ["ant", "bee", "eel"]),
        (" builtin , mine/eel ", ["ant", "bee", "eel"]),
        ("all,mine,builtin", ["ant", "bee", "cat", "dog", "eel"]),
        ("mine,mine/eel,./mine", ["eel"]),
        ("owner/cat-net", ["cat"]),
        ("other/net", ["other/net"]),
        ("other/net,mine,owner/dog-net", ["dog", "eel", "other/net"]),
    ],
)
def test_a_zoo_is_named_by_words_folders_and_repositories(toy_zoo, own, zoo, expected):
    assert names(zoo) == expected


def test_a_folder_with_a_comma_in_its_name_is_one_zoo(toy_zoo, own, tmp_path):
    (tmp_path / "mine").rename(tmp_path / "mine, builtin")
    assert names("mine, builtin") == ["eel"]
    assert names(str(tmp_path / "mine, builtin")) == ["eel"]


def test_a_folder_with_a_comma_in_its_name_may_have_a_license(toy_zoo, own, tmp_path):
    (tmp_path / "mine").rename(tmp_path / "mine, builtin")
    assert names("mine, builtin,license=permissive") == ["eel"]


@pytest.mark.parametrize("letters", [94, 95, 240])
def test_a_name_that_is_too_long_for_the_hub_is_no_repository(toy_zoo, letters):
    name = f"a/{'b' * letters}"
    if len(name) <= 96:
        assert names(name) == [name]
    else:
        with pytest.raises(TeacherNotFound, match="There is no zoo"):
            names(name)


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_pulled_teacher_that_lacks_a_file_is_not_here(pulled, lost):
    assert find_card("cat", list_cards("hub")).folder == pulled.folder
    (pulled.folder / lost).unlink()
    assert find_card("cat", list_cards("hub")).folder is None


def test_a_tilde_after_a_comma_is_the_home_that_no_shell_puts_there(toy_zoo, own, monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert names("builtin,~/mine") == ["ant", "bee", "eel"]


@pytest.mark.parametrize(
    "zoo",
    ["", " ", ",", "builtin,", ",mine", "nonsense", "nowhere/", "./nowhere", "a/b/c", "../x", "~no",
     "builtin;hub", "Hub", "a b/c", "-x/y", "\0", "x" * 5000, "[red]", "http://a/b"],
    ids=lambda zoo: zoo[:20],
)  # fmt: skip
def test_what_is_no_zoo_is_refused_with_what_would_be(toy_zoo, own, zoo):
    with pytest.raises(
        TeacherNotFound, match=r"There is no zoo .*expected builtin, hub, all, a folder"
    ):
        list_cards(zoo)


def test_a_folder_without_teachers_says_how_they_come_there(toy_zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(TeacherNotFound, match=r"The folder empty holds no teacher.*`zoo add`"):
        list_cards("builtin,empty")


def test_a_folder_called_like_a_word_does_not_hide_the_word(toy_zoo, own, tmp_path):
    for word in ("hub", "builtin", "all"):
        shutil.copytree(tmp_path / "mine", tmp_path / word)
    assert (names("builtin"), names("hub")) == (["ant", "bee"], ["cat", "dog"])
    assert names("./hub") == ["eel"]
    assert absolute_zoo("hub") == "hub"


def test_what_a_killed_copy_left_behind_is_no_teacher(toy_zoo, own, tmp_path):
    shutil.copytree(tmp_path / "mine/eel", tmp_path / "mine/.eel.123.part")
    assert [card.folder for card in list_cards("mine")] == [Path("mine/eel")]


def test_a_zoo_is_found_again_from_another_folder(toy_zoo, own, tmp_path, monkeypatch):
    zoo = absolute_zoo("builtin, mine,owner/cat-net")
    assert zoo == f"builtin,{tmp_path / 'mine'},owner/cat-net"
    assert absolute_zoo(zoo) == zoo
    monkeypatch.chdir("/")
    assert names(zoo) == ["ant", "bee", "cat", "eel"]
    assert absolute_zoo("nonsense") == "nonsense"


def test_two_teachers_of_one_name_are_refused_and_both_named(toy_zoo, own, tmp_path):
    build_teacher(tmp_path / "theirs/other", "eel", seed=5)
    build_teacher(tmp_path / "theirs/cat", "cat", seed=6)
    with pytest.raises(TeacherNotFound, match=r"called 'eel' \(.*mine.eel and .*theirs.other\)"):
        list_cards("mine,theirs")
    with pytest.raises(TeacherNotFound, match=r"called 'cat' \(.*theirs.cat.*hf-hub:owner/cat-net"):
        list_cards("theirs,hub")


def test_two_own_teachers_of_one_name_and_different_weights_are_two(toy_zoo, own, tmp_path):
    own.save(tmp_path / "mine/eel")
    other = build_teacher(tmp_path / "theirs/eel", "eel", seed=5)
    replace(other, source="folder:eel").save(tmp_path / "theirs/eel")
    with pytest.raises(TeacherNotFound, match="Two teachers of --zoo mine,theirs"):
        list_cards("mine,theirs")


def test_a_packed_copy_is_the_same_teacher(toy_zoo, pulled, tmp_path):
    for card in (toy_zoo[0], pulled):
        copy_teacher(card, tmp_path / "packed")
    assert names(f"all,{tmp_path / 'packed'}") == ["ant", "bee", "cat", "dog"]


def test_of_a_copy_that_is_here_and_a_mere_entry_the_copy_is_taken(toy_zoo, pulled, tmp_path):
    copied = copy_teacher(pulled, tmp_path / "packed")
    shutil.rmtree(pulled.folder)
    for zoo in (f"{tmp_path / 'packed'},hub", f"hub,{tmp_path / 'packed'}"):
        assert list_cards(zoo)[0].folder == copied.folder


def test_a_pulled_card_replaces_that_of_the_catalogue(toy_zoo, pulled, toy_catalogue):
    cat, dog = list_cards("hub")
    assert (cat, dog) == (pulled, toy_catalogue[1])
    assert find_card("owner/cat-net") == repository_card("owner/cat-net") == pulled


def test_a_pulled_teacher_whose_weights_vanished_is_not_here_but_keeps_its_pin(pulled):
    (pulled.folder / "model.safetensors").unlink()
    assert list_cards("hub")[0] == replace(pulled, folder=None)
    (pulled.folder / "model.safetensors").symlink_to("nowhere")
    assert list_cards("hub")[0] == replace(pulled, folder=None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1, "name": "cat"}'])
def test_a_broken_pulled_card_is_as_if_it_had_not_been_pulled(pulled, toy_catalogue, content):
    (pulled.folder / "card.json").write_text(content)
    assert list_cards("hub") == toy_catalogue


def test_a_repository_that_no_catalogue_knows_is_listed_once_it_was_pulled(toy_zoo, tmp_path):
    bare = repository_card("other/net")
    assert (bare.name, bare.repo, bare.folder) == ("other/net", "other/net", None)
    assert "other/net" not in names("hub")
    folder = pulled_folder(bare)
    shutil.copytree(toy_zoo[0].folder, folder)
    replace(toy_zoo[0], name=bare.name, source=bare.source).save(folder)
    assert names("hub") == ["cat", "dog", "other/net"]
    assert find_card("other/net").folder == folder
    assert TeacherCard.load(folder).network == "test_resnet"


def test_a_teacher_is_found_by_its_repository_too(toy_zoo):
    assert find_card("owner/dog-net") == find_card("dog")
    with pytest.raises(TeacherNotFound, match="Did you mean 'owner/dog-net'"):
        find_card("owner/dognet")


def test_a_name_comes_before_a_repository(toy_zoo):
    cards = [hub_card("cat"), hub_card("owner/cat-net", source="hf-hub:else/where")]
    assert find_card("owner/cat-net", cards) == cards[1]


def test_an_own_folder_with_a_broken_card_is_named(toy_zoo, own, tmp_path):
    (tmp_path / "mine/bad").mkdir()
    (tmp_path / "mine/bad/card.json").write_text("{")
    with pytest.raises(TeacherBroken, match=r"mine.bad.card\.json is not valid") as caught:
        list_cards("builtin,mine")
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_read_is_named(toy_zoo, own, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.exists", fail)
    with pytest.raises(TeacherBroken, match="The folder mine cannot be read: Permission denied"):
        list_cards("mine")
