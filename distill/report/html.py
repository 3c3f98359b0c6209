"""HTML, safe and balanced by construction: tags, tables, bars, and pages that load nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

TALL = 40
"""A table of more rows than this scrolls in its box."""

_VOID = frozenset({"img", "meta", "br"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_STYLE = Path(__file__).with_name("page.css")
INTERVAL = "95\u00a0% interval"
"""The words for it, which no line breaks."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser lets the page do: no scripts, and nothing from elsewhere."""


class Html(str):
    """Text that is HTML already: all other text is escaped."""

    __slots__ = ()


def fragment(*parts: str) -> Html:
    """The parts one after the other, escaped where they are not HTML."""
    return Html("".join(p if isinstance(p, Html) else escape(readable(p)) for p in parts))


def readable(text: str) -> str:
    """The text without what no page can hold: control characters and broken UTF-8."""
    return _CONTROL.sub("\ufffd", text)


def few(words: Sequence[str], most: int = 6) -> str:
    """The first of at least one word in a list for a sentence, and how many more there are."""
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most} more"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def tag(name: str, /, *children: str, **attributes: str | int) -> Html:
    """An element: `class_` is the attribute class, `aria_label` is aria-label; empty ones fall."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(readable(str(value)))}"'
        for key, value in attributes.items()
        if value != "" or key == "alt"
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{fragment(*children)}</{name}>")


def link(text: str, address: str) -> Html:
    """The text, as a link if the address is one of the Web."""
    if not address.startswith(("https://", "http://")):
        return fragment(text)
    return tag("a", text, href=address, rel="noreferrer")


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes:
        key: its anchor, unique on the page.
        title: its heading.
        content: below the heading.
    """

    key: str
    title: str
    content: Html


def part(key: str, title: str, *children: str) -> Part:
    """A part of a page; `key` is its anchor."""
    return Part(key, title, fragment(*children))


def table(
    key: str,
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    class_: str = "",
) -> Html:
    """A table in a box of its own that scrolls when it is wider than the page.

    Args:
        key: unique on the page.
        caption: what it shows.
        columns: titles; those that end in > are set to the right.
        rows: a cell per column, the first one names its row.
        class_: of the table, for the style.
    """
    sides = ["number" if title.endswith(">") else "text" for title in columns]
    head = [
        tag("th", _name(title.removesuffix(">")), scope="col", class_=side)
        for title, side in zip(columns, sides, strict=True)
    ]
    body = [
        tag("tr", tag("th", _name(row[0]), scope="row"), *map(_cell, row[1:], sides[1:]))
        for row in rows
    ]
    inner = tag(
        "table",
        tag("caption", tag("span", caption), id=f"{key}-caption"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_=class_,
    )
    box = "scroll tall" if len(rows) > TALL else "scroll"
    return tag("div", inner, class_=box, role="region", aria_labeledby=f"{key}-caption", tabindex=0)


def _name(words: str) -> Html:
    """A name of any length, broken into lines if it must be."""
    return tag("span", words, class_="name")


def _cell(content: str, side: str) -> Html:
    """The content as a cell, if it is none already."""
    if isinstance(content, Html) and content.startswith("<td"):
        return content
    return tag("td", content, class_=side)


def ends(low: str, high: str) -> Html:
    """Where an interval begins and ends, to stand after its middle."""
    return fragment(" ", tag("span", f"{low} to {high}", class_="ends"))


def command_box(command: str) -> Html:
    """A command line to copy, in one line however long it is."""
    code = tag("code", command)
    return tag("pre", code, tabindex=0, role="region", aria_label="Command line")


def facts(*pairs: tuple[str, str]) -> Html:
    """Names and values side by side."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value), class_="line" if len(value) > 24 else "")
            for name, value in pairs
        ),
    )


def bar(length: float) -> Html:
    """A bar of this length, 0..1; the number beside it is for who cannot see it."""
    filled = tag("span", style=f"width:{100 * length:.2f}%")
    return tag("span", filled, class_="bar", aria_hidden="true")


def track(
    point: float,
    low: float | None,
    high: float | None,
    *,
    mark: float | None = None,
    hollow: bool = False,
) -> Html:
    """A dot with its interval and maybe a mark on a line from 0 to 1; numbers stand beside it."""
    parts: list[Html] = []
    if low is not None and high is not None:
        place = f"left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"
        parts.append(tag("span", class_="range", style=place))
    if mark is not None:
        parts.append(tag("span", class_="mark", style=f"left:{100 * mark:.2f}%"))
    kind = "dot hollow" if hollow else "dot"
    parts.append(tag("span", class_=kind, style=f"left:{100 * point:.2f}%"))
    return tag("span", *parts, class_="track", aria_hidden="true")


def document(title: str, top: Sequence[Html], parts: Sequence[Part]) -> str:
    """A whole page with its style inside.

    Args:
        title: in the browser's bar.
        top: what stands above the parts.
        parts: under a heading each, with links to them at the top.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_STYLE.read_text(encoding="utf-8"))),
    )
    links = [tag("li", tag("a", part.title, href=f"#{part.key}")) for part in parts]
    nav = tag("nav", tag("ul", *links), aria_label="Parts of this page")
    sections = [
        tag(
            "section",
            tag("h2", part.title, id=f"{part.key}-title"),
            part.content,
            id=part.key,
            aria_labeledby=f"{part.key}-title",
        )
        for part in parts
    ]
    body = tag("body", tag("main", tag("header", *top, nav), *sections))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
