"""Every format against numpy, in its own runtime; those that are not installed are skipped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from distill.export.formats import FORMATS
from distill.export.module import QuantizationInput, draw_noise, silence
from distill.export.onnx_file import Resize, add_resize, convert, onnx_predictor
from zoo.teachers.card import Preprocessing

LOOK = Preprocessing(8, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", 0.9)
RUN_HERE = [name for name, kind in FORMATS.items() if kind.load]
IN_8_BITS = [name for name, kind in FORMATS.items() if kind.quantize]


class Tiny(nn.Module):
    """Its 3 logits see every pixel of every channel: 4 x 4 patches, ReLU, linear."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.head = nn.Linear(8 * 4, 3)

    def forward(self, x):
        return self.head(self.patches(x).relu().flatten(1))


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tiny().eval()


def by_hand(network, pixels, look=LOOK):
    """The same in numpy: normalize, patches as one matrix, ReLU, matrix, softmax."""
    mean, std = (np.array(values)[:, None, None] for values in (look.mean, look.std))
    x = (pixels / 255 - mean) / std
    parts = x.reshape(len(x), 3, 2, 4, 2, 4).transpose(0, 2, 4, 1, 3, 5).reshape(len(x), 4, 48)
    w, b, head, bias = (p.detach().numpy().astype(float) for p in network.parameters())
    hidden = np.maximum(parts @ w.reshape(8, 48).T + b, 0).transpose(0, 2, 1).reshape(len(x), 32)
    powers = np.exp(hidden @ head.T + bias)
    return powers / powers.sum(axis=1, keepdims=True)


class Exponential(nn.Module):
    """Hundreds of times larger for white than for gray."""

    def forward(self, x):
        return x.mean(dim=(2, 3)).exp()


def test_ranges_are_not_measured_on_an_image_of_extreme_activations():
    pixels = np.full((20, 3, 8, 8), 100, dtype=np.uint8)
    pixels[7], pixels[3] = 255, 101
    network = nn.Sequential(Exponential(), nn.Tanh())  # it does not show in the logits
    measured = np.concatenate(QuantizationInput(Path(), network, LOOK, pixels).images())
    assert np.array_equal(measured, np.delete(pixels, 7, axis=0))


def need(*packages):
    for package in packages:
        with silence():
            pytest.importorskip(package)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RUN_HERE)
def test_a_file_says_in_its_runtime_what_numpy_says(network, name, tmp_path):
    kind = FORMATS[name]
    need(*kind.packages)
    path = tmp_path / f"model{kind.suffix}"
    kind.convert(network, LOOK, path)
    pixels = draw_noise(8)
    assert kind.load
    found = kind.load(path)(pixels)
    np.testing.assert_allclose(found, by_hand(network, pixels), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", IN_8_BITS)
def test_a_file_in_8_bits_stays_near_and_its_ranges_are_those_of_the_images(
    network, name, tmp_path
):
    kind = FORMATS[name]
    need(*kind.packages, *kind.quantizer)
    plain, pixels = tmp_path / f"model{kind.suffix}", draw_noise(8, 20)
    kind.convert(network, LOOK, plain)
    outputs = []
    for index, images in enumerate((pixels, np.full_like(pixels, 9))):
        path = tmp_path / str(index) / plain.name
        path.parent.mkdir()
        assert kind.quantize
        assert kind.load
        kind.quantize(QuantizationInput(plain, network, LOOK, images), path)
        outputs.append(kind.load(path)(pixels))
    gap = np.abs(outputs[0] - by_hand(network, pixels)).max()
    assert 1e-4 < gap < 0.1
    assert np.abs(outputs[1] - by_hand(network, pixels)).max() > 1.5 * gap
    assert np.abs(outputs[0].sum(axis=1) - 1).max() < 1e-2


@pytest.mark.filterwarnings("ignore")
def test_a_package_of_coreml_takes_an_image(network, tmp_path):
    need("coremltools")
    import coremltools as ct  # type: ignore

    path = tmp_path / "model.mlpackage"
    FORMATS["coreml"].convert(network, LOOK, path)
    with silence():
        about = ct.models.MLModel(str(path), skip_model_load=True).get_spec().description
    image = about.input[0].type.imageType
    assert (about.input[0].name, image.width, image.height) == ("pixels", 8, 8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("keep", [1.0, 0.875])
def test_resizing_inside_is_pillows_but_for_rounding(interpolation, mode, keep):
    look = Preprocessing(16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation, keep, mode)
    draw = np.random.default_rng(3)
    for height, width in ((41, 31), (9, 5), (97, 33), (16, 16), (7, 90)):
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        wide, high = (min(width, height),) * 2 if mode == "center" else (width, height)
        wide, high = wide * keep, high * keep
        left, top = (width - wide) / 2, (height - high) / 2
        wanted = Image.fromarray(pixels).resize(
            (16, 16),
            Image.Resampling[interpolation.upper()],
            box=(left, top, left + wide, top + high),
        )
        found = Resize(look)(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))[0]
        gap = np.abs(found.numpy().astype(int) - np.asarray(wanted).transpose(2, 0, 1))
        # Pillow 13 begins with either axis, and many sums end in exactly a half
        assert gap.max() <= 2
        assert (gap > 0).mean() < 0.3


def test_a_file_that_resizes_takes_images_of_several_sizes(network):
    content = convert(network, LOOK)
    plain, resizing = onnx_predictor(content), onnx_predictor(add_resize(content, LOOK))
    with torch.inference_mode():
        for pixels in (draw_noise(20, 3), draw_noise(31, 2)[:, :, :, :9], draw_noise(8, 1)):
            fitted = Resize(LOOK)(torch.from_numpy(pixels)).numpy()
            np.testing.assert_allclose(resizing(pixels), plain(fitted), atol=1e-6)
