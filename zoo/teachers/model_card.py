"""Model cards (README.md) in the Hub's form: front matter with a license, and a body."""

from __future__ import annotations

import re

from zoo.teachers.card import TeacherCard

FRONT_MATTER = (
    "library_name: timm\npipeline_tag: image-classification\n"
    "tags: [image-classification, timm, source-zoo]\n"
)
"""Of a model card that has none, without its license."""

USAGE = (
    "```python\nimport timm\n"
    'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n```\n'
)


def set_license(text: str, license: str) -> str:
    """Set the license in the front matter of a model card; adds front matter if it has none."""
    head = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    entries = head[1] if head else FRONT_MATTER
    # an old license and the lines of its list or folded text
    entries = re.sub(r"^license:.*\n(?:[ \t]+\S.*\n|- .*\n)*", "", entries, flags=re.MULTILINE)
    return f"---\nlicense: {license}\n{entries}---\n{text[head.end() if head else 0 :]}"


def teacher_model_card(card: TeacherCard) -> str:
    """The body of a teacher's model card."""
    accuracy = "unknown"
    if card.accuracy is not None:
        accuracy = f"{card.accuracy:.1%} of {card.accuracy_images} held-out images"
    return (
        f"\n# {card.name}\n\nA teacher of source-zoo: {card.domain}.\n\n"
        f"- network: `{card.network}`, {card.params / 1e6:.1f} M parameters\n"
        f"- classes: {', '.join(card.labels) or 'none: used for its features'}\n"
        f"- training data: {card.data} ({card.data_license})\n- accuracy: {accuracy}\n"
        f"- trained with: `{card.recipe or 'unknown'}`\n\n{USAGE}"
    )
