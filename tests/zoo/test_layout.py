"""timm's Hub layout: what `config.json` says, in whichever form, or why it says nothing."""

import json

import pytest

from zoo.errors import TeacherBroken
from zoo.teachers.config import CONFIG_FILE, label_names, read_layout

SHAPE = {
    "input_size": [3, 48, 48],
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "squash",
    "num_classes": 3,
    "license": "mit",
}
CONFIG = {"architecture": "test_resnet", "num_classes": 3, "pretrained_cfg": SHAPE}


@pytest.fixture
def read(tmp_path):
    """The layout of a folder with this `config.json`: a document, or text."""

    def of(config):
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
        return read_layout(tmp_path)

    return of


def without(name):
    return CONFIG | {"pretrained_cfg": {key: SHAPE[key] for key in SHAPE if key != name}}


def test_everything_is_read_from_where_timm_writes_it(read):
    layout = read(CONFIG | {"label_names": ["a", "b", "c"], "model_args": {"depth": 2}})
    assert (layout.network, layout.classes, layout.labels) == ("test_resnet", 3, ("a", "b", "c"))
    shape = layout.preprocessing
    assert (shape.size, shape.mean, shape.std) == (48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (shape.interpolation, shape.crop_pct, shape.crop_mode) == ("bicubic", 0.9, "squash")
    assert shape.channels == "rgb"
    assert (layout.license, layout.model_args) == ("mit", {"depth": 2})


@pytest.mark.parametrize(
    "names",
    [
        ["größe", "[b]", "c, d"],
        {"0": "größe", "1": "[b]", "2": "c, d"},
        {"2": "c, d", "0": "größe", "1": "[b]"},
        {"c, d": 2, "größe": 0, "[b]": 1},
    ],
    ids=["list", "by number", "by number in disorder", "by name"],
)
def test_class_names_are_in_the_order_of_the_logits_in_any_form(read, names):
    expected = ("größe", "[b]", "c, d")
    assert label_names(names, "label_names") == expected
    assert read(CONFIG | {"label_names": names}).labels == expected
    assert read(CONFIG | {"pretrained_cfg": SHAPE | {"label_names": names}}).labels == expected


@pytest.mark.parametrize(
    "names", [["e\u0301", "b"], {"0": "e\u0301", "1": "b"}, {"e\u0301": 0, "b": 1}]
)
def test_class_names_are_in_composed_unicode_as_those_of_folders_are(names):
    assert label_names(names, "label_names") == ("\u00e9", "b")


@pytest.mark.parametrize("names", [["\ud800"], {"0": "\ud800"}, {"\ud800": 0}])
def test_class_names_that_no_file_can_hold_are_refused(read, names):
    with pytest.raises(TeacherBroken, match=r"label_names.*text of whole characters"):
        read(CONFIG | {"num_classes": 1, "label_names": names})


def test_numbers_are_ordered_as_numbers():
    names = {str(number): f"class {number}" for number in sorted(range(12), key=str)}
    assert label_names(names, "label_names") == tuple(f"class {number}" for number in range(12))


def test_the_outer_class_names_come_before_those_of_the_pretrained_weights(read):
    inner = CONFIG | {"pretrained_cfg": SHAPE | {"label_names": ["x", "y", "z"]}}
    assert read(inner | {"label_names": ["a", "b", "c"]}).labels == ("a", "b", "c")


@pytest.mark.parametrize(
    "names",
    [{"0": "a", "2": "b", "3": "c"}, {"a": 1, "b": 2, "c": 3}, {"a": 0, "b": 0, "c": 1}, "abc"],
)
def test_class_names_that_miss_a_number_are_refused(read, names):
    with pytest.raises(TeacherBroken, match="label_names"):
        read(CONFIG | {"label_names": names})


def test_another_number_of_names_than_classes_is_refused(read):
    with pytest.raises(TeacherBroken, match="label_names: expected 3, one per class, found 2"):
        read(CONFIG | {"label_names": ["a", "b"]})


def test_names_are_not_needed(read):
    assert read(CONFIG).labels == ()
    assert read(CONFIG | {"label_names": None}).labels == ()


def test_the_outer_number_of_classes_counts_and_the_inner_one_if_it_is_missing(read):
    assert read(CONFIG | {"num_classes": 5}).classes == 5
    inner = {key: CONFIG[key] for key in CONFIG if key != "num_classes"}
    assert read(inner).classes == 3


def test_without_a_number_of_classes_their_names_are_counted(read):
    bare = {key: without("num_classes")[key] for key in CONFIG if key != "num_classes"}
    layout = read(bare | {"label_names": ["a", "b", "c", "d"]})
    assert (layout.classes, layout.labels) == (4, ("a", "b", "c", "d"))
    with pytest.raises(TeacherBroken, match="num_classes: missing"):
        read(bare)


def test_a_network_without_a_classifier_has_no_class_names(read):
    layout = read(CONFIG | {"num_classes": 0, "label_names": ["a", "b", "c"]})
    assert (layout.classes, layout.labels) == (0, ())


@pytest.mark.parametrize("name", ["interpolation", "crop_pct", "crop_mode", "license"])
def test_what_timm_does_not_need_may_be_missing(read, name):
    layout = read(without(name))
    shape = layout.preprocessing
    plain = {
        "interpolation": (shape.interpolation, "bilinear"),
        "crop_pct": (shape.crop_pct, 1.0),
        "crop_mode": (shape.crop_mode, "center"),
        "license": (layout.license, ""),
    }
    found, expected = plain[name]
    assert found == expected


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["ViTModel"], "model_type": "vit"}, "this is a transformers model"),
        ({"model_type": "vit"}, "this is no model of timm"),
        ({"architecture": "test_resnet", "num_classes": 3}, "pretrained_cfg: missing"),
        (without("input_size"), "pretrained_cfg.input_size: missing"),
        (without("mean"), "pretrained_cfg.mean: missing"),
        (without("std"), "pretrained_cfg.std: missing"),
        (CONFIG | {"pretrained_cfg": None}, "pretrained_cfg: expected an object"),
        (CONFIG | {"num_classes": "many"}, "num_classes: expected a whole"),
        (CONFIG | {"num_classes": None}, "num_classes: expected a whole"),
        (CONFIG | {"label_names": 3}, "label_names: expected a list"),
        (CONFIG | {"model_args": 3}, "model_args: expected an object"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"input_size": [3, 48, 64]}}, "not 3 x S x S"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"input_size": [1, 48, 48]}}, "not 3 x S x S"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"input_size": [3, 48]}}, "not 3 x S x S"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"input_size": []}}, "not 3 x S x S"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"input_size": 48}}, "pretrained_cfg.input_size"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"mean": 0.5}}, "pretrained_cfg.mean"),
        (
            CONFIG | {"pretrained_cfg": SHAPE | {"mean": ["a", "b", "c"]}},
            r"pretrained_cfg.mean\[0\]",
        ),
        (CONFIG | {"pretrained_cfg": SHAPE | {"std": [1, 1]}}, "is not three numbers"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"std": [1, 1, 0]}}, "std .* is not three numbers of"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"std": [1, 1, 1e-7]}}, "std .* is not three numbers"),
        (
            CONFIG | {"pretrained_cfg": SHAPE | {"interpolation": "random"}},
            "interpolation 'random'",
        ),
        (CONFIG | {"pretrained_cfg": SHAPE | {"crop_mode": "border"}}, "crop_mode 'border'"),
        (CONFIG | {"pretrained_cfg": SHAPE | {"crop_pct": 0}}, "out of range"),
        ("", "is not valid"),
        ("[1, 2", "is not valid"),
        ("[]", "expected an object"),
        ("3", "expected an object"),
        ('"architecture"', "expected an object"),
        ("[" * 100_000, "recursion"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:20],
)
def test_what_timm_could_not_build_from_is_refused_in_one_line(read, tmp_path, config, why):
    with pytest.raises(TeacherBroken, match=why) as caught:
        read(config)
    assert str(tmp_path / CONFIG_FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_config_is_not_in_the_layout(tmp_path):
    with pytest.raises(TeacherBroken, match=r"config\.json does not exist\. timm's Hub layout"):
        read_layout(tmp_path)
    (tmp_path / CONFIG_FILE).mkdir()
    with pytest.raises(TeacherBroken, match="config"):
        read_layout(tmp_path)
