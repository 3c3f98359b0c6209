"""The page that tells of a student: one HTML file, readable anywhere, that loads nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.evaluation.metrics import wilson
from distill.recipe import Recipe
from distill.report.evaluation_page import calibration_verdict, evaluation_parts
from distill.report.figures import draw_curves
from distill.report.html import (
    INTERVAL,
    Html,
    Part,
    bar,
    command_box,
    document,
    facts,
    few,
    fragment,
    link,
    part,
    table,
    tag,
)
from distill.report.ranking_page import ranking_part
from zoo.teachers.card import TeacherCard

if TYPE_CHECKING:
    from distill.report.report import Report

PAGE = "report.html"

METHODS = {
    "weighted": "by the teachers closest to the images, each with its share",
    "nearest": "by the closest teacher alone",
    "teachers": "by teachers that were named by hand",
    "transfer": "by the labels alone, without teachers",
    "fixmatch": "by the labels and FixMatch's pseudo-labels, without teachers",
}
"""How each method teaches, to go on after `it was taught`."""

LOSSES = {
    "labels": "cross-entropy with the labels",
    "target": "cross-entropy with the teachers' soft labels",
    "source": "imitation of the teachers' own classes",
    "agreement": "pseudo-labels that teachers and student make together",
    "consistency": "the student's own pseudo-labels, as FixMatch makes them",
}
"""What each loss of the training asks for."""


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
        report: of the run; the images of its mistakes are shown where they are still there.
        history: of the losses, as in `Trained`.
        cards: of the teachers in the report.
        ranking: that the shares come from, as JSON has it; None without one.
        sha256: of the student's weights.
    """
    parts = evaluation_parts(report.evaluation) if report.evaluation else []
    parts += [_training(history, report.recipe), _teachers(report, cards)]
    if ranking and ranking.get("teachers"):
        parts.append(ranking_part(ranking, report.teachers))
    parts.append(_again(report, ranking, sha256))
    return document(f"Report of {report.arch}", _top(report), parts)


def verdict(report: Report) -> str:
    """How good the student is, in a sentence."""
    result = report.evaluation
    if result is None:
        return "This student was not tested: nobody knows how good it is."
    return (
        f"This student is right on {result.accuracy:.1%} of {result.images} test images "
        f"({INTERVAL} {result.low:.1%} to {result.high:.1%})."
    )


def teachers_verdict(report: Report) -> str:
    """How good the teachers' soft labels are, in a sentence; empty without soft labels."""
    right = report.soft_label_accuracy
    if right is None:
        return ""
    low, high = wilson(round(right * report.labeled), report.labeled)
    return (
        f"Before any student was taught, the teachers' soft labels were right on {right:.1%} of "
        f"the {report.labeled} labeled images ({INTERVAL} {low:.1%} to {high:.1%}), by "
        "cross-validation."
    )


def _top(report: Report) -> list[Html]:
    result = report.evaluation
    told = [tag("p", verdict(report), class_="verdict"), tag("p", _teaching(report), class_="lead")]
    if teachers := teachers_verdict(report):
        told.append(tag("p", teachers))
    if result is None:
        command = f"zoo eval {shlex.quote(report.student)} --target FOLDER"
        told.append(
            tag(
                "p",
                "To test it, give a folder of labeled images that it never saw: ",
                *(tag("code", command), ", or ", tag("code", "--test FOLDER"), " when you distil."),
            )
        )
    elif result.calibration:
        common = f"Always saying the most frequent class would be right on {result.commonest:.1%}."
        told.append(tag("p", f"{common} {calibration_verdict(result, result.calibration)}"))
    return [
        tag("p", "source-zoo, report of a student", class_="kicker"),
        tag("h1", f"{report.arch} for {len(report.classes)} classes"),
        *told,
        *(tag("p", note, class_="note") for note in report.notes if note),
        facts(
            ("Labeled images", str(report.labeled)),
            ("Unlabeled images", str(report.unlabeled)),
            ("Test images", str(result.images) if result else "none"),
            ("Input", f"{report.image_size} px"),
            ("Updates", f"{report.recipe.updates} in {report.seconds:.0f} s"),
            ("Classes", ", ".join(report.classes[:12]) + ", ..." * (len(report.classes) > 12)),
        ),
    ]


