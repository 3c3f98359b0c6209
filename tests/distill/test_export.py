"""ONNX files and runtimes side by side, without the command: `test_cli_export.py` has that."""

import json
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from cli.commands.student import FileFormat
from distill.export import formats, latency
from distill.export.export import measure_parity, predict_batches
from distill.export.formats import FORMATS, check_format
from distill.export.latency import measure_latency
from distill.export.module import QuantizationInput, describe, draw_noise
from distill.export.onnx_file import OPSET, add_metadata, convert, onnx_predictor, quantize
from tests.support.toys import build_teacher
from zoo.errors import StudentError
from zoo.teachers.card import Preprocessing, sha256_of

LOOK = Preprocessing(8, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", 0.9)


@pytest.fixture(scope="module")
def network():
    """Its 3 logits see every pixel of every channel."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3)).eval()


@pytest.fixture(scope="module")
def converted(network):
    return convert(network, LOOK)


def by_hand(network, pixels, look):
    """The same in numpy: normalize, multiply, softmax."""
    mean, std = (np.array(values)[:, None, None] for values in (look.mean, look.std))
    x = ((pixels / 255 - mean) / std).reshape(len(pixels), -1)
    weight, bias = (p.detach().numpy().astype(float) for p in network[1].parameters())
    powers = np.exp(x @ weight.T + bias)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_file_normalizes_and_has_softmax_for_any_batch(network, converted, count):
    pixels = draw_noise(8, 8)[-count:]
    found = onnx_predictor(converted)(pixels)
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, by_hand(network, pixels, LOOK), atol=1e-5)


def test_the_file_takes_uint8_only_and_states_its_opset(converted):
    with pytest.raises(Exception, match="uint8"):
        onnx_predictor(converted)(np.zeros((1, 3, 8, 8), dtype=np.float32))  # pyright: ignore
    model = onnx.load_from_string(converted)
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [OPSET]


def test_the_metadata_describe_input_and_output(converted, tmp_path):
    card = build_teacher(tmp_path / "s", "s", labels=("ü [b]", 'q "x"', "🙂"))
    folder = tmp_path / "s"
    shape = "uint8 [B, 3, 8, 8]"
    about = describe(folder, card.labels, LOOK, precision="float32", pixels=shape)
    told = onnx.load_from_string(add_metadata(converted, about))
    facts = {entry.key: entry.value for entry in told.metadata_props}
    assert json.loads(facts["classes"]) == list(card.labels)
    assert json.loads(facts["mean"]) == [0.4, 0.5, 0.6]
    assert json.loads(facts["std"]) == [0.2, 0.3, 0.4]
    assert (facts["image_size"], facts["crop_pct"], facts["crop_mode"]) == ("8", "0.9", "center")
    assert (facts["interpolation"], facts["precision"]) == ("bicubic", "float32")
    assert (facts["architecture"], facts["license"]) == ("test_resnet", "mit")
    assert facts["weights_sha256"] == sha256_of(folder / "model.safetensors")
    assert "not normalized" in facts["input"]
    assert "softmax" in facts["output"]


def in_8_bits(network, content, pixels, folder):
    (folder / "model.onnx").write_bytes(content)
    source = QuantizationInput(folder / "model.onnx", network, LOOK, pixels)
    quantize(source, folder / "model.int8.onnx")
    return (folder / "model.int8.onnx").read_bytes()


def test_int8_measures_its_ranges_on_the_images_and_stays_near(network, converted, tmp_path):
    pixels = draw_noise(8, 20)
    small = in_8_bits(network, converted, pixels, tmp_path)
    found, wanted = onnx_predictor(small)(pixels), by_hand(network, pixels, LOOK)
    # ranges are means of the images' extremes, so the most extreme values are cut
    assert 0 < np.abs(found - wanted).mean() < 0.05
    kinds = {node.op_type for node in onnx.load_from_string(small).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert in_8_bits(network, converted, np.full_like(pixels, 9), tmp_path) != small


def test_a_network_that_torch_cannot_export_is_one_line():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x).mean(dim=(2, 3))

    with pytest.raises(StudentError, match="torch cannot export this network") as caught:
        convert(Odd().eval(), LOOK)
    assert len(str(caught.value)) < 400


def test_neither_conversion_nor_quantization_prints_anything(network, capfd, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_8_bits(network, convert(network, LOOK), draw_noise(8), tmp_path)
    assert capfd.readouterr() == ("", "")


PACKAGES = [
    (name, package)
    for name, kind in FORMATS.items()
    for package in (*kind.packages, *kind.quantizer)
]


@pytest.mark.parametrize(("name", "package"), PACKAGES)
def test_a_missing_package_is_one_line_that_names_its_extra(monkeypatch, name, package):
    real = formats.find_spec
    monkeypatch.setattr(formats, "find_spec", lambda asked: None if asked == package else 1)
    line = rf"needs {package}: pip install 'source-zoo\[{FORMATS[name].extra}\]'"
    with pytest.raises(StudentError, match=line):
        check_format(name, int8=FORMATS[name].quantize is not None)
    assert real("torch")


def test_every_extra_is_declared_and_every_format_is_an_option():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = {kind.extra for kind in FORMATS.values()} - {""}
    assert extras <= project["optional-dependencies"].keys()
    assert [each.value for each in FileFormat] == list(FORMATS)


@pytest.mark.parametrize("name", ["torch", "coreml"])
def test_a_format_without_int8_says_which_have_it(name):
    with pytest.raises(StudentError, match=r"no int8 file of .*: choose one of onnx, openvino"):
        check_format(name, int8=True)


def test_parity_is_the_largest_gap_and_the_share_of_equal_top_classes():
    one = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    other = np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]], dtype=np.float32)
    found = measure_parity(one, other)
    assert found.difference == pytest.approx(0.2)
    assert found.agreement == 0.75
    other[2, 0] = np.nan
    assert np.isnan(measure_parity(one, other).difference)
    with pytest.raises(ValueError, match="cannot be compared"):
        measure_parity(one, other[:3])
    with pytest.raises(ValueError, match="cannot be compared"):
        measure_parity(one[:0], other[:0])


def test_predictions_come_in_batches_and_in_order():
    sizes = []

    def answer(pixels):
        sizes.append(len(pixels))
        return pixels[:, :2, 0, 0].astype(np.float32)

    pixels = draw_noise(8, 10)
    np.testing.assert_array_equal(predict_batches(answer, pixels, batch=4), answer(pixels))
    assert sizes == [4, 4, 2, 10]


def test_noise_goes_from_even_gray_to_all_values_and_is_always_the_same():
    noise = draw_noise(16)
    assert (noise.shape, noise.dtype) == ((8, 3, 16, 16), np.uint8)
    assert np.all(noise[0] == 128)
    assert noise[-1].min() < 3 < 252 < noise[-1].max()
    np.testing.assert_array_equal(noise, draw_noise(16))


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by `steps` milliseconds whenever a network answers."""
    state = SimpleNamespace(now=0.0, steps=iter(()), calls=0)

    def answer(_):
        state.calls += 1
        state.now += next(state.steps) / 1000

    state.answer = answer
    watch = SimpleNamespace(perf_counter=lambda: state.now)
    monkeypatch.setattr(latency, "time", watch)
    return state


def test_latency_is_the_median_and_the_95th_percentile_after_warming_up(clock):
    clock.steps = iter([9000, 900, *range(1, 101)])
    found = measure_latency(clock.answer, draw_noise(8)[:1], warmup=2, runs=100, limit=60)
    assert found.median == pytest.approx(50.5)
    assert found.p95 == pytest.approx(95.05)
    assert (found.runs, clock.calls) == (100, 102)


def test_a_slow_network_is_timed_no_longer_than_the_limit(clock):
    clock.steps = iter([2000] * 50)
    found = measure_latency(clock.answer, draw_noise(8)[:1], warmup=20, runs=200, limit=10)
    assert (found.runs, clock.calls) == (5, 10)
    clock.steps = iter([60_000] * 2)
    assert measure_latency(clock.answer, draw_noise(8)[:1]).runs == 1
