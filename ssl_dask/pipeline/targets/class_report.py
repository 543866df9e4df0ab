"""Puts the run report together from what the steps found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssl_dask.cluster import versions
from ssl_dask.decision.calibration import Calibration
from ssl_dask.evaluation.block_scores import BlockScore, merge_scores, truth_scores
from ssl_dask.evaluation.metrics import Interval
from ssl_dask.features.views import FeatureView
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.infer.row_sample import RowPicks
from ssl_dask.pipeline.inputs.label_kind import TARGETS
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.class_blocks import BlockResult
from ssl_dask.pipeline.targets.judging import Judged, class_names
from ssl_dask.report.pages import AnyReport
from ssl_dask.report.picture import project_2d
from ssl_dask.report.run_report import (
    DecisionSummary,
    EvaluationSummary,
    FeatureSummary,
    InputSummary,
    MethodSummary,
    OutputSummary,
    Picture,
    RunReport,
    SeedSummary,
    StageTime,
    quality_warnings,
    reliability_bins,
)

FEWEST_PAIRS = 30
"""With fewer edges between seeds nothing is said of them."""
STOP_WORDS = {
    "converged": "the stop rule was met",
    "max_iter": "the limit of iterations was reached",
    "rounding": "float32 allows no smaller residual",
    "no_change": "a round changed no label",
    "all_labeled": "all rows have a label",
    "hidden_loss": "hidden seeds were told no better any more",
    "likelihood": "the likelihood settled",
}


def common_fields(context: RunContext, graph: Mapping[str, Any], n_parts: int) -> dict[str, Any]:
    """Return the fields that a report has whatever its labels are."""
    spec, data, dataset = context.spec, context.data, context.inputs.dataset
    stages = context.clock.seconds()
    return {
        "job_name": spec.name,
        "run_id": context.output.run_id,
        "started": context.clock.started,
        "seconds": context.clock.total(),
        "stages": tuple(StageTime(name=name, seconds=value) for name, value in stages.items()),
        "job": spec.model_dump(mode="json", exclude_none=True),
        "versions": versions(),
        "input": InputSummary(
            path=dataset.path,
            files=len(dataset.files),
            rows=data.layout.n_rows,
            columns=len(dataset.columns),
            size=sum(file.size for file in dataset.files),
            notes=tuple(data.notes),
        ),
        "features": tuple(_feature(view, spec) for view in context.views.values()),
        "graph": dict(graph) or None,
        "output": OutputSummary(path=str(context.run_path), parts=n_parts, rows=data.layout.n_rows),
    }


def build_report(
    context: RunContext,
    *,
    inferred: Inferred,
    folds: HiddenSeeds,
    calibration: Calibration,
    judged: Judged,
    results: Sequence[BlockResult],
    picks: RowPicks,
    review_rows: int,
) -> RunReport:
    """Return the report of a run of classes whose parts are written and not yet committed."""
    spec, data = context.spec, context.data
    labels = data.labels
    names = class_names(labels)
    score = merge_scores(result.score for result in results)
    used = inferred.answered_by or spec.method
    parameters = used.model_dump()
    # Rounds of self-labelling have nothing to converge to.
    rounds = inferred.self_labeled is not None
    method = MethodSummary(
        name=parameters.pop("name"),
        parameters=parameters,
        asked_for=None if inferred.answered_by is None else spec.method.name,
        converged=inferred.converged if inferred.records and not rounds else None,
        stopped=STOP_WORDS[inferred.stop_reason],
        rounds=tuple(inferred.records),
        self_labeled=inferred.self_labeled,
    )
    seeds = SeedSummary(
        classes=tuple(names), counts=tuple(labels.class_counts().tolist()), notes=data.seed_notes
    )
    decision = DecisionSummary.from_score(
        score, min_probability=spec.decision.min_probability, review_rows=review_rows
    )
    evaluation = _evaluation(spec, judged, inferred, folds, score, results, names)
    return RunReport(
        **common_fields(context, inferred.graph, len(results)),
        seeds=seeds,
        method=method,
        calibration=calibration,
        decision=decision,
        evaluation=evaluation,
        picture=_picture(picks, labels, results),
        warnings=(
            *inferred.warnings,
            *quality_warnings(method, calibration, seeds, decision, evaluation),
            *graph_warnings(inferred.graph, data.layout.n_rows),
            *no_signal_warnings(inferred.graph, seeds, evaluation),
        ),
    )


def graph_warnings(graph: Mapping[str, Any], n_rows: int) -> list[str]:
    """Return a warning where the graph depends on the order of the rows."""
    copies = graph.get("n_among_copies", 0)
    if not copies:
        return []
    return [
        f"{copies:,} of {n_rows:,} rows have as many identical copies as neighbours, or more: the"
        " graph joins them with the first copies only, so their labels depend on the order of the"
        " rows. Keep one row of each kind, or add a feature that tells them apart."
    ]


def no_signal_warnings(
    graph: Mapping[str, Any], seeds: SeedSummary, evaluation: EvaluationSummary
) -> list[str]:
    """Return a warning if neither the edges between seeds nor hidden seeds speak for the graph.

    Edges join rows of one class no more often than chance would (by two standard deviations), or
    the hidden seeds are labelled no better than by always naming the largest class.
    """
    pairs = graph.get("edges_between_seeds")
    if pairs is None:
        return []
    shares = np.array(seeds.counts, dtype=np.float64) / max(sum(seeds.counts), 1)
    if np.count_nonzero(shares) < 2:
        return []
    found = []
    alike, chance = graph["edges_between_seeds_of_one_class"], float((shares**2).sum())
    # Where every row is joined with every other, weights alone tell neighbours from the rest.
    enough = pairs >= FEWEST_PAIRS and graph.get("kind") != "rbf"
    if enough and alike - pairs * chance < 2.0 * np.sqrt(pairs * chance * (1.0 - chance)):
        found.append(
            f"of {pairs:,} edges between seeds {alike / pairs:.0%} join one class, by chance it"
            f" would be {chance:.0%}"
        )
    hidden = evaluation.hidden
    right = None if hidden is None else hidden.accuracy_all.value
    if right is not None and right <= shares.max():
        found.append(
            f"{right:.0%} of the hidden seeds got their label, always naming the largest class"
            f" would give {shares.max():.0%}"
        )
    if not found:
        return []
    return [
        f"The graph carries no signal of the classes: {'; '.join(found)}. Neighbours are no more"
        " alike than other rows: take other features or edges, or method propagated_features with"
        " hops: all, or supervised."
    ]


def _feature(view: FeatureView, spec: JobSpec) -> FeatureSummary:
    group = spec.features[view.name]
    return FeatureSummary(
        name=view.name,
        kind=group.kind,
        n_features=view.X.shape[1],
        sparse=view.sparse,
        notes=tuple(view.notes),
    )


def _evaluation(
    spec: JobSpec,
    judged: Judged,
    inferred: Inferred,
    folds: HiddenSeeds,
    score: BlockScore,
    results: Sequence[BlockResult],
    names: Sequence[str],
) -> EvaluationSummary:
    confidence = spec.evaluation.confidence
    baseline = [result.baseline for result in results if result.baseline is not None]
    baseline_truth = merge_scores(baseline).truth if baseline else None
    return EvaluationSummary(
        n_folds=folds.n_folds,
        folds_not_converged=inferred.folds_not_converged,
        never_hidden=tuple(names[code] for code in folds.never_hidden),
        hidden=judged.hidden,
        baseline_hidden=judged.baseline_hidden,
        comparison=judged.comparison,
        baseline_converged=None if judged.baseline is None else judged.baseline.converged,
        truth=None if score.truth is None else truth_scores(score.truth, names, confidence),
        baseline_truth=None
        if baseline_truth is None
        else truth_scores(baseline_truth, names, confidence),
        reliability=() if score.reliability is None else reliability_bins(score.reliability),
    )


def _picture(picks: RowPicks, labels: Labels, results: Sequence[BlockResult]) -> Picture | None:
    if len(picks.sampled) < 3:
        return None
    points = project_2d(picks.sample)
    codes = np.concatenate([result.sampled_codes for result in results])
    return Picture(
        points=tuple((float(x), float(y)) for x, y in points),
        labels=tuple(codes.tolist()),
        seeds=tuple(np.isin(picks.sampled, labels.rows).tolist()),
    )


def summary_rows(result: Any) -> list[tuple[str, str]]:
    """Return what the command prints about a finished run: (name, value) pairs."""
    report: AnyReport = result.report
    return [
        ("rows", f"{report.output.rows:,}"),
        *TARGETS[report.target].summary_rows(report),
        *(("warning", text) for text in report.warnings),
        ("time", f"{report.seconds:.1f} s"),
        ("labels", str(result.path / "labels")),
        ("report", str(result.path / "report.html")),
    ]


def class_rows(report: RunReport) -> list[tuple[str, str]]:
    """Return what the command prints about labels that are classes: (name, value) pairs."""
    decision, evaluation = report.decision, report.evaluation
    total = report.output.rows
    labelled = total - decision.n_abstained
    rows = [
        ("seeds", f"{sum(report.seeds.counts):,} of {len(report.seeds.classes)} classes"),
        ("labelled", f"{labelled:,} ({labelled / total:.1%})"),
        ("refused", refused_words(decision.n_abstained, decision.reasons)),
    ]
    if evaluation.hidden is not None:
        rows.append(("accuracy, hidden seeds", share_words(evaluation.hidden.accuracy_all)))
    if evaluation.baseline_hidden is not None:
        rows.append(("supervised baseline", share_words(evaluation.baseline_hidden.accuracy_all)))
    if evaluation.truth is not None:
        truth = evaluation.truth
        rows.append(("truth, unlabelled rows", share_words(truth.unlabelled.accuracy_all)))
        rows.append(("truth, seeds", share_words(truth.seeds.accuracy_all)))
        rows.append(("truth, overall", share_words(truth.overall.accuracy_all)))
        if other := evaluation.truth.other_class:
            rows.append(("truth, other classes", f"{other:,} rows, counted as wrong"))
    if evaluation.baseline_truth is not None:
        baseline = evaluation.baseline_truth.unlabelled.accuracy_all
        rows.append(("baseline, unlabelled rows", share_words(baseline)))
    return rows


def refused_words(n_without: int, reasons: Mapping[str, int]) -> str:
    """Return how many rows got no label, and why, in a line."""
    if not n_without:
        return "0"
    words = ", ".join(f"{name} {count:,}" for name, count in reasons.items())
    return f"{n_without:,} ({words})"


def share_words(interval: Interval) -> str:
    """Return a share with its interval, in a line."""
    if interval.value is None:
        return "unknown"
    return (
        f"{interval.value:.4f}  [{interval.low:.3f}, {interval.high:.3f}]"
        f" at {interval.confidence:.0%}, {interval.n:,} rows"
    )
