"""Students to choose from: their size, their speed on this machine, and their initial weights."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import inf
from pathlib import Path

from zoo.errors import StudentError, ZooError
from zoo.system.json_files import number, read_json, record, write_json
from zoo.system.runtime import Runtime
from zoo.teachers.starts import ALIASES, local_starts

STUDENTS = (
    "lcnet_050",
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "tinynet_c",
    "ghostnet_100",
    "regnety_002",
    "regnety_004",
    "mobilenetv3_large_100",
    "mobilenetv4_conv_medium",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "edgenext_xx_small",
    "fastvit_t8",
    "mobileone_s0",
    "repvit_m0_9",
    "convnextv2_atto",
    "resnet18",
    "vit_tiny_patch16_224",
)
"""Sensible students of timm, small ones of many families; any other name works too."""

CLASSES = 10
"""Of the measured students: the head is a small part of them."""

RUNS, SECONDS = 20, 0.3
"""Most timed runs of a student, and seconds for them; the same before, not timed."""


@dataclass(frozen=True)
class StudentSummary:
    """What a student of an architecture costs.

    Attributes:
        arch: timm's name.
        params: weights, with a head of `CLASSES` classes.
        bytes: of the saved weights, in float16.
        milliseconds: median for one image on one thread of this machine's CPU.
        starts: initial weights on this machine, as --start names them.

    Example:
        >>> from distill import list_students
        >>> list_students()[0].milliseconds
    """

    arch: str
    params: int
    bytes: int
    milliseconds: float
    starts: tuple[str, ...]


def list_students(
    image_size: int = 128,
    *,
    max_ms: float = inf,
    max_mb: float = inf,
    runtime: Runtime | None = None,
) -> list[StudentSummary]:
    """Students within limits, the fastest first; those that reject the image size are left out.

    Args:
        image_size: S, pixels.
        max_ms: milliseconds for one image, at most.
        max_mb: megabytes of saved weights, at most.
        runtime: cache of the measurements, and progress.

    Raises:
        StudentError: no student is within the limits.

    Example:
        >>> from distill import list_students
        >>> [student.arch for student in list_students(128, max_ms=20)]
    """
    runtime = runtime or Runtime()
    progress = runtime.progress("measuring students")
    starts = local_starts()
    found: list[StudentSummary] = []
    for done, arch in enumerate(STUDENTS, start=1):
        with suppress(StudentError):
            found.append(summarize_student(arch, image_size, starts, cache=runtime.cache))
        progress(done, len(STUDENTS))
    fitting = [
        student
        for student in found
        if student.milliseconds <= max_ms and student.bytes <= 1e6 * max_mb
    ]
    if not fitting:
        raise StudentError(
            f"None of {len(STUDENTS)} students accepts images of {image_size} px and is within the "
            "limits: raise --max-ms or --max-mb, or choose another --image-size."
        )
    return sorted(fitting, key=lambda student: student.milliseconds)


def summarize_student(
    arch: str, image_size: int, starts: Mapping[str, tuple[str, ...]], *, cache: Path
) -> StudentSummary:
    """Size and speed of a student, measured once per machine, image size, and torch.

    Raises:
        StudentError: the network does not accept images of this size.
    """
    machine = (platform.node(), platform.machine(), version("torch"), version("timm"))
    key = hashlib.sha256(repr((arch, image_size, machine)).encode()).hexdigest()
    path = cache / "students" / f"{key[:32]}.json"
    check = record({"params": number(), "bytes": number(), "milliseconds": number()}, strict=True)
    try:
        known = read_json(path, check, error=ZooError, advice="")
    except ZooError:
        known = _measure(arch, image_size)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, known)
    return StudentSummary(
        arch,
        int(known["params"]),
        int(known["bytes"]),
        known["milliseconds"],
        starts.get(ALIASES.get(arch, arch), ()),
    )


def _measure(arch: str, image_size: int) -> dict[str, float]:
    # torch and timm load here: measurements of the cache need neither
    from distill.export.latency import measure_latency, one_thread, torch_predictor
    from distill.export.module import draw_noise
    from distill.student import create_student, find_arch
    from zoo.teachers.starts import IMAGENET

    network = create_student(
        find_arch(arch), CLASSES, start="random", image_size=image_size
    ).network
    with one_thread():
        predictor = torch_predictor(network, replace(IMAGENET, size=image_size))
        latency = measure_latency(
            predictor, draw_noise(image_size)[-1:], warmup=RUNS, runs=RUNS, limit=SECONDS
        )
    saved = network.state_dict().values()
    return {
        "params": sum(weight.numel() for weight in network.parameters()),
        "bytes": sum(v.numel() * (2 if v.is_floating_point() else v.itemsize) for v in saved),
        "milliseconds": round(latency.median, 3),
    }
