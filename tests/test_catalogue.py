"""The catalogue: teachers by name."""

import pytest
from conftest import build_teacher

from zoo import catalogue
from zoo.catalogue import find_card, list_cards, student_start
from zoo.errors import TeacherBroken, TeacherNotFound


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


def test_an_initial_student_is_a_folder_with_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "STUDENTS", tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "model.safetensors").write_bytes(b"")
    assert student_start("whole") == tmp_path / "whole"
    assert student_start("half") is None
    assert student_start("absent") is None
