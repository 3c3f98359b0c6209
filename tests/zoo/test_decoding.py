"""Decoding: any file as upright RGB, resized and cropped as torchvision would."""

import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from tests.support.toys import paint
from zoo.errors import ImagesError
from zoo.images import decoding as decoding_module
from zoo.images.decoding import UNREADABLE, decode_images, open_image, thumbnail
from zoo.images.folder import read_images
from zoo.teachers.card import Preprocessing

LOOK = Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")


def encode(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pixels(content):
    return np.asarray(open_image(content)).astype(int)


def ramp(top, dtype):
    """A gray wedge from 0 to `top`, [8, 256]."""
    return np.tile(np.linspace(0, top, 256), (8, 1)).astype(dtype)


@pytest.fixture
def smooth(tmp_path):
    """A smooth image, wider than high: rounding of a crop by a pixel changes it little."""
    y, x = np.mgrid[:80, :120]
    waves = [np.sin(x / 19) + np.cos(y / 13), np.sin((x + y) / 23), np.cos(x / 29)]
    values = (np.stack(waves, -1) * 55 + 125).clip(0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "smooth.png")
    return tmp_path / "smooth.png"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.8])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
def test_pixels_equal_torchvisions(smooth, interpolation, crop_pct, crop_mode):
    look = replace(LOOK, interpolation=interpolation, crop_pct=crop_pct, crop_mode=crop_mode)
    scaled = round(16 / crop_pct)
    slow = v2.Compose(
        [
            v2.Resize(
                scaled if crop_mode == "center" else (scaled, scaled),
                InterpolationMode(interpolation),
                antialias=True,
            ),
            v2.CenterCrop(16),
        ]
    )
    expected = np.asarray(slow(Image.open(smooth))).transpose(2, 0, 1).astype(int)
    decoded = decode_images([smooth], look)[0].astype(int)
    assert np.abs(decoded - expected).max() <= 2


def test_every_part_of_the_geometry_changes_the_pixels(tmp_path):
    path = paint(tmp_path / "x.png", (90, 120, 60), size=(40, 24))
    changes = [{}, {"interpolation": "bicubic"}, {"crop_pct": 0.8}, {"crop_mode": "squash"}]
    results = [decode_images([path], replace(LOOK, **change)).tobytes() for change in changes]
    assert len(set(results)) == 4
    assert decode_images([path], replace(LOOK, size=20)).shape == (1, 3, 20, 20)


def test_rows_follow_the_paths_and_progress_counts_them(imgs):
    paths = read_images(imgs).paths
    said = []
    whole = decode_images(paths, LOOK, progress=lambda *count: said.append(count))
    for row, path in enumerate(paths):
        assert (whole[row] == decode_images([path], LOOK)[0]).all()
    assert said == [(i, len(paths)) for i in range(1, len(paths) + 1)]
    assert decode_images([], LOOK).shape == (0, 3, 16, 16)


def test_images_that_would_fill_the_memory_lie_in_a_file(tmp_path, monkeypatch):
    paths = [paint(tmp_path / f"{seed}.png", (9, 99, 200), seed) for seed in range(3)]
    whole = decode_images(paths, LOOK)
    assert not isinstance(whole.base, np.memmap)
    monkeypatch.setattr(decoding_module, "DECODED", 3 * 3 * 16 * 16)
    mapped = decode_images(paths, LOOK)
    assert isinstance(mapped.base, np.memmap)
    assert np.array_equal(mapped, whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2)])
def test_images_of_any_shape_fit(tmp_path, size):
    Image.new("RGB", size, (200, 10, 30)).save(tmp_path / "x.png")
    for mode in ("center", "squash"):
        decoded = decode_images([tmp_path / "x.png"], replace(LOOK, crop_pct=0.1, crop_mode=mode))
        assert (decoded[0] == np.array([200, 10, 30])[:, None, None]).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA"])
def test_every_mode_becomes_the_color_it_shows(mode):
    image = Image.new("RGB", (8, 8), "white")
    image.paste("black", (0, 0, 4, 8))
    content = encode(image.convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    shown = pixels(content)
    assert shown.shape == (8, 8, 3)
    assert shown[0, 0].max() <= 1
    assert shown[0, 7].min() >= 254


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_red_is_red(kind):
    assert np.abs(pixels(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind))
                  - [255, 0, 0]).max() <= 3  # fmt: skip


@pytest.mark.parametrize(
    ("top", "dtype", "kind"),
    [
        (65535, np.uint16, "PNG"),
        (65535, np.uint16, "TIFF"),
        (65535, ">u2", "TIFF"),
        (2e9, np.int32, "TIFF"),
        (1, np.float32, "TIFF"),
        (255, np.float32, "TIFF"),
        (65535, np.float32, "TIFF"),
        (255, np.int32, "TIFF"),
    ],
)
def test_deep_grays_keep_their_whole_range(top, dtype, kind):
    shown = pixels(encode(Image.fromarray(ramp(top, dtype)), kind))
    assert np.abs(shown[..., 0] - ramp(255, int)).max() <= 1
    assert (shown[..., 0] == shown[..., 2]).all()


