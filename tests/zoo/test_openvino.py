"""Teachers on OpenVINO give torch's features, or are left to torch."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from zoo.features import inference, openvino
from zoo.features.inference import embed
from zoo.teachers.loading import Teacher, load_teacher

pytestmark = pytest.mark.usefixtures("plain_numbers")

FAMILIES = {
    "test_resnet": {},
    "test_efficientnet": {},
    "test_convnext": {},
    "test_vit": {"img_size": 64},
    "tf_mobilenetv3_small_minimal_100": {},
    "levit_128s": {"distilled": False},
    "edgenext_xx_small": {},
}


class Twice(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        outputs = self.network(images)
        return outputs, 2 * outputs


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def teacher(toy_zoo):
    inference._convert.cache_clear()
    return load_teacher(toy_zoo[0])


@pytest.fixture
def converting(monkeypatch):
    """Pretend that few images are many; whether networks were converted."""
    found = []

    def convert(*given, **options):
        found.append(real(*given, **options))
        return found[-1]

    real = openvino.convert
    monkeypatch.setattr(openvino, "WORTHWHILE", 1)
    monkeypatch.setattr(openvino, "convert", convert)
    return found


@pytest.mark.parametrize("arch", FAMILIES)
def test_converted_networks_give_the_outputs_of_torch_for_any_number_of_images(arch):
    size = 224 if arch.startswith("levit") else 64
    torch.manual_seed(0)
    network = timm.create_model(arch, num_classes=3, **FAMILIES[arch]).eval()

    images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0))
    run = openvino.convert(Twice(network), images[:2], bfloat16=False)
    assert run
    with torch.no_grad():
        expected = network(images)
    for factor, found in zip((1, 2), run(images), strict=True):
        gap = (found - factor * expected).abs().max()
        assert gap <= 1e-3 * factor * expected.abs().max()


@pytest.mark.parametrize("classes", [True, False])
def test_the_features_of_many_images_are_those_of_few(teacher, pixels, converting, classes):
    if not classes:
        teacher = Teacher(
            replace(teacher.card, classes=0, labels=()), teacher.network, teacher.device
        )
    few = embed(teacher, pixels)
    assert not converting
    many = embed(teacher, pixels, total=10**6)
    assert converting
    assert converting[0]
    assert np.allclose(few.embeddings, many.embeddings, rtol=1e-4, atol=1e-5)
    assert few.logits.shape == many.logits.shape
    assert np.allclose(few.logits, many.logits, rtol=1e-4, atol=1e-5)


def test_a_network_is_converted_once_for_all_shards(teacher, pixels, converting):
    for _ in range(3):
        embed(teacher, pixels, total=10**6)
    assert len(converting) == 1


def test_a_conversion_that_changes_the_outputs_is_not_used(
    teacher, pixels, converting, monkeypatch
):
    compiled = openvino._compile
    expected = embed(teacher, pixels)

    def wrong(*given, **options):
        run = compiled(*given, **options)
        return lambda images: tuple(1.01 * part for part in run(images))

    monkeypatch.setattr(openvino, "_compile", wrong)
    found = embed(teacher, pixels, total=10**6)
    assert converting == [None]
    assert np.array_equal(found.embeddings, expected.embeddings)


def test_a_network_that_cannot_be_converted_runs_on_torch(teacher, pixels, converting, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no translation of aten::roll")

    monkeypatch.setattr(openvino, "_compile", fail)
    assert len(embed(teacher, pixels, total=10**6)) == 5
    assert converting == [None]


def test_without_openvino_torch_runs(teacher, pixels, converting, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(openvino, "find_spec", lambda _: None)
    assert len(embed(teacher, pixels, total=10**6)) == 5
    assert not converting


def test_few_images_are_not_worth_a_conversion_and_a_gpu_needs_none():
    cpu = torch.device("cpu")
    assert openvino.pays(256, 224, cpu)
    assert not openvino.pays(255, 224, cpu)
    assert not openvino.pays(10**6, 224, torch.device("cuda"))
