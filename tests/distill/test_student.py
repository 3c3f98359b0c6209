"""Students: made, saved in timm's layout, loaded again."""

import json
from dataclasses import replace

import pytest
import timm
import torch

from distill.student import (
    ALIASES,
    Student,
    check_size,
    create_student,
    find_arch,
    load_network,
    load_weights,
    round_as_saved,
    save_network,
    student_preprocessing,
)
from tests.support.toys import build_teacher
from zoo.errors import StudentError
from zoo.features.inference import to_input
from zoo.teachers import catalogue
from zoo.teachers.card import Preprocessing
from zoo.teachers.starts import find_start

LOOK = Preprocessing(32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", 0.9)
LABELS = ("a [b]", "ü 🙂", 'quote "q"')


def save(network, folder, arch="test_resnet", labels=LABELS):
    folder.mkdir()
    save_network(network, folder, arch=arch, labels=labels, preprocessing=LOOK, license="mit")
    return folder


def pictures(count=4):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def make(arch="test_resnet", classes=3, **options) -> Student:
    return create_student(arch, classes, **{"start": "random", **options})


@pytest.mark.parametrize("arch", ["test_resnet", "test_efficientnet"])
def test_a_saved_network_gives_the_same_logits_when_timm_loads_it(tmp_path, arch):
    student = make(arch).eval()
    folder = save(student.network, tmp_path / "s", arch)
    again = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    ours, _, _ = load_network(folder)
    with torch.inference_mode():
        expected = student.network(pictures())
        assert torch.allclose(again(pictures()), expected, atol=5e-3, rtol=5e-3)
        assert torch.equal(ours(pictures()), again(pictures()))
    assert not ours.training


def test_what_timm_chooses_by_the_weights_is_saved_whatever_the_tag(tmp_path):
    for arch in ("fbnetc_100", "fbnetc_100.rmsp_in1k"):
        network = make(arch).network
        again = timm.create_model(
            f"local-dir:{save(network, tmp_path / arch, arch)}", pretrained=True
        )
        for known in (network, again):
            assert {m.eps for m in known.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


def test_class_names_and_preprocessing_survive_saving(tmp_path):
    folder = save(make().network, tmp_path / "s")
    _, labels, look = load_network(folder)
    assert labels == LABELS
    assert look == LOOK
    assert timm.create_model(f"local-dir:{folder}").pretrained_cfg["license"] == "mit"  # pyright: ignore
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_weights_are_saved_in_half_precision(tmp_path):
    student = make()
    folder = save(student.network, tmp_path / "s")
    parameters = sum(p.numel() for p in student.network.parameters())
    assert (folder / "model.safetensors").stat().st_size < parameters * 2 * 1.1


@pytest.mark.parametrize("arch", ["test_resnet", "test_efficientnet", "mobilenetv3_small_100"])
def test_embed_then_classify_is_the_network(arch):
    student = make(arch).eval()
    with torch.inference_mode():
        assert torch.allclose(
            student.classify(student.embed(pictures())), student.network(pictures()), atol=1e-5
        )


def test_source_heads_stand_side_by_side_and_are_no_part_of_the_network():
    student = make(groups=[[3, 5], [4]])
    phi = student.embed(pictures())
    assert [student.classify_source(phi, group).shape for group in (0, 1)] == [(4, 8), (4, 4)]
    assert not any("sources" in name for name in student.network.state_dict())


@pytest.mark.parametrize(("alias", "arch"), ALIASES.items())
def test_short_names_are_known(alias, arch):
    assert find_arch(alias) == arch
    assert timm.is_model(arch)


def test_an_unknown_architecture_is_refused_with_close_ones():
    assert find_arch("resnet18") == "resnet18"
    with pytest.raises(StudentError, match=r"'resnet18x'.* Close names: .*resnet18"):
        find_arch("resnet18x")
    with pytest.raises(StudentError, match=r"'RESNET18'.* Close names: resnet18"):
        find_arch("RESNET18")
    with pytest.raises(StudentError, match="list_models"):
        find_arch("qqqqqqqqqqqqqq")


@pytest.mark.parametrize("tag", ["bogus", "", "a1_in1k.x"])
def test_a_tag_that_timm_does_not_know_is_refused_with_those_that_it_does(tag):
    assert find_arch("resnet18.a1_in1k") == "resnet18.a1_in1k"
    with pytest.raises(StudentError, match=r"'resnet18\..*Tags of resnet18: a1_in1k, a2_in1k"):
        find_arch(f"resnet18.{tag}")


def test_a_network_without_a_classifier_is_refused_as_that():
    with pytest.raises(StudentError, match="qwen3_vit_88m_enc has no classifier"):
        check_size("qwen3_vit_88m_enc", 64)


def test_a_start_folder_of_other_classes_gives_all_but_its_head(tmp_path):
    giver = make(classes=7, seed=5)
    folder = save(giver.network, tmp_path / "s", labels=tuple("abcdefg"))
    taker, fresh = make(start=str(folder)), make()
    given = giver.network.state_dict()
    for name, value in taker.network.state_dict().items():
        expected = fresh.network.state_dict()[name] if name.startswith("fc.") else given[name]
        assert torch.allclose(value.float(), expected.float(), atol=1e-3), name


def test_a_start_folder_of_the_same_classes_gives_its_head_too(tmp_path):
    giver = make(seed=5)
    taker = make(start=str(save(giver.network, tmp_path / "s")))
    given = giver.network.state_dict()["fc.weight"]
    assert torch.allclose(taker.network.state_dict()["fc.weight"], given, atol=1e-3)


def test_the_same_seed_makes_the_same_student_and_another_seed_another():
    one, same, other = (make(groups=[[2]], seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["sources.0.weight"], other["sources.0.weight"])
    assert not torch.equal(
        one["network.layer1.0.conv1.weight"], other["network.layer1.0.conv1.weight"]
    )


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    make(seed=8)
    assert torch.equal(torch.rand(2), expected)


def test_model_arguments_reach_timm(tmp_path):
    student = make(model_args={"stem_width": 8})
    plain = make()
    assert sum(map(torch.numel, student.parameters())) != sum(map(torch.numel, plain.parameters()))
    folder = tmp_path / "s"
    folder.mkdir()
    save_network(student.network, folder, arch="test_resnet", labels=LABELS, preprocessing=LOOK,
                 license="mit")  # fmt: skip
    assert load_network(folder)[1] == LABELS
    timm.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_student_wants_its_images_as_its_start_does(tmp_path):
    start = find_start(str(save(make().network, tmp_path / "s")), "test_resnet")
    found = student_preprocessing(start, 48)
    assert found == Preprocessing(48, LOOK.mean, LOOK.std, LOOK.interpolation)
    drawn = student_preprocessing(find_start("random", "test_resnet"), 48)
    assert (drawn.mean, drawn.interpolation) == ((0.485, 0.456, 0.406), "bicubic")


def test_a_start_of_blue_green_red_images_becomes_a_student_of_red_green_blue_ones(tmp_path):
    card = build_teacher(tmp_path / "ant", "ant", labels="ab")
    look = replace(card.input, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), channels="bgr")
    replace(card, preprocessing=look).save(tmp_path / "ant")
    start = find_start(str(tmp_path / "ant"), "test_resnet")
    student = make(classes=2, start=start).eval()
    pixels = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values)[:, None, None] for values in (look.mean, look.std))
    own = timm.create_model(f"local-dir:{tmp_path / 'ant'}", pretrained=True).eval()
    expected = own((pixels.flip(1) / 255 - mean) / std)
    shown = student_preprocessing(start, 32)
    inputs = to_input(pixels.byte(), shown, torch.device("cpu"))
    assert shown.channels == "rgb"
    assert torch.allclose(student.network(inputs), expected, atol=1e-5)


