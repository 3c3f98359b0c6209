"""The model card (README.md) of a saved student."""

from __future__ import annotations

from collections.abc import Sequence

from distill.report.licenses import (
    Claim,
    choose_license,
    license_lines,
    start_claims,
    teacher_claims,
)
from distill.report.report import Report
from distill.report.student_page import soft_label_summary
from zoo.teachers.card import TeacherCard
from zoo.teachers.model_card import USAGE, set_license


def model_card(report: Report, cards: Sequence[TeacherCard]) -> str:
    """The student's model card: method, accuracy, teachers with shares, and licenses."""
    claims = report_claims(report, cards)
    result = report.evaluation
    accuracy = "Not evaluated on held-out images."
    if result:
        accuracy = (
            f"Accuracy on {result.images} held-out images: {result.accuracy:.1%} "
            f"(95 % interval {result.low:.1%} to {result.high:.1%})."
        )
    lines = [
        f"# {report.arch} for {' '.join(', '.join(report.classes).splitlines())}",
        "",
        f"Trained by source-zoo with the method `{report.method}` on {report.labeled} labeled and "
        f"{report.unlabeled} unlabeled images in {report.recipe.updates} updates at "
        f"{report.image_size} px; initial weights: {report.start}.",
        "",
        accuracy,
        "",
        *_teacher_lines(report, cards),
        "## Usage",
        "",
        USAGE,
        *license_lines(claims),
    ]
    return set_license("\n" + "\n".join(lines), choose_license(claims))


def report_claims(report: Report, cards: Sequence[TeacherCard]) -> list[Claim]:
    """Every license that the student depends on."""
    teachers = teacher_claims(list(report.teachers), cards)
    return [*teachers, *start_claims(report.start)]


def _teacher_lines(report: Report, cards: Sequence[TeacherCard]) -> list[str]:
    if not report.teachers:
        return ["Trained without teachers.", ""]
    known = {card.name: card for card in cards}
    rows: list[str] = []
    for name, share in sorted(report.teachers.items(), key=lambda item: -item[1]):
        cells = "unknown | unknown | unknown"
        if card := known.get(name):
            cells = f"{card.source} | {card.license} | {card.data} ({card.data_license})"
        rows.append(f"| {name} | {share:.1%} | {cells} |")
    head = ["## Teachers", "", "| teacher | share | source | license | data (its license) |"]
    summary = soft_label_summary(report)
    return [*head, "|---|---|---|---|---|", *rows, "", *([summary, ""] if summary else [])]
