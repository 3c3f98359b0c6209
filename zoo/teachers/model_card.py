"""Model cards (README.md) in the Hub's form: front matter with a license, and a body."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from zoo.teachers.card import TeacherCard

FRONT_MATTER = (
    "library_name: timm\npipeline_tag: image-classification\n"
    "tags: [image-classification, timm, source-zoo]\n"
)
"""Of a model card that has none, without its license."""

LOCAL = "local-dir:FOLDER"
"""How timm loads a folder; publishing replaces it by the name on the Hub."""
USAGE = (
    f'```python\nimport timm\nmodel = timm.create_model("{LOCAL}", pretrained=True).eval()\n```\n'
)


def escape_markdown(text: str) -> str:
    """Text of a card or folder as one line of Markdown, in which nothing is markup or HTML."""
    line = html.escape(_one_line(text), quote=False)
    return re.sub(r"([\\`*\[\]|])", r"\\\1", line)


def code_span(text: str) -> str:
    """Text as code in Markdown, in one line."""
    return f"`{_one_line(text).replace('`', chr(39))}`"


def _one_line(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())


def set_license(text: str, license: str) -> str:
    """Set the license in the front matter of a model card; adds front matter if it has none."""
    head = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    entries = head[1] if head else FRONT_MATTER
    # an old license and the lines of its list or folded text
    entries = re.sub(r"^license:.*\n(?:[ \t]+\S.*\n|- .*\n)*", "", entries, flags=re.MULTILINE)
    # as YAML reads it: quoted unless it is a plain identifier
    plain = re.fullmatch(r"[A-Za-z][\w.+-]*", license, re.ASCII)
    stated = license if plain else json.dumps(_one_line(license))
    return f"---\nlicense: {stated}\n{entries}---\n{text[head.end() if head else 0 :]}"


def add_entries(text: str, entries: Mapping[str, Any]) -> str:
    """Add entries to the front matter of a model card that has one; JSON is YAML too."""
    lines = "".join(
        f"{name}: {json.dumps(value, ensure_ascii=True)}\n" for name, value in entries.items()
    )
    head = re.match(r"---[ \t]*\n", text)
    return f"{head[0]}{lines}{text[head.end() :]}" if head else f"---\n{lines}---\n{text}"


def teacher_model_card(card: TeacherCard) -> str:
    """The body of a teacher's model card."""
    accuracy = "unknown"
    if card.accuracy is not None:
        count = card.accuracy_images or "an unknown number of"
        accuracy = f"{card.accuracy:.1%} of {count} held-out images"
    entries = (card.name, card.domain, ", ".join(card.labels), card.data, card.data_license)
    name, domain, labels, data, data_license = map(escape_markdown, entries)
    return (
        f"\n# {name}\n\nA teacher of source-zoo: {domain}.\n\n"
        f"- network: {code_span(card.network)}, {card.params / 1e6:.1f} M parameters\n"
        f"- classes: {labels or 'none: used for its features'}\n"
        f"- training data: {data} ({data_license})\n- accuracy: {accuracy}\n"
        f"- trained with: {code_span(card.recipe or 'unknown')}\n\n{USAGE}"
    )
