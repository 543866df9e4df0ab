"""Puts the report of a run together whose labels are numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_dask.decision.value_decision import VALUE_REASONS, VALUE_SOURCES
from ssl_dask.evaluation.value_scores import Estimate, ValueScores, score_values
from ssl_dask.features.block_reader import add_all
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.number_blocks import NumberCounts, NumberResult
from ssl_dask.pipeline.targets.number_judging import NumbersJudged
from ssl_dask.pipeline.targets.report_frame import (
    abstained_words,
    common_fields,
    graph_warnings,
    method_summary,
    picture_fields,
    share_words,
)
from ssl_dask.report.compared import gate_warnings
from ssl_dask.report.run_report import counts_by_name
from ssl_dask.report.value_report import (
    ValueDecision,
    ValueEvaluation,
    ValuePicture,
    ValueReport,
    ValueSeeds,
    value_warnings,
)

MOST_PAIRS = 2_000


def build_number_report(
    run: RunContext,
    folds: HiddenSeeds,
    inferred: Inferred,
    judged: NumbersJudged,
    results: Sequence[NumberResult],
) -> ValueReport:
    """Return the report of a run whose parts are written and not yet committed."""
    data, labels = run.data, NumberLabels.of(run.data.labels)
    counts = add_all([result.counts for result in results])
    method = method_summary(run, inferred)
    seeds = ValueSeeds(
        n=labels.n_seeds,
        mean=float(labels.values.mean()),
        deviation=float(labels.values.std()),
        minimum=float(labels.values.min()),
        maximum=float(labels.values.max()),
        notes=data.seed_notes,
    )
    decision = _decision(labels, counts)
    evaluation = _evaluation(run, folds, judged, counts)
    graph = {**inferred.graph, "rows_without_path_to_seed": decision.n_without}
    picture = picture_fields(inferred.rows, labels.rows)
    values = np.concatenate([result.sampled for result in results]).tolist()
    drawn = tuple(None if np.isnan(value) else value for value in values)
    return ValueReport(
        **common_fields(run, graph, len(results)),
        seeds=seeds,
        method=method,
        interval=judged.interval,
        decision=decision,
        evaluation=evaluation,
        hidden_pairs=_hidden_pairs(labels, inferred),
        picture=None if picture is None else ValuePicture(**picture, values=drawn),
        warnings=(
            *gate_warnings(judged.contest, "numbers"),
            *data.warnings,
            *value_warnings(method, seeds, judged.interval, decision, evaluation),
            *graph_warnings(graph, data.layout.n_rows),
        ),
    )


def _decision(labels: NumberLabels, counts: NumberCounts) -> ValueDecision:
    n_bins = len(counts.bins)
    ends = (labels.values.min(), labels.values.max())
    (deviation,) = counts.spread.std()
    return ValueDecision(
        sources=counts_by_name(VALUE_SOURCES, counts.sources),
        reasons=counts_by_name(VALUE_REASONS, counts.reasons),
        n_without=int(counts.sources[VALUE_SOURCES.index("none")]),
        bins=tuple(counts.bins.tolist()),
        seed_bins=tuple(np.histogram(labels.values, n_bins, ends)[0].tolist()),
        deviation=float(deviation * labels.values.std()) if counts.spread.n_rows else None,
    )


def _evaluation(
    run: RunContext, folds: HiddenSeeds, judged: NumbersJudged, counts: NumberCounts
) -> ValueEvaluation:
    unit, confidence = judged.unit, run.spec.evaluation.confidence
    truth, baseline_truth = (
        None if errors is None else score_values(errors, unit, confidence)
        for errors in (counts.errors, counts.baseline_errors)
    )
    return ValueEvaluation(
        n_folds=folds.n_folds,
        hidden=judged.hidden,
        baseline_hidden=judged.baseline_hidden,
        mean_hidden=judged.mean_hidden,
        baseline_penalty=None if judged.baseline is None else judged.baseline.model.penalty_,
        comparison=judged.comparison,
        contest=judged.contest,
        inside=judged.inside,
        truth=truth,
        baseline_truth=baseline_truth,
    )


def _hidden_pairs(labels: NumberLabels, inferred: Inferred) -> tuple[tuple[float, float], ...]:
    """Return (true, found) of hidden seeds, every k-th where they are many."""
    rows = np.flatnonzero(~np.isnan(inferred.hidden_F))
    rows = rows[:: max(1, -(-len(rows) // MOST_PAIRS))]
    pairs = zip(labels.values[rows].tolist(), inferred.hidden_F[rows].tolist(), strict=True)
    return tuple(pairs)


def number_rows(report: ValueReport) -> list[tuple[str, str]]:
    """Return what the command prints about labels that are numbers: (name, value) pairs."""
    evaluation, total = report.evaluation, report.output.rows
    labelled = total - report.n_without_label
    interval = report.interval
    rows = [
        ("seeds", f"{report.seeds.n:,}, mean {report.seeds.mean:.6g}"),
        ("given a number", f"{labelled:,} ({labelled / total:.1%})"),
        ("abstained", abstained_words(report.n_without_label, report.decision.reasons)),
    ]
    judged = [
        ("hidden seeds", evaluation.hidden),
        ("ridge regression", evaluation.baseline_hidden),
        ("mean of the seeds", evaluation.mean_hidden),
        ("truth, unlabelled rows", evaluation.truth),
        ("ridge, unlabelled rows", evaluation.baseline_truth),
    ]
    rows += [(name, _score_words(scores)) for name, scores in judged if scores is not None]
    if interval.half_width is not None:
        rows.append(("interval", f"+- {interval.half_width:.4g} at {interval.coverage:.0%}"))
        rows.append(("in it, hidden seeds", share_words(evaluation.inside)))
    if evaluation.truth is not None and evaluation.truth.inside.n:
        rows.append(("in it, unlabelled rows", share_words(evaluation.truth.inside)))
    return rows


def _score_words(scores: ValueScores) -> str:
    words = ", ".join(
        f"{name} {_estimate_words(figure)}"
        for name, figure in (("R2", scores.r2), ("MAE", scores.mae), ("RMSE", scores.rmse))
    )
    return f"{words} at {scores.confidence:.0%}, {scores.n:,} rows"


def _estimate_words(figure: Estimate) -> str:
    if figure.value is None:
        return "unknown"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} [{figure.low:.3g}, {figure.high:.3g}]"
