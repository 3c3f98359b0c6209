"""HTML, escaped and balanced by construction: tags, tables, bars, and pages that load nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

TALL = 40
"""A table with more rows scrolls in its box."""

INTERVAL = "95\u00a0% interval"
"""With a space that no line breaks."""

_VOID = frozenset({"img", "meta", "br"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: no scripts, nothing from other servers."""


class Html(str):
    """Text that is HTML already: all other text is escaped."""

    __slots__ = ()


def fragment(*parts: str) -> Html:
    """Join the parts, escaped where they are not HTML."""
    return Html("".join(p if isinstance(p, Html) else escape(printable(p)) for p in parts))


def printable(text: str) -> str:
    """The text with control characters and broken UTF-8 replaced."""
    return _CONTROL.sub("\ufffd", text)


def join_names(names: Sequence[str], most: int = 6) -> str:
    """At least one name as a list in a sentence, cut after `most`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def tag(name: str, /, *children: str, **attributes: str | int) -> Html:
    """An element: `class_` is class, `aria_label` is aria-label; empty attributes are left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)))}"'
        for key, value in attributes.items()
        if value != "" or key == "alt"
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{fragment(*children)}</{name}>")


def paragraph(*children: str, class_: str = "") -> Html:
    """A paragraph."""
    return tag("p", *children, class_=class_)


def link(text: str, address: str) -> Html:
    """The text, as a link if the address is http or https."""
    if not address.startswith(("https://", "http://")):
        return fragment(text)
    return tag("a", text, href=address, rel="noreferrer")


Part = tuple[str, str, Html]
"""Anchor, heading and content of a section of a page."""


def part(key: str, title: str, *children: str) -> Part:
    """A section of a page; `key` is its anchor, unique on the page."""
    return key, title, fragment(*children)


def table(
    key: str,
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    class_: str = "",
) -> Html:
    """A table in a box that scrolls when it is wider than the page.

    Args:
        key: unique on the page.
        caption: what it shows.
        columns: titles; those that end in > are right-aligned.
        rows: a cell per column, text or a `td`; the first names its row.
        class_: of the table, for the style.
    """
    sides = ["number" if title.endswith(">") else "text" for title in columns]

    def name(text: str) -> Html:
        return tag("span", text, class_="name")

    def cell(content: str, side: str) -> Html:
        if isinstance(content, Html) and content.startswith("<td"):
            return content
        return tag("td", content, class_=side)

    head = [
        tag("th", name(title.removesuffix(">")), scope="col", class_=side)
        for title, side in zip(columns, sides, strict=True)
    ]
    body = [
        tag("tr", tag("th", name(row[0]), scope="row"), *map(cell, row[1:], sides[1:]))
        for row in rows
    ]
    label = f"{key}-caption"
    inner = tag(
        "table",
        tag("caption", tag("span", caption), id=label),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_=class_,
    )
    box = "scroll tall" if len(rows) > TALL else "scroll"
    return tag("div", inner, class_=box, role="region", aria_labelledby=label, tabindex=0)


def bar(length: float) -> Html:
    """A bar of this length, 0..1, next to its number."""
    filled = tag("span", style=f"width:{100 * length:.2f}%")
    return tag("span", filled, class_="bar", aria_hidden="true")


def score_cell(
    texts: tuple[str, str, str],
    point: float,
    low: float | None,
    high: float | None,
    *,
    mark: float | None = None,
    hollow: bool = False,
) -> Html:
    """A table cell with a score and its interval, as numbers and drawn on a line from 0 to 1.

    Args:
        texts: the score and the ends of its interval as text.
        point: position of the dot, 0..1.
        low: position of the lower end; None without an interval.
        high: of the upper end.
        mark: position of a vertical mark; None without one.
        hollow: whether the dot is hollow.
    """
    interval: list[str] = []
    drawn: list[Html] = []
    if low is not None and high is not None:
        interval = [" ", tag("span", f"{texts[1]} to {texts[2]}", class_="ends")]
        place = f"left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"
        drawn.append(tag("span", class_="range", style=place))
    if mark is not None:
        drawn.append(tag("span", class_="mark", style=f"left:{100 * mark:.2f}%"))
    dot = "dot hollow" if hollow else "dot"
    drawn.append(tag("span", class_=dot, style=f"left:{100 * point:.2f}%"))
    track = tag("span", *drawn, class_="track", aria_hidden="true")
    return tag("td", texts[0], *interval, track, class_="wide")


def origin_part(command: str, rows: Sequence[Sequence[str]], *notes: str) -> Part:
    """The last section of a page: the command line, if any, and what the results depend on."""
    code = tag("code", command)
    box = tag("pre", code, tabindex=0, role="region", aria_label="Command line")
    return part(
        "again",
        "Reproduce",
        *([box] if command else []),
        table("origin", "Inputs and versions", ["entry", "value"], rows, class_="plain"),
        paragraph(*notes),
    )


def document(
    kind: str,
    heading: str,
    paragraphs: Sequence[Html],
    facts: Sequence[tuple[str, str]],
    parts: Sequence[Part],
) -> str:
    """A whole page with its style inside.

    Args:
        kind: of the page, in the browser's title and above the heading.
        heading: its subject.
        paragraphs: the summary.
        facts: names and values below the summary.
        parts: sections, with links to them at the top.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{heading} - {kind}"),
        tag("style", Html(_STYLE.read_text(encoding="utf-8"))),
    )
    values = [
        tag("div", tag("dt", name), tag("dd", value), class_="line" if len(value) > 24 else "")
        for name, value in facts
    ]
    links = [tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in parts]
    header = tag(
        "header",
        paragraph(f"source-zoo {kind}", class_="kicker"),
        tag("h1", heading),
        *paragraphs,
        tag("dl", *values),
        tag("nav", tag("ul", *links), aria_label="Sections of this page"),
    )
    sections = [
        tag(
            "section",
            tag("h2", title, id=f"{key}-title"),
            content,
            id=key,
            aria_labelledby=f"{key}-title",
        )
        for key, title, content in parts
    ]
    body = tag("body", tag("main", header, *sections))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
