"""What a test on held-out images says of a student, as parts of its page."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from distill.evaluation.metrics import PAIRS, Calibration, Evaluation, Mistake
from distill.report.figures import draw_reliability
from distill.report.html import INTERVAL, Html, Part, ends, part, table, tag, track
from zoo.errors import ImagesError
from zoo.images.decoding import thumbnail

SHOWN_CLASSES = 25
"""A confusion matrix of more classes is left to report.json: nobody can read it."""


def evaluation_parts(result: Evaluation) -> list[Part]:
    """Classes, confusions, calibration and mistakes; what is not known is left out."""
    parts = [_by_class(result)] if result.by_class else []
    if result.confusion:
        parts.append(_confusion(result))
    if result.calibration:
        parts.append(_calibration(result, result.calibration))
    if result.mistakes:
        parts.append(_mistakes(result.mistakes))
    return parts


def _by_class(result: Evaluation) -> Part:
    rows = [
        [
            row.name,
            tag(
                "td",
                f"{row.accuracy:.1%}",
                ends(f"{row.low:.1%}", f"{row.high:.1%}"),
                track(row.accuracy, row.low, row.high, mark=result.accuracy),
                class_="wide",
            ),
            str(row.images),
        ]
        for row in sorted(result.by_class, key=lambda row: row.accuracy)
    ]
    worst = min(result.by_class, key=lambda row: row.accuracy)
    return part(
        "classes",
        "Accuracy by class",
        tag(
            "p",
            f"The weakest class is {worst.name}: {worst.accuracy:.1%} of {worst.images} images. "
            "A wide interval means few images, not a bad class.",
        ),
        table(
            "classes-table",
            "The worst class first. On the line from 0 to 100%: a dot for the accuracy, a bar for "
            f"its {INTERVAL}, an upright mark for the accuracy over all classes.",
            ["class", f"accuracy, {INTERVAL}", "images>"],
            rows,
        ),
    )


def _confusion(result: Evaluation) -> Part:
    if not result.confused:
        return part("confusion", "Confusions", tag("p", "No image was taken for another class."))
    truth, said, count = result.confused[0]
    worst = f"Most often {truth} is taken for {said}: {count} of {result.images} test images."
    pairs = table(
        "pairs",
        "What is confused most often",
        ["truth", "taken for", "images>"],
        [[truth, said, str(count)] for truth, said, count in result.confused[:PAIRS]],
    )
    if len(result.classes) > SHOWN_CLASSES:
        told = f"The matrix of all {len(result.classes)} classes is in report.json."
        return part("confusion", "Confusions", tag("p", f"{worst} {told}"), pairs)
    matrix = table(
        "matrix",
        "Confusion matrix, in images. A row is the true class, a column what the student said; "
        "right answers are bold and lie on the diagonal. The stronger a cell's color, the larger "
        "its part of the row.",
        ["truth", *result.classes],
        [
            [name, *(_count(count, sum(row), i == j) for j, count in enumerate(row))]
            for i, (name, row) in enumerate(zip(result.classes, result.confusion, strict=True))
        ],
        class_="matrix",
    )
    return part("confusion", "Confusions", tag("p", worst), matrix, pairs)


def _count(count: int, total: int, right: bool) -> Html:
    kind = ("hit" if right else "miss") if count else "none"
    return tag("td", str(count), class_=kind, style=f"--part:{count / max(1, total):.3f}")


def calibration_verdict(result: Evaluation, calibration: Calibration) -> str:
    """Whether the student may be believed, in a sentence."""
    claim = (
        f"On average the student is {calibration.confidence:.1%} certain and "
        f"{result.accuracy:.1%} of its answers are right"
    )
    if result.low <= calibration.confidence <= result.high:
        return f"{claim}: no more than noise lies between them."
    gap = 100 * (calibration.confidence - result.accuracy)
    return f"{claim}: it is too {'certain' if gap > 0 else 'modest'} by {abs(gap):.1f} points."


def _calibration(result: Evaluation, calibration: Calibration) -> Part:
    error = f"{100 * calibration.error:.1f} points"
    label = (
        f"Reliability diagram: share of right answers by certainty. "
        f"Expected calibration error {error}."
    )
    caption = tag(
        "figcaption",
        f"Dots: how often answers of about this certainty are right, with {INTERVAL}s. Dotted: "
        "the ideal. Below the dotted line the student is too certain. Under it: how many images.",
    )
    wide = len(calibration.bins)
    rows = [
        [f"{number / wide:.0%} to {(number + 1) / wide:.0%}", str(each.count),
         f"{each.confidence:.1%}", f"{each.accuracy:.1%}", f"{each.low:.1%} to {each.high:.1%}"]
        for number, each in enumerate(calibration.bins)
        if each.count
    ]  # fmt: skip
    numbers = table(
        "reliability-table",
        f"The numbers of the diagram; of {wide} equal bins those with images",
        ["certainty", "images>", "mean certainty>", "right>", f"{INTERVAL}>"],
        rows,
    )
    return part(
        "calibration",
        "Calibration",
        tag(
            "div",
            tag("figure", draw_reliability(calibration, label), caption),
            tag(
                "div",
                tag("p", calibration_verdict(result, calibration)),
                tag(
                    "p",
                    f"Expected calibration error: {error}, the mean distance between certainty "
                    f"and accuracy over {wide} bins. It is never 0 on few images.",
                ),
                tag("details", tag("summary", "Show the numbers"), numbers),
            ),
            class_="pair",
        ),
    )


def _mistakes(mistakes: tuple[Mistake, ...]) -> Part:
    return part(
        "mistakes",
        "Most certain mistakes",
        tag(
            "p",
            "Look at them first: some may be labels that are wrong, others images of two classes.",
        ),
        tag("ul", *map(_mistake, mistakes), class_="mistakes"),
    )


def _mistake(mistake: Mistake) -> Html:
    name = "/".join(Path(mistake.path).parts[-2:])
    try:
        picture = b64encode(thumbnail(Path(mistake.path))).decode()
        alt = f"Test image {name}, of the class {mistake.truth}"
        shown = tag("img", src=f"data:image/jpeg;base64,{picture}", alt=alt)
    except ImagesError:
        shown = tag("span", "not there any more", class_="gone small")
    told = tag(
        "figcaption",
        tag("b", mistake.truth),
        " taken for ",
        tag("b", mistake.said),
        f", {mistake.probability:.1%} sure",
        tag("br"),
        Path(mistake.path).name,
    )
    return tag("li", tag("figure", shown, told))
