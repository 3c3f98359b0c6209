"""The catalogue of teachers on the Hub: what it says is what timm says, where timm says it."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.tools import make_catalogue
from zoo.teachers.card import CARD_FORMAT, HUB, TeacherCard

CATALOGUE = Path(make_catalogue.__file__).parents[2] / "zoo" / "catalogue.json"
DOCUMENT = json.loads(CATALOGUE.read_text(encoding="utf-8"))
CARDS = {entry["name"]: TeacherCard.from_json(entry) for entry in DOCUMENT["teachers"]}
OF_TIMM = [card for card in CARDS.values() if card.loader == "timm"]
BUILDABLE = [card for card in CARDS.values() if card.loader != "hf-hub"]
DEFAULT = [card for card in CARDS.values() if card.default]


def inputs(name):
    shape = CARDS[name].preprocessing
    assert shape is not None
    return shape


def test_the_catalogue_is_written_as_the_command_writes_it():
    assert DOCUMENT["format"] == CARD_FORMAT
    text = CATALOGUE.read_text(encoding="utf-8")
    assert text == make_catalogue.render(list(CARDS.values()))
    assert re.search(r'"mean": \[[^\n]+\],\n', text)


def test_every_entry_reads_as_the_card_that_was_written():
    for entry in DOCUMENT["teachers"]:
        assert json.loads(json.dumps(TeacherCard.from_json(entry).to_json())) == entry


def test_there_are_many_teachers_of_many_domains():
    assert len(CARDS) >= 45
    assert len({card.domain for card in CARDS.values()}) >= 20
    assert all(card.domain == card.domain.lower().strip() != "" for card in CARDS.values())


def test_names_are_unique_sorted_and_no_embedded_teachers():
    names = [entry["name"] for entry in DOCUMENT["teachers"]]
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) for name in names)
    assert not set(names) & {path.name for path in (CATALOGUE.parent / "builtin").iterdir()}


def test_an_entry_says_where_its_files_are_and_what_is_known(subtests):
    for card in CARDS.values():
        with subtests.test(card.name):
            assert re.fullmatch(rf"{HUB}[\w.-]+/[\w.-]+", card.source)
            assert re.fullmatch(r"([0-9a-f]{40})?", card.revision)
            assert card.weights.endswith((".safetensors", ".bin", ".pth", ".pt"))
            assert card.bytes > 1e6
            assert card.params > 1e6 or card.name == "path-gigapath"
            assert card.license
            assert card.data
            assert card.data_license
            assert card.evidence in ("timm", "seen", "recalled")
            # the overlay takes any file, timm looks for these beside a config.json
            if card.loader == "hf-hub":
                assert card.weights in ("model.safetensors", "pytorch_model.bin")


def test_every_architecture_is_one_of_timms():
    named = {card.network for card in CARDS.values() if card.network}
    assert [name for name in sorted(named) if not timm.is_model(name)] == []


def test_timm_entries_say_what_timm_says(subtests):
    for card in OF_TIMM:
        with subtests.test(card.name):
            config: Any = timm.get_pretrained_cfg(card.network)
            assert card.network == f"{config.architecture}.{config.tag}"
            assert card.source == f"{HUB}{config.hf_hub_id}"
            assert card.license == (config.license or "unknown")
            assert card.classes in (config.num_classes, 0)
            assert bool(card.classes) == (config.num_classes not in (0, 512))
            shape = inputs(card.name)
            side = card.model_args.get("img_size", config.input_size[1])
            assert (3, shape.size, shape.size) == (config.input_size[0], side, side)
            assert config.input_size[1] == config.input_size[2]
            assert (shape.mean, shape.std) == (config.mean, config.std)
            assert shape.interpolation == config.interpolation
            assert (shape.crop_pct, shape.crop_mode) == (config.crop_pct, config.crop_mode)
            assert shape.channels == "rgb"
            # else timm would take the Hub's file for the one of the paper
            assert bool(config.custom_load) == ("custom_load" in card.overlay)


def test_networks_that_no_config_names_can_be_built(subtests):
    for card in BUILDABLE:
        with subtests.test(card.name):
            with torch.device("meta"):
                network = timm.create_model(
                    card.network, num_classes=card.classes, **card.model_args
                )
            assert network.num_classes == card.classes
            assert sum(parameter.numel() for parameter in network.parameters()) == card.params
            assert card.preprocessing is not None
            fixed = getattr(getattr(network, "patch_embed", None), "img_size", None)
            assert fixed in (None, (card.preprocessing.size, card.preprocessing.size))


def test_an_overlay_states_the_head_of_the_file(subtests):
    for card in [card for card in BUILDABLE if card.loader == "overlay"]:
        with subtests.test(card.name):
            assert card.overlay["num_classes"] >= card.classes
            assert card.network.count(".") == 0


def test_projections_embeddings_and_tags_are_not_classes():
    for name in (
        "clip-tiny-m16",
        "clip-tiny-xs16",
        "clip-laion2b-b32",
        "clip-openai-b32",
        "siglip2-b16",
        "bioclip-b16",
        "bioclip2-l14",
        "biomedclip-b16",
        "sat-remoteclip-b32",
        "fashion-siglip-b16",
        "face-vit-t8",
        "anime-wd-vit",
        "anime-animetimm-mnv3",
        "cxr-chexpert-b16",
        "cxr14-vit",
        "galaxy-zoobot-pico",
        "ssl-dinov2-s",
    ):
        assert CARDS[name].classes == 0, name
    for name in ("clip-tiny-xs16", "face-vit-t8", "anime-wd-vit", "cxr-chexpert-b16"):
        assert "not classes" in CARDS[name].note


def test_openai_weights_use_their_own_activation():
    assert CARDS["clip-openai-b32"].network == "vit_base_patch32_clip_quickgelu_224.openai"
    assert CARDS["sat-remoteclip-b32"].network == "vit_base_patch32_clip_quickgelu_224"


def test_the_tagger_of_drawings_wants_blue_first():
    shape = inputs("anime-wd-vit")
    assert (shape.channels, shape.size) == ("bgr", 448)
    bgr = [c.name for c in CARDS.values() if c.preprocessing and c.preprocessing.channels == "bgr"]
    assert bgr == ["anime-wd-vit"]


def test_teachers_of_518_pixels_are_used_at_224():
    for name in ("ssl-dinov2-s", "plantclef24-b14", "cxr-rad-dino"):
        assert CARDS[name].model_args == {"img_size": 224}, name
        assert inputs(name).size == 224, name


def test_teachers_with_statistics_of_their_own_keep_them():
    rad = inputs("cxr-rad-dino")
    assert (rad.mean, rad.std) == ((0.5307,) * 3, (0.2583,) * 3)
    assert CARDS["cxr-rad-dino"].weights == "backbone_compatible.safetensors"
    assert inputs("sat-dinov3-l").mean == (0.43, 0.411, 0.296)
    # only config.json knows these
    assert CARDS["sat-eurosat-r18"].preprocessing is None
    assert CARDS["galaxy-zoobot-pico"].preprocessing is None


def test_arguments_that_pages_ask_for_are_passed():
    assert CARDS["path-kaiko-s16"].model_args == {"dynamic_img_size": True}
    assert CARDS["path-uni"].model_args == {"init_values": 1e-5, "dynamic_img_size": True}


def test_heads_in_foreign_files_are_named():
    assert CARDS["bioclip-b16"].overlay == {"num_classes": 512}
    assert CARDS["bioclip2-l14"].overlay == {"num_classes": 768}
    assert CARDS["skin-ham-b0"].overlay == {"num_classes": 7}
    assert CARDS["cxr-rad-dino"].overlay == {"num_classes": 0}


def test_a_license_that_a_tool_wrote_by_default_is_unknown():
    pushed = [card for card in CARDS.values() if "writes that by default" in card.note]
    owners = Counter(card.repo.split("/")[0] for card in pushed)
    assert owners["1aurent"] == 1
    assert owners["anonauthors"] >= 6
    assert {card.license for card in pushed} == {"unknown"}
    assert {c.name for c in CARDS.values() if c.repo.startswith("anonauthors/")} <= {
        card.name for card in pushed
    }


def test_restricted_licenses_are_stated():
    for name in ("fungi-df20-b0", "reid-mega-t", "inat21-cnx-l", "retina-retfound"):
        assert CARDS[name].license == "cc-by-nc-4.0"
    assert CARDS["path-kaiko-s16"].license == "kaiko-non-commercial"
    assert CARDS["ssl-dinov3-s"].license == "dinov3-license"
    assert CARDS["bamboo-b16"].license == "unknown"
    assert not any("?" in card.license for card in CARDS.values())


def test_gated_teachers_are_marked():
    gated = {card.name for card in CARDS.values() if card.gated}
    assert gated == {"path-uni", "path-gigapath", "anime-animetimm-mnv3"}


def test_the_default_set_opens_many_domains_for_few_bytes():
    assert 18 <= len(DEFAULT) <= 24
    domains = Counter(card.domain for card in DEFAULT)
    assert len(domains) >= 18
    assert not set(domains) & {"content safety", "faces"}
    assert not any(card.gated for card in DEFAULT)
    assert sum(card.bytes for card in DEFAULT) < 2.5e9
    for card in DEFAULT:
        assert card.bytes <= 400e6 or domains[card.domain] == 1, card.name


def test_the_command_makes_the_cards_that_are_shipped(tmp_path):
    fields = (
        "id,hf_repo,loader,domain,source_dataset,num_classes,architecture,params_M,license,gated,"
        "file,file_MB,evidence,evidence_at,note"
    )
    rows = """\
