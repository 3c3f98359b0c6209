"""export_student: a file for another runtime, its parity with torch, accuracy and latency."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distill.evaluation.evaluate import refuse_unknown
from distill.export.formats import Format, check_format
from distill.export.latency import Latency, measure_latency, one_thread, torch_predictor
from distill.export.module import Predictor, QuantizationInput, describe, draw_noise
from distill.export.onnx_file import OPSET, add_metadata, add_resize, load, onnx_predictor
from distill.student import WEIGHTS_FILE, load_network
from zoo.errors import StudentError, first_line
from zoo.images.decoding import decode_images, decode_whole, fit_pixels
from zoo.images.folder import Images
from zoo.system.files import atomic_folder
from zoo.system.runtime import Progress
from zoo.teachers.card import Preprocessing

PRECISIONS = ("float32", "int8")
TOLERANCE = 1e-4
"""Maximum difference of a probability between torch and a file in float32."""
RESIZE_TOLERANCE = 1e-2
"""Maximum difference where the file resizes: a pixel of thousands is rounded the other way."""
RESIZED = 24
"""Maximum number of images, evenly spread, on which that is compared."""
AGREEMENT = 0.95
"""Minimum top-1 agreement of int8 with torch, 0..1; below it there is a warning."""


@dataclass(frozen=True)
class Parity:
    """Difference of two runtimes' probabilities on the same images.

    At most, 0..1, NaN if one is not a number; and the fraction of images of the same top class.
    """

    difference: float
    agreement: float


def measure_parity(one: NDArray[np.float32], other: NDArray[np.float32]) -> Parity:
    """Compare probabilities [N, C] of the same images; other shapes or N = 0 are a ValueError."""
    if one.shape != other.shape or not len(one):
        raise ValueError(f"probabilities {one.shape} and {other.shape} cannot be compared")
    same = one.argmax(axis=1) == other.argmax(axis=1)
    return Parity(float(np.abs(one - other).max()), float(same.mean()))


def predict_batches(
    predictor: Predictor, pixels: NDArray[np.uint8], *, batch: int = 32
) -> NDArray[np.float32]:
    """Probabilities [N, C] of pixels [N, 3, S, S], N at least 1, in batches."""
    starts = range(0, len(pixels), batch)
    return np.concatenate([predictor(pixels[start : start + batch]) for start in starts])


@dataclass(frozen=True)
class RuntimeCost:
    """A runtime of the student and its cost.

    Attributes:
        name: `torch`, or the runtime of a format.
        precision: `float32` or `int8`.
        bytes: size of the file or files.
        latency: of one image on one thread; None where nothing here can run the file.
        accuracy: on the labeled images, 0..1; None without any.
    """

    name: str
    precision: str
    bytes: int
    latency: Latency | None
    accuracy: float | None = None


@dataclass(frozen=True)
class Exported:
    """The exported file and its parity with torch.

    Attributes:
        path: of the file.
        format: one of `distill.export.formats.FORMATS`.
        precision: `float32` or `int8`, of the file.
        difference: maximum difference of a probability, 0..1, over random and the given images; for
            int8 over the given ones alone, which it is calibrated on; None where nothing on this
            machine can run the file.
        images: number of images of the comparison.
        agreement: fraction of them with torch's top class, 0..1; None without any.
        runtimes: torch, the file in float32, then in int8 if requested.
        labeled: number of labeled images of the student's classes.
        unknown_classes: of other labeled images, which do not count.
        resized: maximum difference where the file in float32 resizes the images itself; None if it
            does not.
    """

    path: Path
    format: str
    precision: str
    difference: float | None
    images: int
    agreement: float | None
    runtimes: tuple[RuntimeCost, ...]
    labeled: int = 0
    unknown_classes: tuple[str, ...] = ()
    resized: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the agreement is at least `AGREEMENT`; true without images."""
        return self.agreement is None or self.agreement >= AGREEMENT

    def to_json(self) -> dict[str, Any]:
        """What was written as `zoo export --json` shows it."""
        torch_row, file_row = self.runtimes[0], self.runtimes[-1]
        return {
            **asdict(self),
            "path": str(self.path),
            "bytes": file_row.bytes,
            "accuracy": file_row.accuracy,
            "torch_accuracy": torch_row.accuracy,
            "opset": OPSET if self.format == "onnx" else None,
            "agrees": self.agrees,
            "limits": {"difference": TOLERANCE, "agreement": AGREEMENT},
        }