def _teaching(report: Report) -> str:
    """Method and teachers, in a sentence."""
    how = METHODS.get(report.method, "")
    text = f"It was taught with the method {report.method}, {how}".rstrip(", ")
    shares = sorted(report.teachers.items(), key=lambda item: -item[1])
    if not shares:
        return f"{text}."
    named = few([f"{name} ({share:.0%})" for name, share in shares])
    return f"{text}: {named}."


def _training(history: Sequence[Mapping[str, float]], recipe: Recipe) -> Part:
    key, title = "training", "Training"
    if len(history) < 2:
        return part(key, title, tag("p", "The run was too short to draw its losses."))
    first, last = history[0], history[-1]
    losses = [name for name in first if name not in ("update", "rate")]
    label = f"Losses from update {first['update']} to {last['update']}: " + ", ".join(
        f"{name} from {first[name]:.2f} to {last[name]:.2f}" for name in losses
    )
    rows = [
        [
            fragment(name, tag("small", LOSSES.get(name, ""))),
            f"{first[name]:.3f}",
            f"{last[name]:.3f}",
        ]
        for name in losses
    ]
    told = "Each loss before it is weighted, on the batch of that update."
    if "target" in losses and recipe.soft_label_decay:
        told += (
            f" The weight of the soft labels (target) fades evenly to {1 - recipe.soft_label_decay:.0%} by "
            "the last update: the teachers begin, the student's own opinion takes over."
        )
    caption = tag("figcaption", told)
    numbers = table("losses", "Where the losses began and ended", ["loss", "first>", "last>"], rows)
    figure = tag("figure", draw_curves(history, label), caption)
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
            _data(known[name]),
            _source(known[name]),
        ]
        for name, share in shares
        if name in known
    ]
    if not rows:
        return part(key, title, tag("p", "No teacher took part."), _caution())
    caption = "Who taught, with the share of the teaching"
    columns = ["teacher", "share", "license", "taught on", "source"]
    return part(key, title, _caution(), table("teachers-table", caption, columns, rows))


def _caution() -> Html:
    return tag(
        "p",
        "What may be done with the student depends on your images and on the licenses of every "
        "teacher and its data.",
    )


def _data(card: TeacherCard) -> Html:
    terms = tag("small", f"license: {card.data_license}")
    return tag("td", card.data, terms, class_="long")


def _source(card: TeacherCard) -> Html:
    if not card.repo:
        return link(card.source, card.source)
    commit = tag("small", f"commit {card.revision[:12]}") if card.revision else ""
    return fragment(link(card.source, f"https://huggingface.co/{card.repo}"), commit)


def _again(report: Report, ranking: Mapping[str, Any] | None, sha256: str) -> Part:
    versions = report.to_json()["versions"]
    rows = [
        ["folder of images", report.target],
        ["images and labels, SHA-256", tag("code", report.digest)],
        ["student's weights, SHA-256", tag("code", sha256)],
        ["seed", str(report.recipe.seed)],
        ["initial weights", report.start],
        ["objective", report.objective or "labels alone"],
        ["versions", ", ".join(f"{name} {number}" for name, number in versions.items())],
    ]
    if ranking and ranking.get("metric"):
        metrics = ranking["metric"].replace(",", ", ")
        told = f"by {metrics}, seed {ranking['seed']}, kept beside this page as ranking.json"
        rows.insert(2, ["ranking", told])
    return part(
        "again",
        "How to repeat it",
        *([command_box(report.command)] if report.command else []),
        table("origin", "What it was made from and with", ["entry", "value"], rows, class_="plain"),
        tag("p", "All numbers of the run are in report.json beside this page."),
    )
