"""Decode image files to upright RGB, resized and cropped for a network."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import ImagesError, first_line
from zoo.system.files import cache_folder
from zoo.system.runtime import Progress
from zoo.system.tensors import scratch_array
from zoo.teachers.card import Preprocessing

MAX_PIXELS = 120_000_000
"""Larger images are skipped: decompression bombs and mosaics."""

DECODED = 1 << 30
"""Bytes of decoded images from which on they lie in a scratch file."""

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,  # a broken PNG
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
    """Decode, resize and crop images to [N, 3, S, S] uint8.

    Args:
        paths: [N].
        preprocessing: of which only the geometry is used.
        digests: [N] SHA-256 of the contents, which are compared if given.
        progress: called for each image.

    Raises:
        ImagesError: a file changed since `read_images` checked it.
    """
    shape = (len(paths), 3, preprocessing.size, preprocessing.size)
    pixels = scratch_array(shape, cache_folder(), np.uint8, large=DECODED)

    def fill(row: int) -> None:
        try:
            content = paths[row].read_bytes()
            if digests is not None and hashlib.sha256(content).hexdigest() != digests[row]:
                raise ValueError("other content")
            pixels[row] = _fit(open_image(content), preprocessing)
        except UNREADABLE as error:
            raise ImagesError(
                f"{paths[row]} changed while it was in use ({reason(error)}): run again."
            ) from error

    for _ in in_threads(fill, range(len(paths)), len(paths), progress):
        pass
    return pixels


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


def open_image(content: bytes, *, draft: bool = False) -> Image.Image:
    """Decode to upright RGB; `draft` decodes a JPEG at a small size, still reading all of it."""
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels, too many")
        if draft:
            image.draft("RGB", (64, 64))
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except UNREADABLE:  # only the metadata is broken
            upright = image
        return _to_rgb(upright)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, in pixels, from its header.

    Raises:
        ImagesError: the file is gone, or no image any more.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except UNREADABLE as error:
        raise ImagesError(
            f"{path} changed while it was in use ({reason(error)}): run again."
        ) from error


def thumbnail(path: Path, size: int = 96) -> bytes:
    """A JPEG of at most `size` x `size` pixels, without metadata.

    Raises:
        ImagesError: the file cannot be decoded.
    """
    try:
        image = open_image(path.read_bytes())
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
    if image.mode.startswith("I") or image.mode == "F":
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
