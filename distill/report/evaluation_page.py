"""Sections of a student's page on its evaluation: classes, confusions, calibration, mistakes."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from distill.evaluation.metrics import PAIRS, Calibration, Evaluation, Mistake
from distill.report.figures import draw_reliability
from distill.report.html import INTERVAL, Html, Part, paragraph, part, score_cell, table, tag
from zoo.errors import ImagesError
from zoo.images.decoding import thumbnail

MATRIX_CLASSES = 25
"""A confusion matrix of more classes is in report.json only."""


def evaluation_parts(result: Evaluation) -> list[Part]:
    """The sections for which the evaluation has data."""
    parts = [_by_class(result)] if result.by_class else []
    if result.confusion:
        parts.append(_confusion(result))
    if result.calibration:
        parts.append(_calibration(result, result.calibration))
    if result.mistakes:
        note = "Check these first: some may be wrong labels, others images of two classes."
        items = tag("ul", *map(_mistake, result.mistakes), class_="mistakes")
        parts.append(part("mistakes", "Most confident mistakes", paragraph(note), items))
    return parts


def _by_class(result: Evaluation) -> Part:
    ordered = sorted(result.by_class, key=lambda row: row.accuracy)
    rows: list[list[str]] = []
    for row in ordered:
        low, high = row.low, row.high
        texts = (f"{row.accuracy:.1%}", f"{low:.1%}", f"{high:.1%}")
        cell = score_cell(texts, row.accuracy, low, high, mark=result.accuracy)
        rows.append([row.name, cell, str(row.images)])
    worst = ordered[0]
    return part(
        "classes",
        "Accuracy by class",
        paragraph(
            f"Lowest: {worst.name}, {worst.accuracy:.1%} of {worst.images} images. "
            "A wide interval means few images."
        ),
        table(
            "classes-table",
            "In ascending order. On the line from 0 to 100%: a dot for the accuracy, a bar for "
            f"its {INTERVAL}, a vertical mark for the accuracy over all classes.",
            ["class", f"accuracy, {INTERVAL}", "images>"],
            rows,
        ),
    )


def _confusion(result: Evaluation) -> Part:
    key, title = "confusion", "Confusions"
    if not result.confused:
        return part(key, title, paragraph("No image was misclassified."))
    label, predicted, count = result.confused[0]
    worst = f"Most often {label} is predicted as {predicted}: {count} of {result.images} images."
    pairs = table(
        "pairs",
        "Most frequent confusions",
        ["label", "predicted as", "images>"],
        [[label, predicted, str(count)] for label, predicted, count in result.confused[:PAIRS]],
    )
    if len(result.classes) > MATRIX_CLASSES:
        note = f"The matrix of all {len(result.classes)} classes is in report.json."
        return part(key, title, paragraph(f"{worst} {note}"), pairs)
    rows = [
        [name, *(_count(count, sum(row), correct=i == j) for j, count in enumerate(row))]
        for i, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True))
    ]
    matrix = table(
        "matrix",
        "Confusion matrix, in images. A row is a label, a column a predicted class; correct "
        "predictions are bold and on the diagonal. A cell's color shows its fraction of the row.",
        ["label", *result.classes],
        rows,
        class_="matrix",
    )
    return part(key, title, paragraph(worst), matrix, pairs)


def _count(count: int, total: int, *, correct: bool) -> Html:
    kind = ("hit" if correct else "miss") if count else "none"
    return tag("td", str(count), class_=kind, style=f"--part:{count / max(1, total):.3f}")


def calibration_verdict(result: Evaluation, calibration: Calibration) -> str:
    """Confidence against accuracy, in a sentence."""
    means = f"Mean confidence {calibration.confidence:.1%}, accuracy {result.accuracy:.1%}"
    if result.low <= calibration.confidence <= result.high:
        return f"{means}: no significant difference."
    gap = 100 * (calibration.confidence - result.accuracy)
    return f"{means}: {'over' if gap > 0 else 'under'}confident by {abs(gap):.1f} points."


def _calibration(result: Evaluation, calibration: Calibration) -> Part:
    error = f"Expected calibration error: {100 * calibration.error:.1f} points"
    width = len(calibration.bins)
    rows = [
        [f"{number / width:.0%} to {(number + 1) / width:.0%}", str(each.count),
         f"{each.confidence:.1%}", f"{each.accuracy:.1%}", f"{each.low:.1%} to {each.high:.1%}"]
        for number, each in enumerate(calibration.bins)
        if each.count
    ]  # fmt: skip
    numbers = table(
        "reliability-table",
        f"Values of the diagram; of {width} equal bins those with images",
        ["confidence", "images>", "mean confidence>", "accuracy>", f"{INTERVAL}>"],
        rows,
    )
    caption = (
        f"Dots: accuracy of predictions of similar confidence, with {INTERVAL}s. Dotted: perfect "
        "calibration; below it the student is overconfident. Bars at the bottom: images."
    )
    figure = draw_reliability(calibration, f"Reliability diagram: accuracy by confidence. {error}.")
    text = [
        paragraph(calibration_verdict(result, calibration)),
        paragraph(
            f"{error}, the mean distance between confidence and accuracy over {width} bins. "
            "It is biased upwards on few images."
        ),
        tag("details", tag("summary", "Show the values"), numbers),
    ]
    drawn = tag("figure", figure, tag("figcaption", caption))
    return part("calibration", "Calibration", tag("div", drawn, tag("div", *text), class_="pair"))


def _mistake(mistake: Mistake) -> Html:
    path = Path(mistake.path)
    try:
        data = f"data:image/jpeg;base64,{b64encode(thumbnail(path)).decode()}"
        alt = f"Test image {'/'.join(path.parts[-2:])}, label {mistake.label}"
        picture = tag("img", src=data, alt=alt)
    except ImagesError:
        picture = tag("span", "image not found", class_="gone small")
    caption = tag(
        "figcaption",
        tag("b", mistake.label),
        " predicted as ",
        tag("b", mistake.predicted),
        f", {mistake.confidence:.1%}",
        tag("br"),
        path.name,
    )
    return tag("li", tag("figure", picture, caption))