def test_a_start_that_does_not_exist_or_fit_is_refused_in_one_line(tmp_path):
    other = save(make("test_efficientnet").network, tmp_path / "other", "test_efficientnet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model.safetensors").write_bytes(b"no weights")
    for start, why in (
        (tmp_path / "none", "cannot be read"),
        (tmp_path / "broken", "cannot be read"),
        (other, "do not fit"),
        ("builtin", "No initial weights for 'test_resnet'.*zoo pull --start.*--start random"),
        ("auto", "No initial weights for 'test_resnet'.*--start FOLDER.*pip install"),
    ):
        with pytest.raises(StudentError, match=why) as error:
            make(start=str(start))
        assert "\n" not in str(error.value)


def test_weights_without_a_layer_of_the_network_do_not_fit(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(make().network, tmp_path / "s")
    weights = load_file(folder / "model.safetensors")
    del weights["layer1.0.conv1.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(StudentError, match=r"layer1\.0\.conv1\.weight"):
        load_weights(make().network, folder)


def test_a_network_without_a_linear_classifier_is_refused():
    with pytest.raises(StudentError, match="no linear classifier"):
        make("test_resnet", classes=0)


def test_embedded_weights_are_the_builtin_start(tmp_path, monkeypatch):
    giver = make(seed=9)
    save(giver.network, tmp_path / "test_resnet")
    monkeypatch.setattr(catalogue, "STUDENTS", tmp_path)
    taker = make(start="builtin")
    given = giver.network.state_dict()["layer1.0.conv1.weight"]
    assert torch.allclose(taker.network.state_dict()["layer1.0.conv1.weight"], given, atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [{"label_names": None}, {"architecture": "no_such_net"}, {"pretrained_cfg": {}}],
    ids=str,
)
def test_a_folder_that_is_no_student_is_refused_by_name(tmp_path, change):
    folder = save(make().network, tmp_path / "s")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(StudentError, match="Name a folder that `zoo distill` wrote"):
        load_network(folder)


def test_a_missing_or_broken_config_is_refused_by_name(tmp_path):
    with pytest.raises(StudentError, match=r"nowhere.config\.json does not exist"):
        load_network(tmp_path / "nowhere")
    folder = save(make().network, tmp_path / "s")
    (folder / "config.json").write_text("[1, 2")
    with pytest.raises(StudentError, match=r"config\.json is not valid"):
        load_network(folder)


def test_a_class_name_that_stands_twice_is_refused(tmp_path):
    folder = save(make().network, tmp_path / "s")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"label_names": ["a", "b", "a"]}))
    with pytest.raises(StudentError, match="a name stands twice"):
        load_network(folder)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "d"]])
def test_names_that_do_not_fit_the_classes_are_refused(tmp_path, names):
    folder = save(make().network, tmp_path / "s")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"label_names": names}))
    with pytest.raises(StudentError, match=f"expected 3, one per class, found {len(names)}"):
        load_network(folder)


def test_a_head_of_other_classes_is_no_head_of_a_saved_student(tmp_path):
    folder = save(make(classes=3).network, tmp_path / "s")
    config = json.loads((folder / "config.json").read_text())
    config |= {"label_names": ["a", "b"], "num_classes": 2}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(StudentError, match="do not fit the network"):
        load_network(folder)


def test_what_is_rounded_is_what_is_loaded_again(tmp_path):
    network = make().network.eval()
    round_as_saved(network)
    again, _, _ = load_network(save(network, tmp_path / "s"))
    with torch.inference_mode():
        assert torch.equal(network(pictures()), again(pictures()))


def test_damaged_weights_of_a_student_are_noticed(tmp_path):
    folder = save(make().network, tmp_path / "s")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-100] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(StudentError, match="are damaged"):
        load_network(folder)
