"""Figures of a report page as inline SVG, in the page's colors and font."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.report.html import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from distill.evaluation.metrics import Calibration

POINTS = 200
"""Maximum number of points of a curve: neighbors are averaged."""

_TEXT = "#010203"
_SERIES = ("#010213", "#010223", "#010233", "#010243")
_DASHES = ("-", "--", "-.", ":")
_COLORS = {_TEXT: "currentColor"} | {
    color: f"var(--series-{number})" for number, color in enumerate(_SERIES, start=1)
}
"""Placeholder colors in matplotlib's SVG and the page's colors that replace them."""

_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "source-zoo",
    "text.parse_math": False,
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "lines.dash_capstyle": "round",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _TEXT
    ),
}


def draw_curves(history: Sequence[Mapping[str, float]], label: str) -> Html:
    """Draw the losses of a run by update, from two entries of its history or more.

    `label` is the text alternative of the figure.
    """
    losses = [name for name in history[0] if name not in ("update", "rate")]
    values = np.array([[entry[name] for name in ("update", *losses)] for entry in history])
    parts = np.array_split(values, min(POINTS, len(values)))
    means = np.stack([part.mean(axis=0) for part in parts])
    with _plain_look() as new_figure:
        figure = new_figure(5.0, 3.2)
        axes = figure.subplots()
        for number, name in enumerate(losses):
            look = {"color": _SERIES[number % 4], "linestyle": _DASHES[number % 4]}
            axes.plot(means[:, 0], means[:, number + 1], label=name, **look)
        axes.set(xlabel="update", ylabel="loss", ylim=(0, None))
        _rule(axes)
        figure.legend(loc="outside upper left", ncols=2 if len(losses) == 4 else 3)
        return _to_svg(figure, "curves", label)


def draw_reliability(calibration: Calibration, label: str) -> Html:
    """Draw accuracy by confidence, above a histogram of the confidence, of at least one image.

    `label` is the text alternative of the figure.
    """
    bins = calibration.bins
    middles = (np.arange(len(bins)) + 0.5) / len(bins)
    full = [number for number, each in enumerate(bins) if each.count]
    rows = [(each.accuracy, each.confidence, each.low, each.high) for each in bins if each.count]
    accuracy, confidence, *ends = np.array(rows, dtype=float).T
    with _plain_look() as new_figure:
        figure = new_figure(5.0, 4.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], color=_TEXT, linestyle=":", linewidth=1.2, label="ideal")
        upper.bar(middles[full], accuracy, 0.92 / len(bins), color=_SERIES[0], alpha=0.25)
        upper.vlines(confidence, *ends, color=_SERIES[0], linewidth=1.4)
        dots = {"color": _SERIES[0], "markersize": 5, "label": "student, 95 % interval"}
        upper.plot(confidence, accuracy, "o", **dots)
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6)
        lower.bar(middles, [each.count for each in bins], 0.92 / len(bins), color=_TEXT, alpha=0.4)
        lower.set(xlabel="confidence", ylabel="images")
        lower.tick_params(axis="x", pad=6)
        for axes in (upper, lower):
            _rule(axes)
        return _to_svg(figure, "reliability", label)


@contextmanager
def _plain_look() -> Iterator[Any]:
    """Yield a factory of figures (width, height in inches); matplotlib logs nothing."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.CRITICAL)  # the first figure on a machine logs its font search
    try:
        import matplotlib
        from matplotlib.figure import Figure

        with warnings.catch_warnings(), matplotlib.rc_context(_LOOK):
            warnings.simplefilter("ignore")  # glyphs that its font lacks: the page's font has them
            yield lambda width, height: Figure(figsize=(width, height), layout="constrained")
    finally:
        log.setLevel(level)


def _rule(axes: Any) -> None:
    """Draw thin grid lines and no ticks."""
    axes.grid(axis="y", color=_TEXT, alpha=0.15, linewidth=0.6)
    axes.tick_params(length=0)


def _to_svg(figure: Figure, key: str, label: str) -> Html:
    """The figure as an `svg` element; `key` makes its ids unique on the page."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # a style element would apply to the whole page
    text = re.sub(r"<(style|metadata)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    for color, word in _COLORS.items():
        text = text.replace(color, word)
    return Html(text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1).strip())
