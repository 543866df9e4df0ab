"""The figures of the report, each from plain numbers to one SVG element."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ssl_dask.array_types import Bool, Int64
from ssl_dask.decision.calibration import ReliabilityBin
from ssl_dask.evaluation.metrics import clopper_pearson
from ssl_dask.report.picture import Points
from ssl_dask.report.svg_figure import (
    GRID,
    INK,
    LEGEND,
    MUTED,
    SURFACE,
    figure_style,
    short_name,
    to_svg,
)
from ssl_dask.round_record import RoundRecord

MOST_CLASSES_DRAWN = 30
WIDTH = 6.2
FEWEST_IN_BIN = 10
"""Rows of a point in the picture of probabilities: the share right among fewer says nothing."""
ACCENT, SECOND = "#0072b2", "#e08a00"
GREY = "#9aa0a6"


def before_and_after(
    points: Points,
    codes: Int64,
    seeds: Bool,
    colours: Sequence[str],
    what: str,
    names: Sequence[str] = (),
) -> tuple[str, str]:
    """Return two pictures of the same rows: the seeds alone, and every row in its colour.

    Parameters
    ----------
    points
        float64 (n, 2).
    codes
        int (n,): place of each row's colour after the run, -1 where it abstained.
    seeds
        bool (n,): whether the label was given.
    colours
        One for each code.
    what
        What a row got: "label" or "number".
    names
        Of the codes, written into the second picture; empty: none.
    """
    before = np.where(seeds, codes, -1)
    n_seeds, n_given = int(seeds.sum()), int((codes >= 0).sum())
    with figure_style():
        first = _scatter(points, before, seeds, colours, hollow=False)
        second = _scatter(points, codes, seeds, colours, hollow=True)
        if len(names) <= MOST_CLASSES_DRAWN:
            for code, name in enumerate(names):
                mine = points[codes == code]
                if len(mine):
                    (axes,) = second.axes
                    _name_at(axes, _central(mine), short_name(name, 16), f"rim{code}")
        return (
            to_svg(first, "before", f"{len(points)} rows before the run, {n_seeds} of them seeds"),
            to_svg(second, "after", f"The same rows after the run, {n_given} with a {what}"),
        )


def _scatter(
    points: Points, codes: Int64, seeds: Bool, colours: Sequence[str], *, hollow: bool
) -> Figure:
    figure = Figure(figsize=(WIDTH, WIDTH * 0.82))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    _fit_view(axes, points)
    size = 4.6 if len(points) > 500 else 7.0
    none = codes < 0
    draw_dots(axes, points[none], size, GREY, alpha=0.9 if hollow else 0.45)
    if hollow:
        draw_dots(axes, points[none], size - 1.8, SURFACE)
    for code, colour in enumerate(colours):
        draw_dots(axes, points[(codes == code) & ~seeds], size, colour, alpha=0.8)
    ring = 2.4 if seeds.sum() <= 150 else 1.0
    draw_dots(axes, points[seeds], size + 3 * ring, INK)
    draw_dots(axes, points[seeds], size + 2 * ring, SURFACE)
    for code, colour in enumerate(colours):
        draw_dots(axes, points[(codes == code) & seeds], size + ring, colour)
    return figure


def _fit_view(axes: Axes, points: Points) -> None:
    """Set the limits of axes so that all points are seen."""
    for limit, values in ((axes.set_xlim, points[:, 0]), (axes.set_ylim, points[:, 1])):
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        margin = 0.04 * (high - low) or 1.0
        limit(low - margin, high + margin)


def draw_dots(axes: Axes, points: Points, size: float, colour: str, alpha: float = 1.0) -> None:
    """Draw all points as one path of zero-length lines with round ends: 12 bytes a point."""
    if len(points) == 0:
        return
    path = Path(np.repeat(points, 2, axis=0), [Path.MOVETO, Path.LINETO] * len(points))
    path.should_simplify = False
    patch = PathPatch(path, fill=False, linewidth=size, edgecolor=colour, capstyle="round")
    patch.set_alpha(alpha)
    patch.set_clip_on(False)
    # The limits are set by the caller: to find them from thousands of curves takes long.
    axes.add_artist(patch)


def _central(points: Points) -> Points:
    """Return the point nearest to the median; the median itself may lie between two clumps."""
    gaps = ((points - np.median(points, axis=0)) ** 2).sum(axis=1)
    return points[gaps.argmin()]


def _name_at(axes: Axes, point: Points, name: str, group: str) -> None:
    x, y = point
    text = axes.text(x, y, name, fontsize=14, fontweight="bold", ha="center", va="center")
    # The page draws a rim around text in groups named so, that it reads on any dots.
    text.set_gid(group)


@contextmanager
def panel(height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure of one panel, `height` inches high, in the style of the page."""
    with figure_style():
        figure = Figure(figsize=(WIDTH, height))
        yield figure, figure.add_subplot()


