"""The page of a saved student: one HTML file that loads nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.evaluation.metrics import PAIRS, Calibration, Evaluation
from distill.recipe import Recipe
from distill.report.figures import draw_curves, draw_reliability
from distill.report.html import INTERVAL, picture, render_page
from distill.report.ranking_page import list_shares, ranking_context
from distill.report.report import Report
from zoo.statistics import wilson
from zoo.teachers.card import TeacherCard

PAGE = "report.html"

METHODS = {
    "weighted": "the closest teachers, weighted by their shares",
    "nearest": "the closest teacher",
    "teachers": "teachers chosen by the user",
    "transfer": "labels only, no teachers",
    "fixmatch": "labels and FixMatch pseudo-labels, no teachers",
    "probe": "a classifier on the frozen initial weights",
}

LOSSES = {
    "labels": "cross-entropy with the labels",
    "target": "cross-entropy with the teachers' soft labels",
    "source": "cross-entropy with the teachers' probabilities in their own classes",
    "agreement": "pseudo-labels of teachers and student",
    "fixmatch": "the student's pseudo-labels (FixMatch)",
}


MATRIX_CLASSES = 25
"""A confusion matrix of more classes is in report.json only."""


def student_page(
    report: Report,
    *,
    history: Sequence[Mapping[str, float]],
    cards: Sequence[TeacherCard],
    ranking: Mapping[str, Any] | None,
    sha256: str,
) -> str:
    """The page of a saved student, with the misclassified images that still exist.

    `ranking` is the source of the shares as JSON, if any; `sha256` that of the student's weights.
    """
    result, classes = report.evaluation, report.classes
    ranked = ranking if ranking and ranking.get("teachers") else None
    shares = report.teachers or {
        row["name"]: row["share"] for row in (ranked or {}).get("teachers", ())
    }
    sections = {
        **evaluation_sections(result),
        "training": "Training",
        "teachers": "Teachers and licenses",
        **({"ranking": "Teacher ranking"} if ranked else {}),
        "again": "Reproduce",
    }
    return render_page(
        {
            "kind": "student report",
            "heading": f"{report.arch} for {len(classes)} classes",
            **_summary(report),
            "notes": report.notes,
            "facts": {
                "Labeled images": report.labeled,
                "Unlabeled images": report.unlabeled,
                "Test images": result.images if result else "none",
                "Input": f"{report.image_size} px",
                "Updates": f"{report.recipe.updates} in {report.seconds:.0f} s",
                "Classes": ", ".join(classes[:12]) + ", ..." * (len(classes) > 12),
            },
            "sections": sections,
            **(evaluation_context(result) if result else {}),
            **_training(history, report.recipe),
            "cards": _teachers(report, cards),
            **(ranking_context(ranked, shares) if ranked else {}),
            "command": report.command,
            "origin": _origin(report, ranking, sha256),
            "next": "Full results: report.json in the same folder.",
        }
    )


def soft_label_summary(report: Report) -> str:
    """Accuracy of the teachers' soft labels, in a sentence; empty without soft labels."""
    accuracy = report.soft_label_accuracy
    if accuracy is None:
        return ""
    low, high = wilson(round(accuracy * report.labeled), report.labeled)
    return (
        f"Cross-validated accuracy of the teachers' soft labels: {accuracy:.1%} of "
        f"{report.labeled} labeled images ({INTERVAL} {low:.1%} to {high:.1%})."
    )


def _summary(report: Report) -> dict[str, Any]:
    result = report.evaluation
    if result is None:
        verdict = "Not evaluated."
        detail = (
            "To evaluate it on held-out labeled images: "
            f"zoo eval {shlex.quote(report.student)} --target FOLDER, or zoo distill --test FOLDER."
        )
    else:
        verdict = (
            f"Accuracy {result.accuracy:.1%} of {result.images} test images "
            f"({INTERVAL} {result.low:.1%} to {result.high:.1%})."
        )
        baseline = (
            f"Balanced accuracy {result.balanced_accuracy:.1%}; always predicting the most "
            f"frequent class: {result.majority_class_accuracy:.1%}."
        )
        detail = ""
        if result.calibration:
            detail = f"{baseline} {calibration_verdict(result, result.calibration)}"
    method = f"Trained with the method {report.method}: {METHODS.get(report.method, '')}".rstrip(
        ": "
    )
    shares = f" Teachers: {list_shares(report.teachers)}." if report.teachers else ""
    return {
        "verdict": verdict,
        "lead": f"{method}.{shares}",
        "details": [soft_label_summary(report), detail],
    }


def _training(history: Sequence[Mapping[str, float]], recipe: Recipe) -> dict[str, Any]:
    if len(history) < 2:
        return {"curves": ""}
    first, last = history[0], history[-1]
    names = [name for name in first if name not in ("update", "rate")]
    label = f"Losses from update {first['update']} to {last['update']}: " + ", ".join(
        f"{name} from {first[name]:.2f} to {last[name]:.2f}" for name in names
    )
    return {
        "curves": draw_curves(history, label),
        "decay": recipe.soft_label_decay if "target" in names else 0,
        "losses": [
            {"name": n, "meaning": LOSSES.get(n, ""), "first": first[n], "last": last[n]}
            for n in names
        ],
    }


def _teachers(report: Report, cards: Sequence[TeacherCard]) -> list[dict[str, Any]]:
    """Cards by descending share, with a web address or an empty one."""
    known = {card.name: card for card in cards}
    rows: list[dict[str, Any]] = []
    for name, share in sorted(report.teachers.items(), key=lambda item: -item[1]):
        if card := known.get(name):
            address = f"https://huggingface.co/{card.repo}" if card.repo else card.source
            web = address.startswith(("https://", "http://"))
            commit = card.revision[:12] if card.repo else ""
            address = address if web else ""
            rows.append({"card": card, "share": share, "address": address, "commit": commit})
    return rows


def _origin(report: Report, ranking: Mapping[str, Any] | None, sha256: str) -> dict[str, Any]:
    versions = report.to_json()["versions"]
    source = {}
    if ranking and ranking.get("metric"):
        metrics = ranking["metric"].replace(",", ", ")
        source = {"ranking": f"by {metrics}, seed {ranking['seed']}; see ranking.json"}
    return {
        "image folder": report.target,
        "images and labels, SHA-256": report.digest,
        **source,
        "student's weights, SHA-256": sha256,
        "seed": report.recipe.seed,
        **(
            {}
            if report.temperature is None
            else {"temperature": f"{report.temperature:.2f}, cross-validated; in the weights"}
        ),
        "initial weights": str(report.start),
        "objective": report.objective or "labels only",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


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
        (mistake, Path(mistake.path), picture(Path(mistake.path))) for mistake in result.mistakes
    ]
    if result.calibration:
        error = (
            f"Expected calibration error: {100 * result.calibration.error:.1f} points, "
            f"{'above' if result.calibration.is_off else 'within'} the noise of {result.images} "
            f"images, up to {100 * result.calibration.noise:.1f} for a calibrated student"
        )
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
