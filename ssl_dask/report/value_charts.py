"""The figures of a report of numbers, each from plain numbers to one SVG element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from ssl_dask.array_types import Float64, Int64
from ssl_dask.report.charts import (
    ACCENT,
    SECOND,
    draw_dots,
    interval_chart_height,
    iterations_axis,
    label_axes,
    log_curve,
    panel,
)
from ssl_dask.report.palette import SCALE
from ssl_dask.report.picture import Points
from ssl_dask.report.svg_figure import GRID, LEGEND, MUTED, to_svg
from ssl_dask.round_record import RoundRecord

BAND_ALPHA = 0.12
DASHES = (0, (4, 4))
RESIDUALS_HEIGHT = 3.1
CARD_HEIGHT = 0.8
"""Of the frame and the heading of a card, in inches of a figure."""


def height_beside(n_errors: int) -> float:
    """Return the height, in inches, that makes one card as high as those of residuals and errors.

    Parameters
    ----------
    n_errors
        Entries of the chart of errors; 0 without it.
    """
    if n_errors == 0:
        return RESIDUALS_HEIGHT
    return RESIDUALS_HEIGHT + CARD_HEIGHT + interval_chart_height(n_errors)


def pairs_chart(pairs: Points, half_width: float | None, height: float = 4.4) -> str:
    """Return the number found of each hidden seed against its true one; at least one pair.

    Parameters
    ----------
    pairs
        float64 (n, 2): true, found.
    half_width
        Of the interval, drawn as a band; None for none.
    height
        In inches.
    """
    low, high = _ends(pairs.ravel())
    with panel(height) as (figure, axes):
        line = np.array([low, high])
        if half_width is not None:
            band = (line - half_width, line + half_width)
            axes.fill_between(line, *band, color=ACCENT, alpha=BAND_ALPHA, linewidth=0)
        axes.plot(line, line, color=MUTED, linewidth=1, linestyle=DASHES)
        draw_dots(axes, pairs, _dot_size(len(pairs)), ACCENT, alpha=0.75)
        axes.set(xlim=(low, high), ylim=(low, high))
        label_axes(axes, "true number", "number found")
        return to_svg(figure, "pairs", f"Numbers found for {len(pairs)} hidden seeds against true")


def residuals_chart(pairs: Points, half_width: float | None) -> str:
    """Return found less true of each hidden seed, against the number found; at least one pair."""
    found, residual = pairs[:, 1], pairs[:, 1] - pairs[:, 0]
    reach = float(np.abs(residual).max(initial=half_width or 0.0)) * 1.08 or 1.0
    low, high = _ends(found)
    with panel(RESIDUALS_HEIGHT) as (figure, axes):
        if half_width is not None:
            axes.axhspan(-half_width, half_width, color=ACCENT, alpha=BAND_ALPHA, linewidth=0)
        axes.axhline(0.0, color=MUTED, linewidth=1, linestyle=DASHES)
        draw_dots(axes, np.column_stack([found, residual]), _dot_size(len(pairs)), ACCENT, 0.75)
        axes.set(xlim=(low, high), ylim=(-reach, reach))
        label_axes(axes, "number found", "found less true")
        return to_svg(figure, "residuals", f"Errors at {len(pairs)} hidden seeds")


def numbers_chart(rows: Sequence[int], seeds: Sequence[int], minimum: float, maximum: float) -> str:
    """Return the shares of rows and of seeds in bins of equal width from minimum to maximum."""
    edges = np.linspace(minimum, maximum, len(rows) + 1)
    shares = [100.0 * np.array(counts) / max(sum(counts), 1) for counts in (rows, seeds)]
    with panel(3.0) as (figure, axes):
        axes.stairs(shares[0], edges, fill=True, color=ACCENT, alpha=0.75, label="rows without")
        axes.stairs(shares[1], edges, color=SECOND, linewidth=1.8, label="seeds")
        label_axes(axes, "number", "share, %", grid="y")
        axes.spines["bottom"].set_color(GRID)
        axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), fontsize=10)
        return to_svg(figure, "numbers", "Numbers given to rows, and those of the seeds", LEGEND)


def error_convergence_chart(rounds: Sequence[RoundRecord]) -> str:
    """Return the estimated error of each counted iteration, on a logarithmic scale."""
    with panel(2.6) as (figure, axes):
        log_curve(axes, rounds, ACCENT)
        axes.set_ylabel("relative error")
        iterations_axis(axes, "iteration")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        axes.grid(axis="y")
        axes.tick_params(length=0, which="both")
        axes.minorticks_off()
        return to_svg(figure, "convergence", f"Convergence over {len(rounds)} counts")


def scale_places(values: Float64, ends: tuple[float, float]) -> Int64:
    """Return the place of each number in `SCALE`, int64 (n,); -1 for NaN."""
    low, high = ends
    share = (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)
    places = np.clip((share * len(SCALE)).astype(np.int64), 0, len(SCALE) - 1)
    return np.where(np.isnan(values), -1, places)


def _ends(values: Float64) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _dot_size(n: int) -> float:
    return 6.0 if n <= 300 else 3.6