def label_axes(axes: Axes, x: str, y: str, grid: Literal["both", "y"] = "both") -> None:
    """Name both axes, and draw a grid in the place of ticks."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis=grid)
    axes.tick_params(length=0)


def iterations_axis(axes: Axes, name: str) -> None:
    """Dress the axis of iterations, which are whole numbers."""
    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def log_curve(axes: Axes, rounds: Sequence[RoundRecord], colour: str) -> None:
    """Draw the residuals of iterations on a logarithmic scale."""
    at = np.array([record.iteration for record in rounds])
    residual = np.array([record.residual for record in rounds], dtype=float)
    drawn = np.isfinite(residual) & (residual > 0)
    axes.plot(at[drawn], residual[drawn], color=colour, marker="o", markersize=3, lw=1.4)
    if drawn.any():
        axes.set_yscale("log")


def _counts_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def class_counts_chart(
    class_names: Sequence[str], seeds: Sequence[int], labels: Sequence[int]
) -> str:
    """Return bars of each class's share among the seeds and among the labelled rows."""
    shown = list(range(len(class_names)))
    if len(shown) > MOST_CLASSES_DRAWN:
        shown = sorted(shown, key=lambda code: (-labels[code], code))[:MOST_CLASSES_DRAWN]
    y = np.arange(len(shown), dtype=float)
    n_seeds, n_labels = max(sum(seeds), 1), max(sum(labels), 1)
    seed_share = [100 * seeds[code] / n_seeds for code in shown]
    label_share = [100 * labels[code] / n_labels for code in shown]
    with panel(1.0 + 0.38 * len(shown)) as (figure, axes):
        axes.barh(y - 0.19, label_share, height=0.36, color=ACCENT, label="rows labelled")
        axes.barh(y + 0.19, seed_share, height=0.36, color=SECOND, label="seeds")
        reach = max([*seed_share, *label_share, 1e-9])
        for at, code in enumerate(shown):
            for share, rows, shift in (
                (label_share[at], labels[code], -0.19),
                (seed_share[at], seeds[code], 0.19),
            ):
                axes.text(share + reach * 0.012, at + shift, f"{rows:,}", va="center", fontsize=8.5)
        axes.set_xlim(0, reach * 1.15)
        axes.margins(y=0.02)
        axes.set_yticks(y, [short_name(class_names[code]) for code in shown])
        axes.invert_yaxis()
        horizontal_bars(axes, "share, %")
        axes.legend(
            frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=10
        )
        return to_svg(
            figure, "classes", "Share of each class among seeds and labelled rows", LEGEND
        )


def abstentions_chart(reasons: Mapping[str, int], words: Mapping[str, str]) -> str:
    """Return bars of the rows left without a label, by reason; at least one reason."""
    names = sorted(reasons, key=lambda name: (-reasons[name], name))
    counts = [reasons[name] for name in names]
    with panel(0.75 + 0.42 * len(names)) as (figure, axes):
        axes.barh(range(len(names)), counts, height=0.6, color=GREY)
        for at, rows in enumerate(counts):
            axes.text(rows + max(counts) * 0.012, at, f"{rows:,}", va="center", fontsize=10)
        axes.set_xlim(0, max(counts) * 1.18)
        axes.set_yticks(range(len(names)), [words.get(name, name) for name in names])
        axes.invert_yaxis()
        horizontal_bars(axes, "rows")
        return to_svg(figure, "abstentions", "Rows without a label, by reason")


