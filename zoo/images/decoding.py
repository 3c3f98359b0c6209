"""Decode image files to upright RGB, resized and cropped for a network."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import ImagesError, first_line
from zoo.system.files import cache_folder
from zoo.system.json_files import read_regular_file
from zoo.system.runtime import Progress
from zoo.system.tensors import scratch_array
from zoo.teachers.card import Preprocessing

FORMATS = {
    "JPEG": ".jpg .jpeg .jpe .jfif",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "AVIF": ".avif .avifs",
    "TIFF": ".tif .tiff",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "PPM": ".ppm .pgm .pbm .pnm",
    "JPEG2000": ".jp2 .j2k .jpf .jpx .j2c .jpc",
    "ICO": ".ico",
    "TGA": ".tga",
    "PCX": ".pcx",
    "SGI": ".sgi .rgb",
    "QOI": ".qoi",
}
"""Formats that are read, as Pillow calls them, and the suffixes of their files.

Of the others some start programs (EPS), are no photographs (WMF, ICNS), or have no closed set of
files (MPEG).
"""
HEIF = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of phones, which the extra `heic` reads."""
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc"})
"""What such a file says of itself after `ftyp`, at its beginning."""


def _with_heif() -> bool:
    """Whether the extra `heic` is installed; then Pillow knows its format from now on."""
    try:
        from pillow_heif import register_heif_opener  # type: ignore
    except ImportError:
        return False
    register_heif_opener()
    return True


if _with_heif():
    FORMATS["HEIF"] = " ".join(HEIF)
SUFFIXES = frozenset(" ".join(FORMATS.values()).split())
"""In lower case."""

MAX_PIXELS = 120_000_000
"""Larger images are skipped: decompression bombs and mosaics."""
MAX_BYTES = 1 << 29
"""Larger files are skipped."""
LARGE_PIXELS = 20_000_000
"""Larger images are decoded one at a time: each needs up to 16 bytes per pixel."""
_ONE_AT_A_TIME = Lock()

DECODED = 1 << 30
"""Bytes of decoded images from which on they lie in a scratch file."""

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,  # a broken PNG
    RuntimeError,  # a broken AVIF
    AttributeError,
    MemoryError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow and the file system raise for an image that cannot be decoded."""

T = TypeVar("T")
R = TypeVar("R")


def decode_images(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    digests: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.uint8]:
    """Decode, resize and crop N images to [N, 3, S, S] uint8, in the geometry of the preprocessing.

    Raises:
        ImagesError: a file changed since `read_images` checked it, or has not the SHA-256 given.
    """
    shape = (len(paths), 3, preprocessing.size, preprocessing.size)
    pixels = scratch_array(shape, cache_folder(), np.uint8, large=DECODED)

    def fill(row: int) -> None:
        with _unchanged(paths[row]):
            content = read_image_file(paths[row])
            if digests is not None and hashlib.sha256(content).hexdigest() != digests[row]:
                raise ValueError("other content")
            pixels[row] = _fit(open_image(content), preprocessing)

    for _ in in_threads(fill, range(len(paths)), len(paths), progress):
        pass
    return pixels


def decode_readable(
    paths: Sequence[Path], preprocessing: Preprocessing
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode, resize and crop images to [N, 3, S, S] uint8 in memory; unreadable ones stay black.

    Also why each cannot be read, [N]; empty text for those that can.
    """
    pixels = np.zeros((len(paths), 3, preprocessing.size, preprocessing.size), dtype=np.uint8)

    def fill(row: int) -> str:
        try:
            pixels[row] = _fit(open_image(read_image_file(paths[row])), preprocessing)
        except UNREADABLE as error:
            return reason(error)
        return ""

    return pixels, [*in_threads(fill, range(len(paths)), len(paths), None)]


def decode_whole(path: Path) -> NDArray[np.uint8]:
    """Decode an image to upright RGB [3, H, W], whole; an ImagesError if it changed."""
    with _unchanged(path):
        return np.asarray(open_image(read_image_file(path))).transpose(2, 0, 1)


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """Turn an error of reading a file that `read_images` checked into one line."""
    try:
        yield
    except UNREADABLE as error:
        raise ImagesError(
            f"{path} changed while it was in use ({reason(error)}): run again."
        ) from error


