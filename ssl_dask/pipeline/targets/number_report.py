"""Puts the report of a run together whose labels are numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssl_dask.decision.value_decision import VALUE_REASONS, VALUE_SOURCES
from ssl_dask.evaluation.value_scores import Estimate, ValueScores, score_values
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.infer.row_sample import RowPicks
from ssl_dask.pipeline.infer.value_inference import InferredValues
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.class_report import (
    STOP_WORDS,
    common_fields,
    graph_warnings,
    refused_words,
    share_words,
)
from ssl_dask.pipeline.targets.number_blocks import ValueCounts, ValueResult, merge_counts
from ssl_dask.pipeline.targets.numbers import JudgedValues
from ssl_dask.report.picture import project_2d
from ssl_dask.report.run_report import MethodSummary
from ssl_dask.report.value_report import (
    ValueDecision,
    ValueEvaluation,
    ValuePicture,
    ValueReport,
    ValueSeeds,
    value_warnings,
)

MOST_PAIRS = 2_000


def build_value_report(
    context: RunContext,
    *,
    labels: NumberLabels,
    inferred: InferredValues,
    folds: HiddenSeeds,
    judged: JudgedValues,
    results: Sequence[ValueResult],
    picks: RowPicks,
) -> ValueReport:
    """Return the report of a run whose parts are written and not yet committed."""
    spec, data = context.spec, context.data
    counts = merge_counts(result.counts for result in results)
    parameters = spec.method.model_dump()
    method = MethodSummary(
        name=parameters.pop("name"),
        parameters=parameters,
        converged=inferred.converged,
        stopped=STOP_WORDS[inferred.stop_reason],
        rounds=tuple(inferred.records),
    )
    seeds = ValueSeeds(
        n=labels.n_seeds,
        mean=float(labels.values.mean()),
        deviation=float(labels.values.std()),
        minimum=float(labels.values.min()),
        maximum=float(labels.values.max()),
        notes=data.seed_notes,
    )
    decision = _decision(labels, counts)
    evaluation = _evaluation(context, labels, folds, judged, counts)
    graph = {**inferred.graph, "rows_without_path_to_seed": decision.n_without}
    return ValueReport(
        **common_fields(context, graph, len(results)),
        seeds=seeds,
        method=method,
        interval=judged.interval,
        decision=decision,
        evaluation=evaluation,
        hidden_pairs=_hidden_pairs(labels, inferred),
        picture=_picture(picks, labels, results),
        warnings=(
            *value_warnings(method, seeds, judged.interval, decision, evaluation),
            *graph_warnings(graph, data.layout.n_rows),
        ),
    )


def _decision(labels: NumberLabels, counts: ValueCounts) -> ValueDecision:
    n_bins = len(counts.bins)
    ends = (labels.values.min(), labels.values.max())
    (deviation,) = counts.spread.std()
    return ValueDecision(
        sources=_named(VALUE_SOURCES, counts.sources),
        reasons=_named(VALUE_REASONS, counts.reasons),
        n_without=int(counts.sources[VALUE_SOURCES.index("none")]),
        bins=tuple(counts.bins.tolist()),
        seed_bins=tuple(np.histogram(labels.values, n_bins, ends)[0].tolist()),
        deviation=float(deviation * labels.values.std()) if counts.spread.n_rows else None,
    )


def _evaluation(
    context: RunContext,
    labels: NumberLabels,
    folds: HiddenSeeds,
    judged: JudgedValues,
    counts: ValueCounts,
) -> ValueEvaluation:
    unit, confidence = judged.unit, context.spec.evaluation.confidence
    errors, baseline_errors = counts.errors, counts.baseline_errors
    return ValueEvaluation(
        n_folds=folds.n_folds,
        hidden=judged.hidden,
        baseline_hidden=judged.baseline_hidden,
        mean_hidden=judged.mean_hidden,
        baseline_penalty=None if judged.baseline is None else judged.baseline.model.penalty_,
        comparison=judged.comparison,
        inside=judged.inside,
        truth=None if errors is None else score_values(errors, unit, confidence),
        baseline_truth=None
        if baseline_errors is None
        else score_values(baseline_errors, unit, confidence),
    )


def _hidden_pairs(
    labels: NumberLabels, inferred: InferredValues
) -> tuple[tuple[float, float], ...]:
    """Return (true, found) of hidden seeds, every k-th where they are many."""
    rows = np.flatnonzero(~np.isnan(inferred.hidden_values))
    rows = rows[:: max(1, -(-len(rows) // MOST_PAIRS))]
    pairs = zip(labels.values[rows].tolist(), inferred.hidden_values[rows].tolist(), strict=True)
    return tuple(pairs)


def _picture(
    picks: RowPicks, labels: NumberLabels, results: Sequence[ValueResult]
) -> ValuePicture | None:
    if len(picks.sampled) < 3:
        return None
    points = project_2d(picks.sample)
    values = np.concatenate([result.sampled_values for result in results]).tolist()
    return ValuePicture(
        points=tuple((float(x), float(y)) for x, y in points),
        values=tuple(None if np.isnan(value) else value for value in values),
        seeds=tuple(np.isin(picks.sampled, labels.rows).tolist()),
    )


def value_rows(report: ValueReport) -> list[tuple[str, str]]:
    """Return what the command prints about labels that are numbers: (name, value) pairs."""
    evaluation, total = report.evaluation, report.output.rows
    labelled = total - report.n_without_label
    interval = report.interval
    rows = [
        ("seeds", f"{report.seeds.n:,}, mean {report.seeds.mean:.6g}"),
        ("given a number", f"{labelled:,} ({labelled / total:.1%})"),
        ("refused", refused_words(report.n_without_label, report.decision.reasons)),
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


def _named(names: Sequence[str], counts: np.ndarray) -> dict[str, int]:
    return {name: int(n) for name, n in zip(names, counts, strict=True) if n and name != "none"}
