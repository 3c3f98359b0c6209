"""Decode images: any file as upright RGB, resized and cropped as a network wants it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .card import Preprocessing
from .errors import ImagesError

MAX_PIXELS = 120_000_000
"""An image of more pixels than this is skipped: it is a decompression bomb or a mosaic."""

UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,  # Pillow's word for a broken PNG
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow and the file system raise for an image that cannot be decoded."""

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""


T = TypeVar("T")
R = TypeVar("R")


def decode_images(
    paths: Sequence[Path], preprocessing: Preprocessing, *, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Decode, resize and crop once for all networks of this geometry; [N, 3, S, S] uint8.

    Raises:
        ImagesError: a file changed since `read_images` checked it.
    """
    size = preprocessing.size
    pixels = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def fill(row: int) -> None:
        try:
            pixels[row] = _fit(open_image(paths[row].read_bytes()), preprocessing)
        except UNREADABLE as error:
            raise ImagesError(
                f"{paths[row]} changed while it was in use ({error}): run again."
            ) from error

    for _ in in_threads(fill, range(len(paths)), len(paths), progress):
        pass
    return pixels


def in_threads(
    work: Callable[[T], R], items: Iterable[T], total: int, progress: Progress | None
) -> Iterator[R]:
    """Results in the order of the items, worked out by threads: decoding releases the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, items), start=1):
            if progress:
                progress(done, total)
            yield result


def open_image(content: bytes, *, draft: bool = False) -> Image.Image:
    """Decode to upright RGB; `draft` decodes a JPEG small, which still reads all of the file."""
    with Image.open(io.BytesIO(content)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels, too many")
        if draft:
            image.draft("RGB", (64, 64))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bits scaled to 8, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 257.0 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop in one pass, [3, S, S]: only the pixels that the crop keeps are made."""
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
