"""Decoding: every format and mode as upright RGB, resized and cropped as torchvision does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import paint
from PIL import Image
from torchvision.transforms import v2

from zoo.card import Preprocessing
from zoo.decoding import decode_images, open_image
from zoo.errors import ImagesError

PLAIN = Preprocessing(16, (0, 0, 0), (1, 1, 1), "bicubic")


@pytest.fixture
def photo(tmp_path):
    return paint(tmp_path / "photo.png", (90, 150, 60), 4, size=(60, 44))


def stretch(image):
    """The picture's mean colour."""
    return np.asarray(image).reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.8])
def test_a_centre_crop_equals_torchvisions(photo, interpolation, crop_pct):
    look = replace(PLAIN, size=20, interpolation=interpolation, crop_pct=crop_pct)
    mode = v2.InterpolationMode[interpolation.upper()]
    resize = v2.Compose([v2.Resize(round(20 / crop_pct), mode), v2.CenterCrop(20)])
    expected = np.asarray(resize(Image.open(photo))).transpose(2, 0, 1).astype(int)
    found = decode_images([photo], look)[0].astype(int)
    assert found.shape == (3, 20, 20)
    # ours crops at fractions of a pixel, torchvision at whole ones
    assert np.abs(found - expected).mean() < 8


def test_a_square_image_equals_pillows_own_resize(tmp_path):
    path = paint(tmp_path / "a.png", (200, 10, 90), 1, size=(40, 40))
    expected = np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BICUBIC))
    assert (decode_images([path], PLAIN)[0] == expected.transpose(2, 0, 1)).all()


def test_squashing_keeps_the_borders_that_a_centre_crop_loses(tmp_path):
    wide = Image.new("RGB", (60, 20), "black")
    wide.paste("white", (0, 0, 15, 20))
    wide.save(tmp_path / "wide.png")
    centre = decode_images([tmp_path / "wide.png"], PLAIN)[0]
    squash = decode_images([tmp_path / "wide.png"], replace(PLAIN, crop_mode="squash"))[0]
    assert centre.max() < 10
    assert squash[:, :, 0].min() > 245


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
def test_every_format_gives_about_the_same_picture(tmp_path, suffix):
    Image.new("RGB", (32, 32), (200, 60, 40)).save(tmp_path / f"a.{suffix}")
    (pixels,) = decode_images([tmp_path / f"a.{suffix}"], PLAIN)
    assert np.abs(pixels.mean(axis=(1, 2)) - (200, 60, 40)).max() < 6


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("LA", (0, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("I;16", 257 * 80, (80, 80, 80)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, value, expected):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (20, 20), value).save(path)
    assert np.abs(stretch(open_image(path.read_bytes())) - expected).max() <= 1


def test_a_palette_with_transparency_lies_on_white(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.save(tmp_path / "a.png", transparency=0)
    assert stretch(open_image((tmp_path / "a.png").read_bytes())).min() == 255


def test_the_first_picture_of_an_animation_counts(tmp_path):
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert np.abs(stretch(open_image((tmp_path / "a.gif").read_bytes())) - (255, 0, 0)).max() < 3


def test_the_camera_s_rotation_is_undone(tmp_path):
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: the left half is shown on top
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = np.asarray(open_image((tmp_path / "a.jpg").read_bytes())).astype(int)
    assert upright.shape == (40, 20, 3)
    assert upright[:15].mean() > 240
    assert upright[25:].mean() < 15


@pytest.mark.parametrize("loss", ["deleted", "damaged"])
def test_a_file_that_changed_since_it_was_read_is_one_clear_line(photo, loss):
    if loss == "deleted":
        photo.unlink()
    else:
        photo.write_bytes(b"x")
    with pytest.raises(ImagesError, match="changed while it was in use"):
        decode_images([photo], PLAIN)


def test_progress_counts_every_image(photo):
    seen = []
    pixels = decode_images([photo] * 5, PLAIN, progress=lambda *now: seen.append(now))
    assert seen == [(i, 5) for i in range(1, 6)]
    assert torch.from_numpy(pixels).dtype == torch.uint8