def horizontal_bars(axes: Axes, unit: str, *, whole: bool = True) -> None:
    """Dress axes of horizontal bars: a grid, and whole numbers along the unit if it has them."""
    axes.set_xlabel(unit)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole, min_n_ticks=1))
    if whole:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def convergence_chart(rounds: Sequence[RoundRecord]) -> str:
    """Return labels changed and residual of each round, both on logarithmic scales."""
    at = [record.iteration for record in rounds]
    changed = np.array([record.labels_changed for record in rounds], dtype=float)
    with figure_style():
        figure = Figure(figsize=(WIDTH, 3.6))
        upper, lower = figure.subplots(2, 1, sharex=True)
        # 0 has no place on a logarithmic scale; symlog is linear below one row.
        upper.plot(at, changed, color=ACCENT, marker="o", markersize=3, linewidth=1.4)
        upper.set_yscale("symlog", linthresh=1)
        upper.set_ylim(bottom=0)
        upper.set_title("Rows whose label changed")
        log_curve(lower, rounds, SECOND)
        lower.set_title("Relative residual")
        iterations_axis(lower, "iteration")
        _counts_axis(upper)
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        for axes in (upper, lower):
            axes.grid(axis="y")
            axes.tick_params(length=0, which="both")
            axes.minorticks_off()
        return to_svg(figure, "convergence", f"Convergence over {len(rounds)} iterations")


def rounds_chart(rounds: Sequence[RoundRecord], baseline: float | None, kept_round: int) -> str:
    """Return what each round labelled and took back, and how it told the hidden seeds.

    Parameters
    ----------
    rounds
        At least one, of self-labelling.
    baseline
        Share of hidden seeds that models of the seeds alone name right: the line that the curve
        must stay above. None without hidden seeds; the second picture is then left out.
    kept_round
        Is marked; 0 is the baseline.
    """
    at = [record.iteration for record in rounds]
    with figure_style():
        height = 3.9 if baseline is not None else 2.2
        figure = Figure(figsize=(WIDTH, height))
        panels = figure.subplots(1 if baseline is None else 2, 1, sharex=True, squeeze=False)
        upper, *rest = panels[:, 0]
        upper.bar(
            at, [sum(r.labeled or ()) for r in rounds], width=0.7, color=ACCENT, label="labelled"
        )
        upper.bar(
            at,
            [-sum(r.taken_back or ()) for r in rounds],
            width=0.7,
            color=SECOND,
            label="taken back",
        )
        upper.axhline(0.0, color=GRID, linewidth=1)
        upper.set_title("Rows labelled and taken back")
        upper.legend(frameon=False, ncols=2, fontsize=9)
        upper.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
        for lower in rest:
            _hidden_curve(lower, rounds, baseline, kept_round)
        iterations_axis(rest[-1] if rest else upper, "round")
        for axes in (upper, *rest):
            axes.grid(axis="y")
            axes.tick_params(length=0, which="both")
        return to_svg(figure, "rounds", f"{len(rounds)} rounds of self-labelling")


def _hidden_curve(
    axes: Axes, rounds: Sequence[RoundRecord], baseline: float | None, kept_round: int
) -> None:
    assert baseline is not None
    at = [0, *(record.iteration for record in rounds)]
    shares = [baseline, *(record.hidden_accuracy or 0.0 for record in rounds)]
    percent = [100 * share for share in shares]
    axes.axhline(
        100 * baseline, color=SECOND, linewidth=1.4, linestyle=(0, (4, 3)), label="the seeds alone"
    )
    axes.plot(at, percent, color=ACCENT, marker="o", markersize=3, linewidth=1.4, label="round")
    if kept_round in at:
        place = at.index(kept_round)
        axes.plot([kept_round], [percent[place]], color=INK, marker="o", markersize=6)
    axes.set_title("Hidden seeds named right, %; the dot is the round that answers")
    axes.legend(frameon=False, ncols=2, fontsize=9)