def test_numbers_that_are_none_become_black_without_a_warning():
    values = ramp(200, np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    shown = pixels(encode(Image.fromarray(values), "TIFF"))
    assert shown[0, :3].max() == 0
    assert shown[1, 255, 0] == 200


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.paste((0, 0, 255, 128), (0, 0, 2, 4))
    image.paste((0, 0, 255, 255), (0, 0, 1, 4))
    shown = pixels(encode(image))
    assert shown[0, 0].tolist() == [0, 0, 255]
    assert np.abs(shown[0, 1] - [127, 127, 255]).max() <= 1
    assert shown[0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["P", "L"])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(mode, kind):
    content = encode(Image.new(mode, (4, 4), 0), kind, transparency=0)
    assert (pixels(content) == 255).all()


def test_the_first_picture_of_an_animation_counts():
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        shown = pixels(encode(first, kind, save_all=True, append_images=[second]))
        assert np.abs(shown[4, 4] - [200, 0, 0]).max() <= 8, kind


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_photos_are_turned_upright(turn, kind):
    values = np.zeros((16, 32, 3), np.uint8)
    values[:8, :16] = 255
    undo = {1: [], 2: [1], 3: [0, 1], 4: [0]}
    # how a camera that writes this orientation stores an upright scene
    stored = values if turn < 5 else values.transpose(1, 0, 2)
    stored = np.flip(stored, {5: [], 6: [0], 7: [0, 1], 8: [1]}.get(turn) or undo.get(turn, []))
    exif = Image.Exif()
    exif[0x0112] = turn
    shown = pixels(encode(Image.fromarray(stored), kind, exif=exif))
    assert shown.shape == values.shape
    assert np.abs(shown - values).max() <= 40


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\x00\x00\xff\xff"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_broken_metadata_does_not_cost_the_image(exif, kind, tmp_path):
    (tmp_path / "x.jpg").write_bytes(encode(Image.new("RGB", (9, 8), "red"), kind, exif=exif))
    assert len(read_images(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_damaged_files_fail_in_a_known_way_and_alike_when_checked_and_when_used(kind, tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (24, 20, 3), dtype=np.uint8))
    whole = encode(noise, kind)
    for _ in range(150):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(content), rng.integers(0, 4)):
            content[place] = rng.integers(0, 256)
        readable = []
        for draft in (True, False):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    open_image(bytes(content), draft=draft)
                    readable.append(True)
                except UNREADABLE:
                    readable.append(False)
        assert readable[0] == readable[1]


def test_a_file_deleted_damaged_or_replaced_since_reading_is_an_error(imgs):
    images = read_images(imgs)
    victim = images.paths[3]
    replacements = [None, b"", b"x", images.paths[4].read_bytes()]
    for content in replacements:
        victim.unlink(missing_ok=True)
        if content is not None:
            victim.write_bytes(content)
        with pytest.raises(ImagesError, match="changed while it was in use") as caught:
            decode_images(images.paths, LOOK, digests=images.digests)
        assert str(victim) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_thumbnail_is_the_whole_image_small_and_without_metadata(tmp_path):
    path = tmp_path / "wide.jpg"
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    left, right = Image.new("RGB", (400, 200), "red"), Image.new("RGB", (200, 200), "blue")
    left.paste(right, (200, 0))
    left.save(path, exif=exif)
    small = Image.open(io.BytesIO(thumbnail(path)))
    assert (small.format, small.size) == ("JPEG", (96, 48))
    assert not small.getexif()
    for column, color in ((5, (255, 0, 0)), (90, (0, 0, 255))):
        assert small.getpixel((column, 24)) == pytest.approx(color, abs=8)


def test_a_thumbnail_of_no_image_says_which(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    for name in ("broken.png", "gone.png"):
        with pytest.raises(ImagesError, match=f"{name} cannot be shown"):
            thumbnail(tmp_path / name)


@pytest.mark.skipif("HEIF" in decoding_module.FORMATS, reason="the extra heic is installed")
@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"])
def test_a_picture_of_a_phone_names_the_extra_that_reads_it(brands):
    with pytest.raises(ValueError, match=r"source-zoo\[heic\]"):
        open_image(b"\0\0\0\x18ftyp" + brands + bytes(40))


def test_an_avif_of_the_general_brand_is_read():
    content = encode(Image.new("RGB", (16, 16), (200, 40, 40)), "AVIF")
    assert pixels(content[:8] + b"mif1" + content[12:]).mean() == pytest.approx(93, abs=8)
