"""The model card (README.md) of a saved student, and its license.

The license is never more permissive than those of the teachers and their data. To support another
license, add a line to `zoo.teachers.licenses.KINDS` where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.report.report import Report
from distill.report.student_page import soft_label_summary
from zoo.errors import TeacherBroken
from zoo.images.warnings import describe_overlap
from zoo.teachers.card import TeacherCard
from zoo.teachers.catalogue import BUILTIN
from zoo.teachers.licenses import PERMISSIVE, UNKNOWN, Claim, card_claims, strictness
from zoo.teachers.model_card import USAGE, add_entries, escape_markdown, set_license
from zoo.teachers.starts import Start

OTHER = "other"
"""The Hub's identifier of a license that needs a person's decision."""


def model_card(report: Report, cards: Sequence[TeacherCard]) -> str:
    """The student's model card: method, accuracy, teachers with shares, and licenses."""
    claims = report_claims(report, cards)
    result = report.evaluation
    accuracy = "Not evaluated on held-out images."
    if result:
        accuracy = (
            f"Accuracy on {result.images} held-out images: {result.accuracy:.1%} "
            f"(95 % interval {result.low:.1%} to {result.high:.1%}); balanced accuracy "
            f"{result.balanced_accuracy:.1%}; always the most frequent class "
            f"{result.majority_class_accuracy:.1%}. "
            f"{describe_overlap(report.overlap, result.images)}"
        ).strip()
    lines = [
        f"# {report.arch} for {escape_markdown(', '.join(report.classes))}",
        "",
        f"Trained by source-zoo with the method `{report.method}` on {report.labeled} labeled and "
        f"{report.unlabeled} unlabeled images in {report.recipe.updates} updates at "
        f"{report.image_size} px; initial weights: "
        f"{escape_markdown(str(report.start))}.",
        "",
        accuracy,
        "",
        *_teacher_lines(report, cards),
        "## Usage",
        "",
        USAGE,
        *license_lines(claims),
    ]
    text = set_license("\n" + "\n".join(lines), choose_license(claims))
    return add_entries(text, hub_entries(report, cards, choose_license(claims)))


def hub_entries(report: Report, cards: Sequence[TeacherCard], license: str) -> dict[str, Any]:
    """What the Hub shows of a model: its base, a name for license `other`, and its accuracy."""
    repos = {card.repo for card in cards if card.repo and card.name in report.teachers}
    if not report.start.is_random and report.start.card.repo:
        repos.add(report.start.card.repo)
    entries: dict[str, Any] = {"base_model": sorted(repos)} if repos else {}
    if license == OTHER:
        entries |= {"license_name": "see-license-section", "license_link": "README.md"}
    if result := report.evaluation:
        names = ("accuracy", "balanced_accuracy")
        found = {
            "task": {"type": "image-classification"},
            "dataset": {"name": f"{result.images} held-out images", "type": "imagefolder"},
            "metrics": [{"type": name, "value": round(getattr(result, name), 4)} for name in names],
        }
        entries["model-index"] = [{"name": report.arch, "results": [found]}]
    return entries


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
            data = f"{card.data} ({card.data_license})"
            cells = " | ".join(map(escape_markdown, (card.source, card.license, data)))
        rows.append(f"| {escape_markdown(name)} | {share:.1%} | {cells} |")
    head = ["## Teachers", "", "| teacher | share | source | license | data (its license) |"]
    summary = soft_label_summary(report)
    return [*head, "|---|---|---|---|---|", *rows, "", *([summary, ""] if summary else [])]


def teacher_claims(names: Sequence[str], cards: Sequence[TeacherCard]) -> list[Claim]:
    """Licenses of each teacher's weights and data, and those of its initial weights.

    A teacher that has no card among these has an unknown license.
    """
    known = {card.name: card for card in cards}
    claims: list[Claim] = []
    for name in names:
        claims += card_claims(known[name], name) if name in known else [Claim(name, UNKNOWN)]
    bases = {known[name].base for name in names if name in known} - {""}
    for base in sorted(base for base in bases if Path(base).name not in names):
        what = f"{Path(base).name}, initial weights of teachers"
        try:
            claims += card_claims(TeacherCard.load(BUILTIN.parent / base), what)
        except TeacherBroken:  # a card may name any base
            claims.append(Claim(what, UNKNOWN))
    return claims


def start_claims(start: Start) -> list[Claim]:
    """Licenses of the student's initial weights and of their data; none for random ones."""
    return [] if start.is_random else card_claims(start.card, "the initial weights")


def choose_license(claims: Sequence[Claim]) -> str:
    """The strictest license if all are permissive; `other` if one is not, or without claims."""
    if not claims or any(claim.kind != PERMISSIVE for claim in claims):
        return OTHER
    return max(claims, key=strictness).entry


def license_lines(claims: Sequence[Claim]) -> list[str]:
    """The license section of a model card, in Markdown."""
    chosen = choose_license(claims)
    summary = (
        "No teacher and no initial weights restrict this model. `license: other` means that no "
        "license was chosen yet."
    )
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in sorted(claims, key=strictness, reverse=True):
        rows.setdefault((claim.license or UNKNOWN, claim.kind), []).append(claim.what)
    table = [
        f"| {escape_markdown(name)} | {kind} | {escape_markdown('; '.join(what))} |"
        for (name, kind), what in rows.items()
    ]
    if claims:
        worst = max(claims, key=strictness)
        summary = (
            f"The strictest license is {escape_markdown(worst.license or UNKNOWN)} ({worst.kind}), "
            f"of {escape_markdown(worst.what)}. "
            + (
                f"All are permissive, so the model's is `{chosen}`."
                if chosen != OTHER
                else "The model's is set to `other`: read the terms and decide."
            )
        )
        table = ["| license | kind | of |", "|---|---|---|", *table, ""]
    own = "The license of your training images is not included. This is not legal advice."
    return ["## License", "", summary, "", *table, own, ""]
