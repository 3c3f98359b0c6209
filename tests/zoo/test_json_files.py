"""JSON files: what is written is read, and what is wrong is one line that names file and key."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from zoo.errors import RankingError, ZooError
from zoo.system.json_files import (
    OMIT,
    any_json,
    choice,
    flag,
    instance,
    integer,
    listing,
    mapping,
    nullable,
    number,
    optional,
    read_json,
    record,
    text,
    write_json,
)

SCHEMA = {
    "format": choice(1),
    "name": text(most=20),
    "share": number(0, 1),
    "images": integer(1),
    "status": choice("ranked", "failed"),
    "gated": flag,
    "labels": listing(text(), most=3),
    "scores": mapping(number(), most=3),
    "note": optional(text(), ""),
    "extra": optional(any_json, OMIT),
}
GOOD = {
    "format": 1,
    "name": "ant 🐜",
    "share": 0.5,
    "images": 7,
    "status": "ranked",
    "gated": False,
    "labels": ["größe", "[b]"],
    "scores": {"parc": -1e-3, "leep": 2},
}


@pytest.fixture
def read(tmp_path):
    """The checked content of a file of these bytes, this text or this document."""
    path = tmp_path / "card.json"

    def of(content, check=None, **options):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        check = check or record(SCHEMA, strict=True)
        return read_json(path, check, error=RankingError, advice="Make it again.", **options)

    return of


def mistake(read, content, *check, **options):
    """The one line that refuses it, which names the file and what to do."""
    with pytest.raises(RankingError) as caught:
        read(content, *check, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert "card.json" in line
    assert line.endswith(". Make it again.")
    return line


def test_a_document_that_fits_is_read_with_tuples_floats_and_defaults(read):
    found = read(GOOD)
    assert found == GOOD | {"labels": ("größe", "[b]"), "note": ""}
    assert type(found["scores"]["leep"]) is float
    assert read(GOOD | {"note": None, "extra": [1, None]})["extra"] == [1, None]


def test_a_path_may_hold_bytes_that_are_no_text_but_no_half_characters(read):
    check = record({"target": text(path=True)})
    assert read({"target": "im\udcffgs"}, check) == {"target": "im\udcffgs"}
    assert "text of whole characters" in mistake(read, {"target": "\ud800"}, check)


def test_what_is_written_is_read_back(tmp_path):
    write_json(tmp_path / "a.json", GOOD)
    text_of = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text_of.endswith("}\n")
    assert "größe" in text_of
    assert read_json(tmp_path / "a.json", any_json, error=ZooError, advice="") == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path, read, value):
    write_json(tmp_path / "old.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "old.json", {"share": value})
    assert (tmp_path / "old.json").read_text() == "1\n"
    assert "is not a number in JSON" in mistake(read, GOOD | {"share": value})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "format: expected 1, found 2"),
        ({"format": True}, "format: expected 1, found True"),
        ({"format": "1"}, "format: expected 1, found '1'"),
        ({"name": 3}, "name: expected text, found 3"),
        ({"name": None}, "name: expected text, found None"),
        ({"name": "a\ud800"}, r"name: expected text of whole characters, found 'a\ud800'"),
        ({"name": "a\udcff"}, r"name: expected text of whole characters, found 'a\udcff'"),
        ({"name": "x" * 21}, "name: expected at most 20 characters, found 21"),
        ({"share": "0.5"}, "share: expected a number between 0 and 1, found '0.5'"),
        ({"share": True}, "share: expected a number between 0 and 1, found True"),
        ({"share": 1.5}, "share: expected a number between 0 and 1, found 1.5"),
        ({"share": 10**400}, "share: expected a number between 0 and 1, found 1000"),
        ({"images": 1.0}, "images: expected a whole number of 1 or more, found 1.0"),
        ({"images": False}, "images: expected a whole number of 1 or more, found False"),
        ({"images": 0}, "images: expected a whole number of 1 or more, found 0"),
        ({"images": 2**63}, "images: expected a whole number of 1 or more, found 9223"),
        ({"status": "ill"}, "status: expected one of 'ranked', 'failed', found 'ill'"),
        ({"status": ["ranked"]}, "status: expected one of 'ranked', 'failed', found ['ranked']"),
        ({"gated": 0}, "gated: expected true or false, found 0"),
        ({"labels": "abc"}, "labels: expected a list of at most 3 entries, found 'abc'"),
        ({"labels": ["a"] * 4}, "labels: expected a list of at most 3 entries"),
        ({"labels": ["a", 2]}, "labels[1]: expected text, found 2"),
        ({"scores": []}, "scores: expected an object of at most 3 entries, found []"),
        ({"scores": dict.fromkeys("abcd", 1)}, "scores: expected an object of at most 3 entries"),
        ({"scores": {"parc": None}}, "scores.parc: expected a number, found None"),
        ({"scores": {"a\nb": "x"}}, r"scores.'a\nb': expected a number, found 'x'"),
        ({"scores": {"\ud800": "x"}}, r"scores.'\ud800': expected a number, found 'x'"),
        ({"color": "blue"}, "color: unknown key"),
        ({"x\ny": 1}, r"'x\ny': unknown key"),
        ({"note": 3}, "note: expected text, found 3"),
        ({"name": {"a": ["b"] * 99}}, "name: expected text, found {'a': ['b', 'b'"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_an_error_names_the_file_the_key_and_what_was_expected(read, change, why):
    assert f"card.json is not valid: {why}" in mistake(read, GOOD | change)


@pytest.mark.parametrize("name", list(GOOD))
def test_a_missing_key_is_named(read, name):
    line = mistake(read, {key: GOOD[key] for key in GOOD if key != name})
    assert f"card.json is not valid: {name}: missing." in line


def test_unknown_keys_are_left_out_where_that_is_allowed(read):
    assert read(GOOD | {"color": "blue"}, record(SCHEMA)) == read(GOOD)


def test_null_and_absence_are_different_where_it_matters(read):
    check = record({"a": nullable(text()), "b": optional(integer(), 5, null=False)})
    assert read({"a": None}, check) == {"a": None, "b": 5}
    assert "a: missing" in mistake(read, {"b": 1}, check)
    assert "b: expected a whole number" in mistake(read, {"a": None, "b": None}, check)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1 column 2"),
        (b"\xff\xfe{}", "is not valid"),
        (b"\xff", "is not valid"),
        (b"null", "document: expected an object, found None"),
        (b"[]", "document: expected an object, found []"),
        (b"3", "document: expected an object, found 3"),
        (b'{"a": 1} x', "Extra data"),
        (b"9" * 5000, "is not valid"),
        (b"[" * 100_000, "recursion"),
        (b'{"a":' * 100_000, "recursion"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_json_object_is_refused(read, content, why):
    assert why in mistake(read, content)


def test_a_file_of_more_bytes_than_allowed_is_refused(read):
    assert read(b'"' + b"x" * 98 + b'"', text(), limit=100) == "x" * 98
    assert "larger than" in mistake(read, b'"' + b"x" * 99 + b'"', text(), limit=100)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(RankingError, match=r"none\.json does not exist\. Make it again\."):
        read_json(tmp_path / "none.json", any_json, error=RankingError, advice="Make it again.")


def test_a_folder_a_pipe_and_a_device_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "zero"):
        with pytest.raises(RankingError, match=rf"{name}\.json .*(regular file|directory)"):
            read_json(tmp_path / f"{name}.json", any_json, error=RankingError, advice="")


@dataclass(frozen=True)
class Shape:
    size: int
    mean: tuple[float, float]

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError("size is too small")


@dataclass(frozen=True)
class Entry:
    name: str
    shape: Shape | None
    labels: tuple[str, ...] = ()
    kind: Literal["good", "bad"] = "good"
    gated: bool = False
    accuracy: float | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


@pytest.fixture
def read_entry(read):
    check = instance(Entry, leave={"folder"}, more={"format": choice(2)})
    return lambda document: read(document, check)


def test_a_dataclass_is_read_by_the_types_of_its_fields(read_entry):
    least = {"format": 2, "name": "ant", "shape": None}
    assert read_entry(least) == Entry("ant", None)
    whole = least | {
        "shape": {"size": 8, "mean": [0, 0.5]}, "labels": ["a"], "kind": "bad", "gated": True,
        "accuracy": 1, "arguments": {"depth": [2]},
    }  # fmt: skip
    expected = Entry("ant", Shape(8, (0.0, 0.5)), ("a",), "bad", True, 1.0, {"depth": [2]})
    assert read_entry(whole) == expected


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 1}, "format: expected 2, found 1"),
        ({"folder": "/"}, "folder: unknown key"),
        ({"shape": {"size": 8}}, "shape.mean: missing"),
        ({"shape": {"size": 7, "mean": [0, 0]}}, "shape: size is too small"),
        ({"shape": {"size": 8, "mean": [0, 0, 0]}}, "shape.mean: expected a list of at most 2"),
        ({"shape": {"size": 8, "mean": [0, 0], "x": 1}}, "shape.x: unknown key"),
        ({"labels": None}, "labels: expected a list"),
        ({"kind": "ugly"}, "kind: expected one of 'good', 'bad', found 'ugly'"),
        ({"accuracy": "1"}, "accuracy: expected a number, found '1'"),
    ],
)
def test_a_document_that_is_no_such_dataclass_is_refused_by_key(read, read_entry, change, why):
    del read
    document = {"format": 2, "name": "ant", "shape": None}
    with pytest.raises(RankingError) as caught:
        read_entry(document | change)
    assert f"card.json is not valid: {why}" in str(caught.value)
