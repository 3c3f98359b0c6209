"""HTML pages from the templates beside this file: escaped, in one file, without scripts."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zoo.errors import ImagesError
from zoo.images.decoding import thumbnail

Html = Markup
"""Text that is HTML already: a template escapes all other text."""

NAMED = 6
"""Names of a list in a sentence, at most."""
INTERVAL = "95\u00a0% interval"
"""With a space that no line breaks."""

_TEMPLATES = Path(__file__).with_name("templates")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def render_page(context: Mapping[str, Any]) -> str:
    """A page from `page.html`; `sections` names the macros of `sections.html` by their titles."""
    style = Html((_TEMPLATES / "page.css").read_text(encoding="utf-8"))
    template = _environment().get_template("page.html")
    return template.render(context, style=style, interval=INTERVAL)


def picture(path: Path) -> str:
    """A thumbnail as base64 of JPEG; empty if the image is unreadable, or gone."""
    try:
        return b64encode(thumbnail(path)).decode()
    except ImagesError:
        return ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_replace_control,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value, digits=1: f"{value:.{digits}%}"
    environment.filters["decimal"] = lambda value, digits: f"{value:.{digits}f}"
    return environment


def _replace_control(value: Any) -> Any:
    """Replace what a page cannot hold: control characters and broken UTF-8."""
    return value if isinstance(value, Html) else _CONTROL.sub("\ufffd", str(value))