def fit_pixels(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop RGB [3, H, W] to [3, S, S], as `decode_images` does."""
    return _fit(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))), preprocessing)


def in_threads(
    work: Callable[[T], R], items: Iterable[T], total: int, progress: Progress | None
) -> Iterator[R]:
    """Results of `work` in the order of the items, by threads: decoding releases the GIL."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        # Pillow warns of odd metadata without naming the file
        warnings.simplefilter("ignore")
        for done, result in enumerate(pool.map(work, items), start=1):
            if progress:
                progress(done, total)
            yield result


def read_image_file(path: Path) -> bytes:
    """The content of a regular file of at most `MAX_BYTES`.

    Raises:
        OSError, ValueError: see `zoo.system.json_files.read_regular_file`.
    """
    return read_regular_file(path, MAX_BYTES)


def has_image_header(path: Path) -> bool:
    """Whether a file begins as one of the formats that are read."""
    try:
        with Image.open(io.BytesIO(read_regular_file(path, MAX_BYTES)), formats=[*FORMATS]):
            return True
    except UNREADABLE:
        return False


def open_image(content: bytes, *, draft: bool = False) -> Image.Image:
    """Decode a file in one of `FORMATS` to upright RGB.

    A draft of a JPEG is small, but all of the file is read. `info["largest"]` of the image is the
    largest value of a file of 16 bits.

    Raises:
        Exception: one of `UNREADABLE`: it is not an image, or too large.
    """
    if "HEIF" not in FORMATS and _is_heif(content):
        raise ValueError("it is HEIC, which `pip install 'source-zoo[heic]'` reads")
    with Image.open(io.BytesIO(content), formats=[*FORMATS]) as image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels, too many")
        with _ONE_AT_A_TIME if pixels > LARGE_PIXELS else nullcontext():
            if draft:
                image.draft("RGB", (64, 64))
            image.load()
            try:
                upright = ImageOps.exif_transpose(image)
            except UNREADABLE:  # only the metadata is broken
                upright = image
            return _to_rgb(upright)


def _is_heif(content: bytes) -> bool:
    """Whether a file is one of `HEIF`; AVIF files may call themselves by the same general brand."""
    if content[4:8] != b"ftyp":
        return False
    box = content[8 : min(256, int.from_bytes(content[:4], "big"))]
    return not HEIF_BRANDS.isdisjoint(box[at : at + 4] for at in range(0, len(box), 4))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image in pixels, from its header; an ImagesError if it changed."""
    with _unchanged(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        with Image.open(path, formats=[*FORMATS]) as image:
            return image.size


def thumbnail(path: Path, size: int = 96) -> bytes:
    """A JPEG of at most `size` x `size` pixels, without metadata; an ImagesError if it fails."""
    try:
        image = open_image(read_image_file(path))
    except UNREADABLE as error:
        raise ImagesError(f"{path} cannot be shown: {reason(error)}.") from error
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def reason(error: BaseException) -> str:
    """Why an image cannot be decoded, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image"
    return getattr(error, "strerror", None) or first_line(error)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode: deep grays scaled to 8 bits, transparency on white."""
    image.info.pop("largest", None)  # a file may hold texts of any name
    if image.mode.startswith("I;16"):
        # one white for all pictures: a guess from each picture would make dark ones bright
        values = np.asarray(image)
        largest = int(values.max(initial=0))
        image = Image.fromarray((values.astype(np.float32) * (255 / 65535)).astype(np.uint8))
        rgb = image.convert("RGB")
        rgb.info["largest"] = largest
        return rgb
    if image.mode == "I" or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
        top = float(values.max(initial=0))
        # white is 1 for floats in 0..1, else the maximum of 8 or 16 bits, whichever holds them
        whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        white = next((white for white in whites if top <= white), top)
        image = Image.fromarray(np.clip(values * (255 / white), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop in one pass, [3, S, S]."""
    size, width, height = preprocessing.size, image.width, image.height
    keep = preprocessing.crop_pct
    if preprocessing.crop_mode == "center":
        crop_width = crop_height = min(width, height) * keep
    else:
        crop_width, crop_height = width * keep, height * keep
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    resample = Image.Resampling[preprocessing.interpolation.upper()]
    box = (left, top, left + crop_width, top + crop_height)
    fitted = image.resize((size, size), resample, box=box)
    return np.asarray(fitted).transpose(2, 0, 1)