def interval_chart(
    entries: Sequence[tuple[str, float, float, float]],
    ends: tuple[float, float],
    unit: str,
    *,
    name: str,
    title: str,
) -> str:
    """Return a point and its interval for each entry.

    Parameters
    ----------
    entries
        (name, value, low, high), at least one; those of baselines have "baseline" or a comma in
        their name, and a colour of their own.
    ends
        Of the axis, which has this `unit`.
    name, title
        Of the figure, for the page and for who cannot see it.
    """
    with panel(interval_chart_height(len(entries))) as (figure, axes):
        for at, (entry, value, low, high) in enumerate(entries):
            colour = SECOND if "baseline" in entry or "," in entry else ACCENT
            axes.plot([low, high], [at, at], color=colour, linewidth=2.4)
            axes.plot([value], [at], color=colour, marker="o", markersize=8)
            axes.text(value, at - 0.26, f"{value:.3g}", ha="center", fontsize=10)
        axes.set_yticks(range(len(entries)), [entry[0] for entry in entries])
        axes.set_ylim(len(entries) - 0.5, -0.75)
        axes.set_xlim(*ends)
        horizontal_bars(axes, unit, whole=ends[1] > 5)
        return to_svg(figure, name, title)


def interval_chart_height(n_entries: int) -> float:
    """Return the height of `interval_chart` with so many entries, in inches."""
    return 0.8 + 0.44 * n_entries


def reliability_chart(bins: Sequence[ReliabilityBin]) -> str:
    """Return stated probability against share right, with 95 % intervals; at least one bin."""
    drawn = _joined_bins(bins)
    largest = max(one.count for one in drawn)
    with panel(3.6) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        for one in drawn:
            share = clopper_pearson(round(one.right), max(round(one.count), 1))
            ends, at = [100 * share.low, 100 * share.high], 100 * one.stated
            axes.plot([at, at], ends, color=ACCENT, linewidth=1.6, alpha=0.6)
            area = 18 + 90 * one.count / largest
            axes.scatter(
                [at], [100 * one.right / one.count], s=area, color=ACCENT, zorder=3, linewidths=0
            )
        axes.set(xlim=(0, 102), ylim=(0, 104))
        label_axes(axes, "stated probability, %", "right, %")
        return to_svg(figure, "reliability", "Stated probability against share of right labels")


def _joined_bins(bins: Sequence[ReliabilityBin]) -> list[ReliabilityBin]:
    """Join neighbouring bins until each holds `FEWEST_IN_BIN` rows, or all are one."""
    joined: list[ReliabilityBin] = []
    for one in bins:
        if joined and min(joined[-1].count, one.count) < FEWEST_IN_BIN:
            last = joined.pop()
            count = last.count + one.count
            stated = (last.count * last.stated + one.count * one.stated) / count
            one = ReliabilityBin(count, last.right + one.right, stated)
        joined.append(one)
    return joined


def probability_chart(counts: Sequence[int], threshold: float | None) -> str:
    """Return a histogram of labelled rows by probability, bins of equal width from 0 to 1."""
    width = 100 / len(counts)
    with panel(2.9) as (figure, axes):
        left = width * np.arange(len(counts))
        axes.bar(left, counts, width=width * 0.9, align="edge", color=ACCENT)
        if threshold is not None:
            axes.axvline(100 * threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.text(
                100 * threshold - 1, max(counts), "threshold", ha="right", va="top", fontsize=9
            )
        axes.set_xlim(0, 100)
        label_axes(axes, "probability, %", "rows", grid="y")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        _counts_axis(axes)
        axes.spines["bottom"].set_color(GRID)
        return to_svg(figure, "probability", "Rows by stated probability")