def export_student(
    student: Path,
    path: Path,
    *,
    format: str = "onnx",
    images: Images | None = None,
    test: Images | None = None,
    int8: bool = False,
    with_resize: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a saved student for another runtime; its probabilities match those of torch.

    Beside files other than ONNX, which states it inside, `NAME.json` states the classes and the
    preprocessing.

    Args:
        student: folder of the student.
        path: of the file; an existing one is replaced.
        format: one of `distill.export.formats.FORMATS`.
        images: for the comparison, labeled or not; at least one for int8.
        test: held-out labeled images for the accuracy; else those of `images` that have a label.
        int8: quantize weights and activations, calibrated on these images.
        with_resize: an ONNX file that takes images of any size.
        progress: called after each step.

    Raises:
        StudentError: a package is not installed, the student cannot be loaded or exported, the
            probabilities differ (nothing is written), or the file cannot be written.
        ImagesError: an image changed since it was read, or one of `test` is of a class that the
            student lacks.

    Example:
        >>> export_student(Path("student"), Path("student/model.onnx")).difference < 1e-4
        True
    """
    kind = check_format(format, int8=int8)
    if int8 and not images:
        raise ValueError("int8 needs images for calibration")
    if with_resize and format != "onnx":
        raise ValueError("only ONNX files resize")
    progress = progress or (lambda *_: None)
    network, labels, preprocessing = load_network(student)
    if test:
        refuse_unknown(test, labels)
    check = _Check(path, kind, network, labels, preprocessing, images, test)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name, path.name) for name in PRECISIONS[: 1 + int8]}
        for file in files.values():
            file.parent.mkdir()
        _convert(kind, network, preprocessing, files["float32"])
        progress(1, 4)
        parity = check.parity(files["float32"], draw_noise(preprocessing.size), check.pixels)
        check.refuse(parity, TOLERANCE)
        progress(2, 4)
        if int8 and kind.quantize:
            source = QuantizationInput(files["float32"], network, preprocessing, check.pixels)
            kind.quantize(source, files["int8"])
            parity = check.parity(files["int8"], check.pixels)
            check.refuse(parity, 1.0)
        progress(3, 4)
        precision, file = list(files.items())[-1]
        resized = None
        if with_resize:
            # in float32: in int8 one pixel can change a probability by as much as the 8 bits do
            whole = add_resize(files["float32"].read_bytes(), preprocessing)
            resized = check.resized(load(files["float32"]), onnx_predictor(whole))
            file.write_bytes(add_resize(file.read_bytes(), preprocessing))
        shape = "uint8 [B, 3, H, W]" if with_resize else kind.pixels
        facts = describe(
            student, labels, preprocessing, precision=precision, resized=with_resize,
            pixels=shape.format(size=preprocessing.size),
        )  # fmt: skip
        if format == "onnx":
            file.write_bytes(add_metadata(file.read_bytes(), facts))
        runtimes = check.runtimes(student, files)
        if kind.described:
            text = json.dumps(facts, ensure_ascii=False, indent=1) + "\n"
            kind.files(file)[-1].write_text(text, encoding="utf-8")
        _move(file.parent, path)
        progress(4, 4)
    agreement = parity.agreement if parity and images else None
    return Exported(
        path, format, precision, parity and parity.difference, len(check.pixels), agreement,
        runtimes, len(check.rows), check.unknown_classes, resized,
    )  # fmt: skip


def _convert(kind: Format, network: nn.Module, preprocessing: Preprocessing, path: Path) -> None:
    try:
        kind.convert(network, preprocessing, path)
    except StudentError:
        raise
    except Exception as error:  # converters raise many types for one of timm's networks
        raise StudentError(
            f"{kind.runtime}'s converter cannot export this network ({first_line(error)}): update "
            "it and torch, or use --format onnx."
        ) from error


def _move(folder: Path, path: Path) -> None:
    """Put the finished files of a folder where `path` is, or raise a StudentError."""
    try:
        with atomic_folder(path.parent) as part:
            shutil.copytree(folder, part, dirs_exist_ok=True)
            if path.is_dir():  # a package of CoreML: a folder does not replace a folder
                shutil.rmtree(path)
    except OSError as error:
        raise StudentError(
            f"{path} cannot be written: {error.strerror or error}. Choose another --out."
        ) from error


class _Check:
    """What a file is compared with: torch, on decoded images [N, 3, S, S], N may be 0.

    `rows` are those of the labeled images of the student's classes.
    """

    def __init__(
        self,
        path: Path,
        kind: Format,
        network: nn.Module,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        images: Images | None,
        test: Images | None,
    ) -> None:
        self.path, self.kind, self.images = path, kind, images
        self.preprocessing, size = preprocessing, preprocessing.size
        self.reference = torch_predictor(network, preprocessing)
        self.pixels = np.empty((0, 3, size, size), dtype=np.uint8)
        if images:
            self.pixels = decode_images(images.paths, preprocessing, digests=images.digests)
        self.test_pixels, labeled = self.pixels, images
        if test:
            labeled = test
            self.test_pixels = decode_images(test.paths, preprocessing, digests=test.digests)
        place = {name: index for index, name in enumerate(classes)}
        names = labeled.classes if labeled else ()
        self.unknown_classes = tuple(name for name in names if name not in place)
        known = np.array([*(place.get(name, -1) for name in names), -1], dtype=np.int64)
        self.labels = known[labeled.labels] if labeled else known[:0]
        self.rows = np.flatnonzero(self.labels >= 0)

    def parity(self, file: Path, *sets: NDArray[np.uint8]) -> Parity | None:
        """Parity over sets of pixels; the agreement is that of the last one that has any."""
        if self.kind.load is None:
            return None
        predictor, found = self.kind.load(file), list[Parity]()
        for pixels in sets:
            if len(pixels):
                outputs = predict_batches(predictor, pixels, batch=5)
                found.append(measure_parity(predict_batches(self.reference, pixels), outputs))
        largest = float(np.maximum.reduce([each.difference for each in found]))  # NaN stays
        return Parity(largest, found[-1].agreement)

    def refuse(self, parity: Parity | None, limit: float, reference: str = "torch's") -> None:
        """Raise a StudentError if a difference is above a limit, or not a number."""
        if parity and not parity.difference <= limit:
            raise StudentError(
                f"{self.path} is not written: {self.kind.runtime}'s probabilities differ from "
                f"{reference} by up to {parity.difference:.1e}, more than {limit:.0e}. "
                f"Update torch and {self.kind.runtime}, or use the student's folder."
            )

    def resized(self, plain: Predictor, resizing: Predictor) -> float:
        """Maximum difference of a file and one that resizes, on some of these images and noise."""
        count = len(self.images) if self.images else 0
        rows = np.unique(np.linspace(0, count - 1, RESIZED).round().astype(np.int64))
        noise = draw_noise(97)
        whole = [noise[-1], noise[-2, :, :70], noise[-3, :, :, :33]]
        if self.images:
            whole += [decode_whole(self.images.paths[row]) for row in rows]
        fitted = np.stack([fit_pixels(pixels, self.preprocessing) for pixels in whole])
        found = np.concatenate([resizing(pixels[None]) for pixels in whole])
        parity = measure_parity(predict_batches(plain, fitted), found)
        self.refuse(parity, RESIZE_TOLERANCE, "those for images that Pillow resized")
        return parity.difference

    def runtimes(self, student: Path, files: Mapping[str, Path]) -> tuple[RuntimeCost, ...]:
        """Size, latency and accuracy of torch and of each file, by precision."""
        image = draw_noise(self.preprocessing.size)[-1:]
        weights = (student / WEIGHTS_FILE).stat().st_size
        rows = list[RuntimeCost]()
        with one_thread():
            entries: list[tuple[str, str, int, Predictor | None]] = [
                ("torch", "float32", weights, self.reference)
            ]
            for precision, file in files.items():
                size = sum(each.stat().st_size for each in file.parent.rglob("*") if each.is_file())
                predictor = self.kind.load(file) if self.kind.load else None
                entries.append((self.kind.runtime, precision, size, predictor))
            for name, precision, size, predictor in entries:
                latency = measure_latency(predictor, image) if predictor else None
                accuracy = self._accuracy(predictor) if predictor else None
                rows.append(RuntimeCost(name, precision, size, latency, accuracy))
        return tuple(rows)

    def _accuracy(self, predictor: Predictor) -> float | None:
        if not len(self.rows):
            return None
        found = predict_batches(predictor, self.test_pixels[self.rows]).argmax(axis=1)
        return float((found == self.labels[self.rows]).mean())
