"""Sections of a student's page on its evaluation: classes, confusions, calibration, mistakes."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from distill.evaluation.metrics import PAIRS, Calibration, Evaluation
from distill.report.figures import draw_reliability
from zoo.errors import ImagesError
from zoo.images.decoding import thumbnail

MATRIX_CLASSES = 25
"""A confusion matrix of more classes is in report.json only."""


def evaluation_sections(result: Evaluation | None) -> dict[str, str]:
    """Titles of the sections for which the evaluation has data, by macro."""
    if result is None:
        return {}
    sections = {
        "classes": ("Accuracy by class", result.by_class),
        "confusion": ("Confusions", result.confusion),
        "calibration": ("Calibration", result.calibration),
        "mistakes": ("Most confident mistakes", result.mistakes),
    }
    return {key: title for key, (title, data) in sections.items() if data}


def evaluation_context(result: Evaluation) -> dict[str, Any]:
    """Variables of these sections."""
    context: dict[str, Any] = {"result": result, "max_pairs": PAIRS}
    context["matrix"] = len(result.classes) <= MATRIX_CLASSES and [
        {
            "name": name,
            "cells": [
                (
                    count,
                    ("hit" if i == j else "miss") if count else "none",
                    count / max(1, sum(row)),
                )
                for j, count in enumerate(row)
            ],
        }
        for i, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True))
    ]
    context["pictures"] = [
        (mistake, Path(mistake.path), _picture(Path(mistake.path))) for mistake in result.mistakes
    ]
    if result.calibration:
        error = f"Expected calibration error: {100 * result.calibration.error:.1f} points"
        label = f"Reliability diagram: accuracy by confidence. {error}."
        context["calibrated"] = calibration_verdict(result, result.calibration)
        context["calibration_error"] = error
        context["reliability"] = draw_reliability(result.calibration, label)
        context["filled_bins"] = [
            {"index": index, "bin": each}
            for index, each in enumerate(result.calibration.bins)
            if each.count
        ]
    return context


def calibration_verdict(result: Evaluation, calibration: Calibration) -> str:
    """Confidence against accuracy, in a sentence."""
    means = f"Mean confidence {calibration.confidence:.1%}, accuracy {result.accuracy:.1%}"
    if result.low <= calibration.confidence <= result.high:
        return f"{means}: no significant difference."
    gap = 100 * (calibration.confidence - result.accuracy)
    return f"{means}: {'over' if gap > 0 else 'under'}confident by {abs(gap):.1f} points."


def _picture(path: Path) -> str:
    """A thumbnail as base64 of JPEG; empty if the image is gone."""
    try:
        return b64encode(thumbnail(path)).decode()
    except ImagesError:
        return ""
