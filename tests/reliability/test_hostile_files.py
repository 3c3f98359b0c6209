"""Files that are no files, links out of a folder, texts that are markup, an early SIGTERM."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cli import terminal
from distill.compare import FinishedStudents
from distill.report.model_card import license_lines, teacher_claims
from selection.ranking import Ranking
from selection.scoring import ScoreSamples, ScoreStore
from tests.support.mutations import RANKING
from tests.support.toys import build_teacher
from zoo.errors import RankingError, StudentError, TeacherBroken
from zoo.hub.publish import stage
from zoo.images.folder import read_images
from zoo.teachers.card import TeacherCard
from zoo.teachers.collection import copy_teacher, pack
from zoo.teachers.config import read_layout
from zoo.teachers.fingerprint import Fingerprint
from zoo.teachers.model_card import escape_markdown, set_license, teacher_model_card

MARKUP = "x|y\n# <script>alert(1)</script> [a](javascript:b) `c` \x1b[2J *d* \u202e"


@pytest.fixture
def card(tmp_path):
    return build_teacher(tmp_path / "teacher", "fly")


def make_odd(path, kind):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)


READERS = {
    "card.json": (lambda path: TeacherCard.load(path.parent), TeacherBroken),
    "config.json": (lambda path: read_layout(path.parent), TeacherBroken),
    "ranking.json": (Ranking.load, RankingError),
    "comparison.json": (lambda path: FinishedStudents.open(path, "a" * 64), StudentError),
    "fingerprint.safetensors": (lambda path: Fingerprint.load(path, "r"), TeacherBroken),
}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "endless"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_of_a_fair_size_is_refused_at_once(card, name, kind):
    read, error = READERS[name]
    make_odd(card.folder / name, kind)
    begun = time.monotonic()
    with pytest.raises(error) as caught:
        read(card.folder / name)
    assert time.monotonic() - begun < 20
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["pipe", "device", "endless"])
def test_a_label_file_is_a_regular_file(imgs, tmp_path, kind):
    from zoo.errors import ImagesError

    make_odd(tmp_path / "labels.csv", kind)
    with pytest.raises(ImagesError, match="cannot be read"):
        read_images(imgs, labels=tmp_path / "labels.csv")


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "config.json"])
def test_links_out_of_a_folder_are_neither_published_nor_packed(card, tmp_path, name):
    secret = tmp_path / f"secret-{name}"
    if (card.folder / name).exists():
        (card.folder / name).rename(secret)
    else:
        secret.write_text("secret")
    (card.folder / name).symlink_to(secret)
    (tmp_path / "staging").mkdir()
    with pytest.raises(TeacherBroken, match="is a link out of its folder"):
        stage(card.folder, tmp_path / "staging", None)
    assert not list((tmp_path / "staging").iterdir())
    if name != "README.md":
        with pytest.raises(TeacherBroken, match="is a link out of its folder"):
            pack([card], tmp_path / "packed")
        assert not (tmp_path / "packed" / "fly").exists()


def test_damaged_weights_are_not_packed(card, tmp_path):
    path = card.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TeacherBroken, match="is not the file of its card"):
        copy_teacher(card, tmp_path / "packed")
    assert not list((tmp_path / "packed").rglob("*"))


def test_texts_of_cards_are_text_in_markdown_and_front_matter(card):
    evil = replace(card, data=MARKUP, data_license=MARKUP, domain=MARKUP, recipe=MARKUP,
                   license=MARKUP, labels=(MARKUP, "b", "c"))  # fmt: skip
    page = set_license(teacher_model_card(evil), evil.license)
    section = "\n".join(license_lines(teacher_claims(["fly"], [evil])))
    body = page.split("\n---\n", 1)[1]
    for text in (body, section):
        # a code span shows markup as it is
        assert "<script" not in re.sub(r"(?m)^- (network|trained with): `[^`]*`$", "", text)
        for bad in ("\x1b", "\u202e", "\n# <"):
            assert bad not in text, bad
    front = page.split("\n---\n")[0]
    assert len([line for line in front.splitlines() if line.startswith("license:")]) == 1
    assert front.splitlines()[1].startswith('license: "x|y # ')
    assert set_license("x", "mit").startswith("---\nlicense: mit\n")
    assert escape_markdown("a|b*c") == r"a\|b\*c"
    assert escape_markdown("digits_on_photos, größe") == "digits_on_photos, größe"


def test_texts_are_spelled_out_on_the_terminal():
    assert terminal.one_line("a\x1b[2J\nb\u202ec\x9b\u2028") == (
        "a\\x1b[2J\\nb\\u202ec\\x9b\\u2028"
    )


CARDS = {
    "no accuracy_images": ({"accuracy": 0.5}, ["accuracy_images"], ""),
    "accuracy of 2": ({"accuracy": 2}, [], "accuracy"),
    "many bytes": ({"bytes": 10**400}, [], "bytes"),
    "bytes below 0": ({"bytes": -1}, [], "bytes"),
    "endless accuracy": ({"accuracy": 1e999}, [], "number"),
    "a name of NUL": ({"name": "\0"}, [], "name"),
    "a name of lines": ({"name": "a\nb"}, [], "name"),
    "no name": ({"name": ""}, [], "name"),
    "a long text": ({"license": "x" * 5_000_000}, [], "license"),
    "an address": ({"network": "hf-hub:evil/x"}, [], "network"),
    "a path": ({"model_args": {"checkpoint_path": "x"}}, [], "model_args.checkpoint_path"),
    "a revision": ({"revision": "../../x"}, [], "revision"),
    "weights elsewhere": ({"weights": "../x"}, [], "weights"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_an_edited_card_is_read_or_one_line(card, command, kind):
    changes, without, key = CARDS[kind]
    path = card.folder / "card.json"
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: document[name] for name in document if name not in without}))
    for words in (("list",), ("info", "fly"), ("verify",)):
        ran = command(*words, "--zoo", card.folder)
        if key:
            assert key in ran.mistake
            assert len(ran.mistake) < 500
        else:
            assert ran.code == 0, ran.err


COMPARISONS = {
    "a run that is a path": {"run": "../../victim"},
    "hits of text": {"cells": {"transfer/0": {"hits": "yes", "seconds": 1}}},
    "hits of numbers": {"cells": {"transfer/0": {"hits": [1], "seconds": 1}}},
    "no seconds": {"cells": {"transfer/0": {"hits": "01"}}},
    "endless seconds": {"cells": {"transfer/0": {"hits": "01", "seconds": 1e999}}},
    "cells of a list": {"cells": []},
}


@pytest.mark.parametrize("kind", COMPARISONS)
def test_an_edited_comparison_is_one_line_and_stays_as_it_is(tmp_path, kind):
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({"run": "a" * 64, "cells": {}, **COMPARISONS[kind]}))
    before = path.read_bytes()
    with pytest.raises(StudentError, match="is not valid"):
        FinishedStudents.open(path, "a" * 64)
    assert path.read_bytes() == before


def test_results_of_other_images_are_not_those_of_a_student(tmp_path):
    record = FinishedStudents(
        tmp_path / "c.json", "a" * 64, {"transfer/0": {"hits": "01", "seconds": 1.0}}
    )
    assert record.holds("transfer/0", 2)
    assert not record.holds("transfer/0", 3)
    assert not record.holds("transfer/1", 2)


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nowhere", ""])
def test_a_device_that_computes_nothing_is_refused(command, imgs, toy_zoo, device):
    ran = command("rank", "--target", imgs, "--device", device)
    assert (ran.code in (1, 2), ran.out) == (True, "")
    assert "device" in ran.err.splitlines()[-1]


def test_an_edited_ranking_can_still_be_shown(tmp_path):
    path = tmp_path / "ranking.json"
    edited = json.loads(json.dumps(RANKING))
    edited["teachers"][0]["scores"] = {}
    edited["teachers"][0]["high"] = None
    path.write_text(json.dumps(edited))
    from cli import tables

    tables.ranking_table(Ranking.load(path))


def test_swapped_scores_are_computed_again(tmp_path):
    import numpy as np

    store = ScoreStore(tmp_path)
    rows = {key: ScoreSamples({"knn": value}, np.empty(0), np.empty(0))
            for key, value in (("a", 0.1), ("b", 0.9))}  # fmt: skip
    for key, row in rows.items():
        store.load_or_compute(key, lambda row=row: row)
    one, other = (tmp_path / f"{key}.safetensors" for key in "ab")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for key, row in rows.items():
        assert store.load_or_compute(key, lambda row=row: row).scores == row.scores
        unused = store.load_or_compute(key, lambda: pytest.fail("it was computed again"))
        assert unused.scores == row.scores


@pytest.mark.parametrize("after", [0.02, 0.1, 0.4, 1.0, 2.0])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_at_any_moment_is_its_code_and_a_line(number, code, after, imgs, tmp_path):
    script = "import sys, cli.entry as e; print('on', flush=True); sys.argv[0] = 'zoo'; e.main()"
    words = ("rank", "--target", str(imgs), "--save", str(tmp_path / "ranking.json"))
    run = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        # with nothing stored it cannot be done before the signal comes
        env={**os.environ, "SOURCE_ZOO_CACHE": str(tmp_path / "cache")},
    )
    assert run.stdout
    run.stdout.readline()
    time.sleep(after)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, err.count("Stopped")) == (code, 1), err
    assert "Traceback" not in err
