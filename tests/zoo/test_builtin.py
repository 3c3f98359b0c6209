"""The embedded teachers and initial students are what their cards say."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open

from tests.support.toys import paint_folder
from tests.tools.train_zoo import JOBS
from zoo.errors import TeacherBroken, TeacherNotFound
from zoo.features.extraction import extract_features
from zoo.images.folder import read_images
from zoo.teachers.card import TeacherCard, sha256_of
from zoo.teachers.catalogue import BUILTIN, STUDENTS, find_card, list_cards

CARDS = [card for card in list_cards() if not card.package]
STARTS = [TeacherCard.load(STUDENTS / f"mobilenetv3_{size}_100") for size in ("large", "small")]


def test_there_are_enough_teachers_of_different_domains():
    assert len(CARDS) >= 10
    assert len({card.name for card in CARDS}) == len(CARDS)
    assert len({card.domain for card in CARDS}) >= 10
    families = {re.findall("[a-z]+", card.network)[0] for card in CARDS}
    assert len(families) >= 2
    assert sum(card.bytes for card in CARDS + STARTS) <= 60e6


@pytest.mark.parametrize("card", CARDS + STARTS, ids=lambda card: card.name)
def test_files_are_what_the_card_says(card):
    weights = card.folder / "model.safetensors"
    assert weights.stat().st_size == card.bytes
    assert sha256_of(weights) == card.sha256
    config = json.loads((card.folder / "config.json").read_text())
    assert config["architecture"] == card.network
    assert tuple(config["label_names"]) == card.labels
    with safe_open(weights, framework="pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert "F32" not in kinds
    assert card.data
    assert card.data_license
    assert len(card.golden) == 2
    if card.classes:
        assert card.accuracy > min(0.8, 2.5 / len(card.labels))
        assert card.accuracy_images >= 100
        assert len(card.golden_logits) == 2


@pytest.mark.parametrize("card", [CARDS[0], *STARTS], ids=lambda card: card.name)
def test_timm_loads_it_from_its_folder(card):
    network = timm.create_model(f"local-dir:{card.folder}", pretrained=True).eval()
    assert sum(p.numel() for p in network.parameters()) == card.params
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (
            1,
            len(card.labels) or network.head_hidden_size,
        )


def test_all_of_them_answer_and_no_two_alike(tmp_path):
    images = read_images(paint_folder(tmp_path / "a"))
    seen = extract_features(CARDS, images)
    assert not seen.failures
    assert seen.forward_passes == len(CARDS) * len(images)
    answers = [seen.features[card.name].embeddings for card in CARDS]
    for index, one in enumerate(answers):
        for other in answers[:index]:
            assert one.shape != other.shape or not np.allclose(one, other, atol=0.05)


def test_a_misspelt_teacher_gets_a_suggestion():
    with pytest.raises(TeacherNotFound, match="Did you mean 'cartoons'"):
        find_card("cartoon")
    with pytest.raises(TeacherNotFound, match="`zoo list`"):
        find_card("zzzzzz")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "name": "x"}'])
def test_a_card_that_is_none_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(TeacherBroken, match=r"card\.json is not valid") as caught:
        TeacherCard.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_card_comes_back_from_its_file(tmp_path):
    CARDS[0].save(tmp_path)
    again = TeacherCard.load(tmp_path)
    assert again.folder == tmp_path
    assert again.summary() == CARDS[0].summary()
    assert again.preprocessing == CARDS[0].preprocessing


def test_every_card_names_the_network_that_it_was_initialized_from():
    for card in STARTS:
        assert card.recipe.startswith("python -m tests.tools.teach_starts --data DIR ")
    for card in CARDS:
        job = JOBS[card.name]
        assert card.base == ("" if job.start == "random" else job.start)
        assert not card.base or (BUILTIN.parent / card.base / "card.json").is_file()
        assert card.recipe.startswith("python -m tests.tools.train_zoo --data DIR ")
