"""Predictions as rows of text, of a CSV table, and of a JSON list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.evaluation.prediction import Prediction, Predictions

UNKNOWN, UNREADABLE = "unknown", "unreadable"
"""What stands in the place of a class, in text."""


def text_row(row: Prediction, top: int | None) -> list[str]:
    """Path, class and probability; with `top` further classes and probabilities."""
    if row.error:
        return [row.path, UNREADABLE, row.error]
    pairs = [*row.probabilities.items()][: top or 1]
    if row.unknown:
        return [row.path, UNKNOWN, f"{row.probability:.3f}"]
    return [row.path, *(word for name, part in pairs for word in (name, f"{part:.3f}"))]


def csv_rows(found: Predictions, top: int | None, *, unknown: bool) -> Iterator[list[str]]:
    """A header and a row for each image: probabilities of all classes, or the `top` classes."""
    head = ["path", "label", "probability", *(["unknown"] if unknown else [])]
    places = range(1, min(top, len(found.classes))) if top else ()
    further = [f"p({name})" for name in found.classes]
    if top:
        further = [title.format(n + 1) for n in places for title in ("label {}", "probability {}")]
    yield [*head, *further, "error"]
    for row in found:
        if row.error:
            yield [row.path, *[""] * (len(head) - 1 + len(further)), row.error]
            continue
        cells = [row.path, row.label, f"{row.probability:.6f}"]
        cells += [str(row.unknown).lower()] if unknown else []
        parts = {name: f"{part:.6f}" for name, part in row.probabilities.items()}
        if top:
            pairs = [*parts.items()]
            cells += [cell for place in places for cell in pairs[place]]
        else:
            cells += [parts[name] for name in found.classes]
        yield [*cells, ""]
