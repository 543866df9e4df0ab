"""The page of a run whose labels are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_dask.evaluation.value_scores import Estimate, ValueScores
from ssl_dask.report import value_charts
from ssl_dask.report.charts import abstentions_chart, before_and_after, interval_chart
from ssl_dask.report.html_page import (
    REASON_WORDS,
    Tile,
    abstained_tile,
    filled_page,
    given_tile,
    interval_text,
)
from ssl_dask.report.palette import SCALE
from ssl_dask.report.value_report import BASELINE, ValueReport
from ssl_dask.report.words import percent

HIDDEN_NUMBERS_NOTE = (
    "Judged on labels that were hidden in turn. The intervals cover the chance of which rows were"
    " labelled; they speak for all rows only if those were picked at random."
)


def render_value_page(report: ValueReport) -> str:
    """Return the page of a run, a few hundred kilobytes of HTML."""
    return filled_page(
        "value_report.html.jinja",
        report,
        _figures(report),
        tiles=first_screen(report),
        legend=_legend(report),
        score_rows=_score_rows(report),
        hidden_note=HIDDEN_NUMBERS_NOTE,
        number=number,
    )


def first_screen(report: ValueReport) -> tuple[Tile, ...]:
    """Return the answers a reader wants first: how many, how good, against what, what not."""
    return (
        given_tile(
            report,
            report.input.rows - report.n_without_label,
            report.decision.sources,
            "Rows given a number",
        ),
        _error_tile(report),
        _baseline_tile(report),
        _interval_tile(report),
        abstained_tile(report.n_without_label, report.decision.reasons, "number"),
    )


def _error_tile(report: ValueReport) -> Tile:
    evaluation = report.evaluation
    scores = evaluation.truth or evaluation.hidden
    if scores is None or scores.n == 0:
        return Tile("R2", "not known", ("no label was hidden to judge by",), "bad")
    where = "rows without a label, by the truth column" if evaluation.truth else "hidden seeds"
    lines = [
        f"on {scores.n:,} {where}: share of the variance explained",
        f"mean absolute error {estimate_text(scores.mae)}",
        f"root mean squared error {estimate_text(scores.rmse)}",
    ]
    if evaluation.truth is not None and evaluation.hidden is not None:
        lines.append(f"R2 on hidden seeds {estimate_text(evaluation.hidden.r2)}")
    bad = scores.r2.value is not None and scores.r2.value <= 0.0
    return Tile("R2", number(scores.r2.value), tuple(lines), "bad" if bad else "plain")


def _baseline_tile(report: ValueReport) -> Tile:
    heading = f"Against {BASELINE}"
    comparison = report.evaluation.comparison
    if report.gate_words:
        return Tile(heading, "behind", report.gate_words, "bad")
    if comparison is None:
        return Tile(heading, "not compared", ("there are no two answers on the same hidden seeds",))
    lines: tuple[str, ...] = (
        comparison.verdict(report.method.title, BASELINE),
        f"{comparison.confidence * 100:.0f} % interval {number(comparison.low)} to"
        f" {number(comparison.high)}; below 0 is better",
    )
    behind = comparison.difference > 0
    truth, baseline = report.evaluation.truth, report.evaluation.baseline_truth
    if truth is not None and baseline is not None:
        lines += (
            f"by the truth column {number(truth.mae.value)} against {number(baseline.mae.value)}",
        )
        behind = behind or (truth.mae.value or 0.0) > (baseline.mae.value or 0.0)
    tone = "bad" if behind else "good" if comparison.high < 0 else "plain"
    figure = f"{comparison.difference:+.3g}"
    return Tile(heading, figure, ("mean absolute error, less theirs", *lines), tone)


def _interval_tile(report: ValueReport) -> Tile:
    interval, evaluation = report.interval, report.evaluation
    if interval.half_width is None:
        return Tile("Intervals", "none", (interval.reason or "",), "bad")
    lines = [f"around each number, for {percent(interval.coverage)} of the rows"]
    if evaluation.inside.n:
        lines.append(
            f"held {interval_text(evaluation.inside)} hidden seeds that it was not made of"
        )
    if evaluation.truth is not None and evaluation.truth.inside.n:
        lines.append(f"holds {interval_text(evaluation.truth.inside)} rows by the truth column")
    return Tile("Intervals", f"\N{PLUS-MINUS SIGN} {number(interval.half_width)}", tuple(lines))


def _figures(report: ValueReport) -> dict[str, str]:
    """Return the figures that the report has the numbers for, by name."""
    seeds, decision = report.seeds, report.decision
    drawn = {
        "numbers": value_charts.numbers_chart(
            decision.bins, decision.seed_bins, seeds.minimum, seeds.maximum
        )
    }
    errors = []
    for name, scores in _judged(report):
        mae = scores.mae
        if mae.value is not None:
            low, high = (mae.value if end is None else end for end in (mae.low, mae.high))
            errors.append((name, mae.value, low, high))
    if errors:
        drawn["errors"] = interval_chart(
            errors,
            (0, max(error[3] for error in errors) * 1.08 or 1.0),
            "mean absolute error",
            name="errors",
            title="Mean absolute errors with intervals",
        )
    if report.hidden_pairs:
        pairs, half_width = np.array(report.hidden_pairs), report.interval.half_width
        height = value_charts.height_beside(len(errors))
        drawn["pairs"] = value_charts.pairs_chart(pairs, half_width, height)
        drawn["residuals"] = value_charts.residuals_chart(pairs, half_width)
    picture = report.picture
    if picture is not None and picture.points:
        values = np.array([np.nan if v is None else v for v in picture.values], dtype=float)
        drawn["before"], drawn["after"] = before_and_after(
            np.array(picture.points),
            value_charts.scale_places(values, (seeds.minimum, seeds.maximum)),
            np.array(picture.seeds),
            SCALE,
            "number",
        )
    if report.method.rounds:
        drawn["convergence"] = value_charts.error_convergence_chart(report.method.rounds)
    if decision.reasons:
        drawn["abstentions"] = abstentions_chart(decision.reasons, REASON_WORDS)
    return drawn


def _judged(report: ValueReport) -> list[tuple[str, ValueScores]]:
    """Return every set of rows that was judged, with its name, in the order of the tables."""
    evaluation = report.evaluation
    found = [
        ("hidden seeds", evaluation.hidden),
        ("hidden seeds, ridge", evaluation.baseline_hidden),
        ("hidden seeds, mean", evaluation.mean_hidden),
        ("unlabelled rows", evaluation.truth),
        ("unlabelled rows, ridge", evaluation.baseline_truth),
    ]
    return [(name, scores) for name, scores in found if scores is not None]


def _score_rows(report: ValueReport) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "n": scores.n,
            "without": scores.n_without,
            "r2": estimate_text(scores.r2),
            "mae": estimate_text(scores.mae),
            "rmse": estimate_text(scores.rmse),
        }
        for name, scores in _judged(report)
    ]


def _legend(report: ValueReport) -> list[dict[str, str]]:
    low, high = report.seeds.minimum, report.seeds.maximum
    edges = np.linspace(low, high, len(SCALE) + 1)
    return [
        {"name": f"{number(edges[i])} to {number(edges[i + 1])}", "colour": colour}
        for i, colour in enumerate(SCALE)
    ]


def number(value: float | None) -> str:
    """Return a number in three digits or more, such as `0.0123`, `45.6` or `12,346`."""
    if value is None:
        return "–"
    if value != 0.0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{digits}f}"


def estimate_text(figure: Estimate) -> str:
    """Return a figure with its interval, such as `0.52 (0.40 to 0.61)`."""
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"
