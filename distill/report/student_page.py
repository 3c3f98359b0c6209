"""The page of a saved student: one HTML file that loads nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from distill.evaluation.metrics import wilson
from distill.recipe import Recipe
from distill.report.evaluation_page import calibration_verdict, evaluation_parts
from distill.report.figures import draw_curves
from distill.report.html import (
    INTERVAL,
    Html,
    Part,
    bar,
    document,
    fragment,
    link,
    origin_part,
    paragraph,
    part,
    table,
    tag,
)
from distill.report.ranking_page import list_shares, ranking_part
from distill.report.report import Report
from zoo.teachers.card import TeacherCard

PAGE = "report.html"

METHODS = {
    "weighted": "the closest teachers, weighted by their shares",
    "nearest": "the closest teacher",
    "teachers": "teachers chosen by the user",
    "transfer": "labels only, no teachers",
    "fixmatch": "labels and FixMatch pseudo-labels, no teachers",
}

LOSSES = {
    "labels": "cross-entropy with the labels",
    "target": "cross-entropy with the teachers' soft labels",
    "source": "cross-entropy with the teachers' probabilities in their own classes",
    "agreement": "pseudo-labels of teachers and student",
    "fixmatch": "the student's pseudo-labels (FixMatch)",
}


def student_page(
    report: Report,
    *,
    history: Sequence[Mapping[str, float]],
    cards: Sequence[TeacherCard],
    ranking: Mapping[str, Any] | None,
    sha256: str,
) -> str:
    """The page of a saved student.

    Args:
        report: of the run; it shows misclassified images that still exist.
        history: of the losses, as in `Trained`.
        cards: of the teachers in the report.
        ranking: source of the shares, as JSON; None without one.
        sha256: of the student's weights.
    """
    parts = evaluation_parts(report.evaluation) if report.evaluation else []
    parts += [_training(history, report.recipe), _teachers(report, cards)]
    if ranking and ranking.get("teachers"):
        parts.append(ranking_part(ranking, report.teachers))
    parts.append(_origin(report, ranking, sha256))
    result, classes = report.evaluation, report.classes
    return document(
        "student report",
        f"{report.arch} for {len(classes)} classes",
        _summary(report),
        [
            ("Labeled images", str(report.labeled)),
            ("Unlabeled images", str(report.unlabeled)),
            ("Test images", str(result.images) if result else "none"),
            ("Input", f"{report.image_size} px"),
            ("Updates", f"{report.recipe.updates} in {report.seconds:.0f} s"),
            ("Classes", ", ".join(classes[:12]) + ", ..." * (len(classes) > 12)),
        ],
        parts,
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


def _summary(report: Report) -> list[Html]:
    result = report.evaluation
    verdict, details = "Not evaluated.", [soft_label_summary(report)]
    if result is None:
        command = f"zoo eval {shlex.quote(report.student)} --target FOLDER"
        details.append(
            fragment(
                *("To evaluate it on held-out labeled images: ", tag("code", command)),
                *(", or ", tag("code", "zoo distill --test FOLDER"), "."),
            )
        )
    else:
        verdict = (
            f"Accuracy {result.accuracy:.1%} of {result.images} test images "
            f"({INTERVAL} {result.low:.1%} to {result.high:.1%})."
        )
        if result.calibration:
            baseline = f"{result.majority_class_accuracy:.1%}"
            calibrated = calibration_verdict(result, result.calibration)
            details.append(f"Always predicting the most frequent class: {baseline}. {calibrated}")
    method = f"Trained with the method {report.method}: {METHODS.get(report.method, '')}".rstrip(
        ": "
    )
    shares = f" ({list_shares(report.teachers)})" if report.teachers else ""
    return [
        paragraph(verdict, class_="verdict"),
        paragraph(f"{method}{shares}.", class_="lead"),
        *(paragraph(text) for text in details if text),
        *(paragraph(note, class_="note") for note in report.notes if note),
    ]


def _training(history: Sequence[Mapping[str, float]], recipe: Recipe) -> Part:
    key, title = "training", "Training"
    if len(history) < 2:
        return part(key, title, paragraph("The run was too short for loss curves."))
    first, last = history[0], history[-1]
    losses = [name for name in first if name not in ("update", "rate")]
    label = f"Losses from update {first['update']} to {last['update']}: " + ", ".join(
        f"{name} from {first[name]:.2f} to {last[name]:.2f}" for name in losses
    )
    rows = [
        [fragment(name, tag("small", LOSSES.get(name, ""))), f"{first[name]:.3f}",
         f"{last[name]:.3f}"]
        for name in losses
    ]  # fmt: skip
    caption = "Unweighted losses on the batch of each update."
    if "target" in losses and recipe.soft_label_decay:
        end = f"{1 - recipe.soft_label_decay:.0%}"
        caption += f" The weight of the soft labels (target) decays linearly to {end}."
    numbers = table("losses", "First and last losses", ["loss", "first>", "last>"], rows)
    figure = tag("figure", draw_curves(history, label), tag("figcaption", caption))
    return part(key, title, tag("div", figure, numbers, class_="pair"))


def _teachers(report: Report, cards: Sequence[TeacherCard]) -> Part:
    key, title = "teachers", "Teachers and licenses"
    known = {card.name: card for card in cards}
    shares = sorted(report.teachers.items(), key=lambda item: -item[1])
    rows = [
        [
            fragment(name, tag("small", known[name].domain)),
            tag("td", f"{share:.1%}", bar(share / shares[0][1]), class_="share"),
            known[name].license,
            *_origin_cells(known[name]),
        ]
        for name, share in shares
        if name in known
    ]
    terms = paragraph(
        "The permitted use of the student depends on the rights to your images and on the licenses "
        "of all teachers and their data."
    )
    if not rows:
        return part(key, title, paragraph("No teachers."), terms)
    columns = ["teacher", "share", "license", "training data", "source"]
    return part(key, title, terms, table("teachers-table", "Teachers by share", columns, rows))


def _origin_cells(card: TeacherCard) -> tuple[Html, Html]:
    data = tag("td", card.data, tag("small", f"license: {card.data_license}"), class_="long")
    commit = tag("small", f"commit {card.revision[:12]}") if card.revision and card.repo else ""
    address = f"https://huggingface.co/{card.repo}" if card.repo else card.source
    return data, fragment(link(card.source, address), commit)


def _origin(report: Report, ranking: Mapping[str, Any] | None, sha256: str) -> Part:
    versions = report.to_json()["versions"]
    rows = [
        ["image folder", report.target],
        ["images and labels, SHA-256", tag("code", report.digest)],
        ["student's weights, SHA-256", tag("code", sha256)],
        ["seed", str(report.recipe.seed)],
        ["initial weights", report.start],
        ["objective", report.objective or "labels only"],
        ["versions", ", ".join(f"{name} {number}" for name, number in versions.items())],
    ]
    if ranking and ranking.get("metric"):
        metrics = ranking["metric"].replace(",", ", ")
        rows.insert(2, ["ranking", f"by {metrics}, seed {ranking['seed']}; see ranking.json"])
    return origin_part(report.command, rows, "Full results: report.json in the same folder.")