obj-in1k-effnet-b0,-,timm,objects,ImageNet-1k,,,,,no,,~21,CERTAIN,timm efficientnet_b0.ra_in1k,
texture-dtd-r50,anonauthors/dtd-timm-resnet50,timm hf-hub,textures,DTD,47,resnet50,23.6,\
apache-2.0 (push default),no,pytorch_model.bin,94.7,SEEN,,
birder,a/b,birder,birds,,,,,,,,,,,
emotion-deit,a/b,timm hf-hub,faces,,,,,,,,,,,
"""
    table = tmp_path / "candidates.csv"
    table.write_text(f"{fields}\n{rows}", encoding="utf-8")
    with table.open(newline="", encoding="utf-8") as file:
        made = make_catalogue.cards(list(csv.DictReader(file)))
    assert [card.name for card in made] == [
        "clip-tiny-xs16",
        "obj-in1k-effnet-b0",
        "texture-dtd-r50",
    ]
    assert all(card == CARDS[card.name] for card in made)


@pytest.mark.parametrize(
    ("url", "revision"),
    [
        ("https://huggingface.co/a/b/tree/" + "1f" * 20, "1f" * 20),
        ("https://huggingface.co/a/b/raw/" + "1f" * 20 + "/README.md", "1f" * 20),
        ("https://huggingface.co/a/c/tree/" + "1f" * 20, ""),
        ("https://huggingface.co/a/b/tree/main", ""),
        ("https://github.com/a/b/tree/" + "1f" * 20, ""),
    ],
)
def test_a_revision_is_a_commit_of_that_very_repository(url, revision):
    row = dict.fromkeys(("source_dataset", "architecture", "params_M", "note"), "")
    row |= {"id": "x", "hf_repo": "a/b", "loader": "timm hf-hub", "domain": "d", "file_MB": "1"}
    row |= {"num_classes": "2", "license": "mit", "file": "model.safetensors", "gated": "no"}
    cards = make_catalogue.cards([row | {"evidence": "SEEN", "evidence_at": url}])
    assert {card.name: card for card in cards}["x"].revision == revision
