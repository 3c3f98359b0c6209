"""`zoo rank --shortlist`, `zoo index`, `zoo add --images`: the nearest fingerprints, nobody run."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.support.toys import build_teacher, hub_card, paint_folder
from tests.tools import make_fingerprints as fingerprints
from zoo.errors import HubError
from zoo.teachers import catalogue as catalogue_module
from zoo.teachers import fingerprint as fingerprint_module
from zoo.teachers.catalogue import list_cards, pulled_folder
from zoo.teachers.fingerprint import FINGERPRINT_FILE, Fingerprint, reference_card
from zoo.teachers.verify import measure


@pytest.fixture
def domains(tmp_path):
    """Images of two domains: ants live among blue, bees among red."""
    root = tmp_path / "domains"
    for name, color in (("ant", "blue"), ("bee", "red"), ("cow", "green")):
        paint_folder(root / name, per_class=6, classes=(color,), seed=len(color))
    return root


@pytest.fixture
def own_zoo(toy_zoo, tmp_path, monkeypatch):
    """A copy of the toy zoo that may be written; ant is the reference."""
    root = tmp_path / "zoo"
    shutil.copytree(toy_zoo[0].folder.parent, root)
    monkeypatch.setattr(catalogue_module, "BUILTIN", root)
    monkeypatch.setattr(fingerprint_module, "REFERENCE", "ant")
    measure(replace(toy_zoo[0], folder=root / "ant")).save(root / "ant")
    return root


@pytest.fixture
def marked_zoo(own_zoo, domains, capsys):
    """The same with fingerprints."""
    fingerprints.main(["--data", str(domains)])
    assert "bee: 6 prototypes of 6 images" in capsys.readouterr().out
    return own_zoo


@pytest.fixture
def rank(command):
    return lambda target, *words: command("rank", "--target", target, *words, "--json")


def reds(tmp_path):
    """A target that is near the bees."""
    folder = paint_folder(tmp_path / "reds", per_class=4, classes=("red",), seed=50)
    for name in ("light", "dark"):
        (folder / name).mkdir()
    for number, path in enumerate(sorted((folder / "red").iterdir())):
        path.rename(folder / ("light" if number % 2 else "dark") / path.name)
    (folder / "red").rmdir()
    return folder


def names(ran):
    return [row["name"] for row in ran.json["teachers"]]


def test_shortlist_ranks_the_teachers_of_the_nearest_fingerprints(rank, marked_zoo, tmp_path):
    target = reds(tmp_path)
    assert names(rank(target, "--shortlist", 1)) == ["bee"]
    assert sorted(names(rank(target, "--shortlist", 2))) == ["ant", "bee"]
    assert sorted(names(rank(target))) == ["ant", "bee"]
    blues = paint_folder(tmp_path / "blues", per_class=4, classes=("blue",), seed=50)
    paint_folder(blues, per_class=4, classes=("blue",), seed=60)
    (blues / "other").mkdir()
    for path in sorted((blues / "blue").iterdir())[:2]:
        path.rename(blues / "other" / path.name)
    assert names(rank(blues, "--shortlist", 1)) == ["ant"]


def test_a_shortlist_asks_nobody_else(rank, marked_zoo, tmp_path, cache):
    rank(reds(tmp_path), "--shortlist", 1)
    asked = {path.name.partition("-")[0] for path in (cache / "features").iterdir()}
    assert asked == {"ant", "bee"}  # ant as the reference
    shutil.rmtree(cache / "features")
    build_teacher(marked_zoo / "cow", "cow", seed=5)
    ran = rank(reds(tmp_path / "again"), "--shortlist", 1)
    assert "1 of 3 teachers have no fingerprint" in ran.err
    assert not list((cache / "features").glob("cow*"))


def test_without_any_fingerprint_it_is_one_line(command, own_zoo, imgs):
    said = command("rank", "--target", imgs, "--shortlist", 3).mistake
    assert "No teacher of --zoo builtin has a fingerprint" in said
    assert "zoo add --images" in said
    assert "has a fingerprint" in command("index", "--zoo", "builtin").mistake


@pytest.mark.parametrize("damage", [b"", b"nothing"])
def test_a_damaged_fingerprint_is_a_teacher_without_one(rank, marked_zoo, tmp_path, damage):
    target = reds(tmp_path)
    (marked_zoo / "bee" / FINGERPRINT_FILE).write_bytes(damage)
    for _ in range(2):  # the second time from the index
        ran = rank(target, "--shortlist", 1)
        assert names(ran) == ["ant"]
        assert "The fingerprints of bee are damaged" in ran.err
        assert "left out of the shortlist" in ran.err
        assert "no fingerprint" not in ran.err


def test_a_fingerprint_of_another_width_is_left_out_in_words(rank, marked_zoo, tmp_path):
    narrow = Fingerprint(np.eye(3, dtype=np.float16), reference_card().sha256, 9)
    narrow.save(marked_zoo / "bee")
    ran = rank(reds(tmp_path), "--shortlist", 1)
    assert names(ran) == ["ant"]
    assert "The fingerprints of bee are damaged or of another version" in ran.err


def test_a_damaged_index_is_built_again(rank, command, marked_zoo, tmp_path, cache):
    target = reds(tmp_path)
    assert "2 of 2 teachers, 12 prototypes" in command("index", "--zoo", "builtin").out
    (file,) = (cache / "index").iterdir()
    whole = file.read_bytes()
    rank(target, "--shortlist", 1)
    assert file.read_bytes() == whole
    for damage in (b"", whole[:-5], whole[:-5] + b"12345"):
        file.write_bytes(damage)
        assert names(rank(target, "--shortlist", 1)) == ["bee"]
        assert len(file.read_bytes()) == len(whole)


def test_the_index_follows_the_fingerprints(command, marked_zoo):
    command("index", "--zoo", "builtin")
    (marked_zoo / "ant" / FINGERPRINT_FILE).unlink()
    ran = command("index", "--zoo", "builtin")
    assert "1 of 2 teachers, 6 prototypes" in ran.out
    assert "1 of 2 teachers have no fingerprint" in ran.err
    assert "1 of 1 teachers" in command("index", "--zoo", marked_zoo / "bee").out


def test_a_cache_that_cannot_be_written_costs_nothing_but_a_note(
    rank, marked_zoo, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURCE_ZOO_CACHE", str(tmp_path / "file"))
    ran = rank(reds(tmp_path), "--shortlist", 1)
    assert names(ran) == ["bee"]
    assert "The index could not be saved" in ran.err


def test_add_with_images_makes_a_fingerprint(command, marked_zoo, domains, tmp_path):
    (marked_zoo / "bee" / FINGERPRINT_FILE).unlink()
    words = ("add", marked_zoo / "bee", "--domain", "cows", "--zoo", tmp_path / "mine")
    assert command(*words, "--name", "cow", "--images", domains / "cow").code == 0
    assert command(*words, "--name", "plain").code == 0
    made = {path.parent.name for path in (tmp_path / "mine").glob(f"*/{FINGERPRINT_FILE}")}
    assert made == {"cow"}
    assert "does not exist" in command(*words, "--name", "x", "--images", tmp_path / "no").mistake
    assert not (tmp_path / "mine" / "x").exists()
    inside = ("add", marked_zoo / "bee", "--domain", "cows", "--zoo", domains / "cow" / "zoo")
    ran = command(*inside, "--name", "cow", "--images", domains / "cow")
    assert "choose another --zoo" in ran.mistake
    assert command("add", "~nobody-of-this-name/bee", "--name", "x", "--domain", "y").code == 1


def test_only_the_chosen_are_fetched(rank, marked_zoo, tmp_path, monkeypatch):
    """Of the Hub's teachers all with a fingerprint compete, whether they were pulled or not."""
    fetched = []

    def fetch(card, **_):
        if card.folder:
            return card
        fetched.append(card.name)
        raise HubError("not here")

    monkeypatch.setattr("zoo.hub.client.fetch", fetch)
    for name, like in (("cat", "ant"), ("dog", "bee")):
        pulled_folder(hub_card(name)).mkdir(parents=True)
        shutil.copy(marked_zoo / like / FINGERPRINT_FILE, pulled_folder(hub_card(name)))
    assert {card.name for card in list_cards("all")} == {"ant", "bee", "cat", "dog"}
    rank(reds(tmp_path), "--zoo", "all", "--shortlist", 2)
    assert fetched == ["dog"]


def test_the_command_for_embedded_ones_adds_only_what_is_missing(marked_zoo, domains, capsys):
    before = (marked_zoo / "bee" / FINGERPRINT_FILE).stat().st_mtime_ns
    (marked_zoo / "ant" / FINGERPRINT_FILE).write_bytes(b"old")
    capsys.readouterr()
    fingerprints.main(["--data", str(domains)])
    assert capsys.readouterr().out == "ant: 6 prototypes of 6 images\n"
    assert (marked_zoo / "bee" / FINGERPRINT_FILE).stat().st_mtime_ns == before
    fingerprints.main(["--data", str(domains), "bee"])
    assert capsys.readouterr().out.startswith("bee: ")


def test_the_prototypes_are_those_of_the_reference_network(marked_zoo):
    (ant,) = [card for card in list_cards() if card.name == "ant"]
    for name in ("ant", "bee"):
        made = Fingerprint.load(marked_zoo / name / FINGERPRINT_FILE, ant.sha256)
        assert (len(made.prototypes), made.images) == (6, 6)
