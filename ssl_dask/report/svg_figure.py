"""Matplotlib figures as small SVG fragments that stand together on one HTML page.

Text stays text, ids are unique to the figure, and neutral colours become the page's own (`--ink`,
`--muted`, `--grid`, `--surface`), so that a figure follows a dark page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

INK, MUTED, GRID, SURFACE = "#010203", "#040506", "#070809", "#0a0b0c"
_PAGE_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ssl_dask",
    # A dollar sign in a class name is no formula.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 12.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
EDGE, PAD, LINE, TITLE = 0.05, 0.08, 0.19, 0.28
"""Inches: to the edge of a figure, between words and axes, of a line of words, of a title."""
LEGEND = 0.25
"""Inches of a legend above a panel."""
POINTS_PER_INCH = 72.0
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save figures inside this: settings are put back afterwards."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser draws the text, with its own fonts.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def short_name(text: str, most: int = 24) -> str:
    """Return a class name fit to be drawn: one line, printable, at most `most` characters."""
    clean = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return clean if len(clean) <= most else clean[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def lay_out(figure: Figure, head: float = 0.0) -> None:
    """Place the panels of a figure, one above the other, so that the words around them have room.

    Matplotlib's own layouts draw all words twice more, which was most of the time of a report.

    Parameters
    ----------
    head
        Inches above the first panel beside its title, for a legend.
    """
    width, height = figure.get_size_inches()
    panels = [axes for axes in figure.axes if axes.axison]
    if not panels:
        return
    left = max(_left(axes) for axes in panels)
    right = EDGE + max(_widest(axes.xaxis) for axes in panels) / 2.0
    top, bottom = EDGE + PAD + head, EDGE + PAD + LINE
    if panels[-1].get_xlabel():
        bottom += LINE
    titles = [TITLE if axes.get_title(loc="left") else 0.0 for axes in panels]
    gaps = PAD * (len(panels) - 1)
    each = (height - top - bottom - sum(titles) - gaps) / len(panels)
    above = top
    for axes, title in zip(panels, titles, strict=True):
        above += title
        place = (left, height - above - each, width - left - right, each)
        axes.set_position(
            (place[0] / width, place[1] / height, place[2] / width, place[3] / height)
        )
        above += each + PAD


def _left(axes: Axes) -> float:
    label = LINE + EDGE if axes.get_ylabel() else 0.0
    return EDGE + label + _widest(axes.yaxis) + PAD


def _widest(axis: Axis) -> float:
    """Return the width of the widest number or name along an axis, in inches."""
    widths = [
        text_to_path.get_text_width_height_descent(
            label.get_text(), FontProperties(size=label.get_fontsize()), False
        )[0]
        for label in axis.get_majorticklabels()
        if label.get_visible() and label.get_text()
    ]
    return max(widths, default=0.0) / POINTS_PER_INCH


def to_svg(figure: Figure, name: str, description: str, head: float = 0.0) -> str:
    """Return the figure as one `<svg>` element.

    Parameters
    ----------
    figure
        Drawn inside `figure_style`.
    name
        Unique on the page; letters, digits and dashes. It begins every id.
    description
        What the figure shows, for readers who cannot see it.
    head
        Inches above the first panel, for a legend.
    """
    lay_out(figure, head)
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.S
    )
    # Only inside tags: what stands between them is text of ours and names of classes.
    text = re.sub(r"<[^>]*>", lambda tag: _tidy_tag(tag.group(), name), text)
    text = re.sub(r">\s*\n\s*<", "><", text)
    label = escape(_UNPRINTABLE.sub(" ", description), quote=True)
    return text.replace("<svg ", f'<svg class="chart" role="img" aria-label="{label}" ', 1).strip()


def _tidy_tag(tag: str, name: str) -> str:
    if tag.startswith("<svg"):
        return re.sub(r' (?:width|height|version|xmlns:xlink)="[^"]*"', "", tag)
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'href="#', f'href="#{name}-', tag)
    tag = re.sub(r"url\(#", f"url(#{name}-", tag)
    tag = re.sub(r'\b(d|x|y|transform)="[^"]*"', lambda found: _fewer_digits(found.group()), tag)
    return re.sub(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", _page_colour, tag)


def _page_colour(found: re.Match[str]) -> str:
    return _PAGE_COLOURS.get(found.group(), found.group())


def _fewer_digits(attribute: str) -> str:
    # A zero-length line with round ends is a dot.
    attribute = re.sub(r"M (\S+) (\S+) \nL \1 \2\s?", r"M\1 \2h0", attribute)
    attribute = re.sub(r"(\.\d)\d+", r"\1", attribute)
    return re.sub(r"\s*\n\s*", " ", attribute)
