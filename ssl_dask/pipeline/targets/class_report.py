"""Puts the report of a run together whose labels are classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssl_dask.evaluation.block_scores import truth_scores
from ssl_dask.features.block_reader import add_all
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.class_blocks import ClassesWritten
from ssl_dask.pipeline.targets.class_judging import ClassesJudged, score_classes_at_shares
from ssl_dask.pipeline.targets.job_shares import sampling_notes
from ssl_dask.pipeline.targets.report_frame import (
    abstained_words,
    common_fields,
    graph_warnings,
    method_summary,
    picture_fields,
    share_words,
)
from ssl_dask.report.compared import gate_warnings
from ssl_dask.report.run_report import (
    DecisionSummary,
    EvaluationSummary,
    Picture,
    RunReport,
    SeedSummary,
    quality_warnings,
    reliability_bins,
)
from ssl_dask.report.share_words import share_lines

FEWEST_PAIRS = 30
"""With fewer edges between seeds nothing is said of them."""


def build_class_report(
    run: RunContext,
    folds: HiddenSeeds,
    inferred: Inferred,
    judged: ClassesJudged,
    written: ClassesWritten,
) -> RunReport:
    """Return the report of a run whose parts are written and not yet committed."""
    spec, data, labels = run.spec, run.data, run.data.labels
    results = written.results
    method = method_summary(run, inferred)
    seeds = SeedSummary(
        classes=tuple(labels.class_names),
        counts=tuple(labels.class_counts().tolist()),
        notes=(*data.seed_notes, *sampling_notes(run, judged.shares)),
    )
    decision = DecisionSummary.from_score(
        written.score,
        min_probability=spec.decision.min_probability,
        review_rows=written.review_rows,
    )
    evaluation = _evaluation(run, folds, inferred, judged, written)
    picture = picture_fields(inferred.rows, labels.rows)
    codes = np.concatenate([result.sampled for result in results]).tolist()
    return RunReport(
        **common_fields(run, inferred.graph, len(results)),
        seeds=seeds,
        method=method,
        calibration=judged.calibration,
        decision=decision,
        evaluation=evaluation,
        picture=None if picture is None else Picture(**picture, labels=tuple(codes)),
        warnings=(
            *gate_warnings(judged.contest, "labels"),
            *data.warnings,
            *inferred.warnings,
            *judged.shares.warnings,
            *written.warnings,
            *quality_warnings(method, judged.calibration, decision, evaluation),
            *graph_warnings(inferred.graph, data.layout.n_rows),
            *no_signal_warnings(inferred.graph, seeds, evaluation),
        ),
    )


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
    hidden, at_shares = evaluation.hidden, evaluation.at_shares
    # Labels that are moved to other shares are not right among seeds.
    moved = at_shares is not None and at_shares.corrected
    right = None if hidden is None or moved else hidden.accuracy_all.value
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


def _evaluation(
    run: RunContext,
    folds: HiddenSeeds,
    inferred: Inferred,
    judged: ClassesJudged,
    written: ClassesWritten,
) -> EvaluationSummary:
    names, confidence = run.data.labels.class_names, run.spec.evaluation.confidence
    baseline = [one.baseline for one in written.results if one.baseline is not None]
    truth, baseline_truth = (
        None if counts is None else truth_scores(counts, names, confidence)
        for counts in (written.score.truth, add_all(baseline).truth if baseline else None)
    )
    reliability = written.score.reliability
    return EvaluationSummary(
        n_folds=folds.n_folds,
        folds_not_converged=inferred.found.folds_not_converged,
        never_hidden=tuple(names[code] for code in folds.never_hidden),
        hidden=judged.hidden,
        baseline_hidden=judged.baseline_hidden,
        comparison=judged.comparison,
        contest=judged.contest,
        baseline_converged=None if judged.baseline is None else judged.baseline.converged,
        truth=truth,
        baseline_truth=baseline_truth,
        reliability=() if reliability is None else reliability_bins(reliability),
        at_shares=score_classes_at_shares(run, inferred, judged, written.score),
    )


def class_rows(report: RunReport) -> list[tuple[str, str]]:
    """Return what the command prints about labels that are classes: (name, value) pairs."""
    decision, evaluation = report.decision, report.evaluation
    total = report.output.rows
    labelled = total - decision.n_abstained
    rows = [
        ("seeds", f"{sum(report.seeds.counts):,} of {len(report.seeds.classes)} classes"),
        ("labelled", f"{labelled:,} ({labelled / total:.1%})"),
        ("abstained", abstained_words(decision.n_abstained, decision.reasons)),
    ]
    # Among seeds that are no fair sample of the rows it says nothing of these.
    fair = evaluation.at_shares is None or not evaluation.at_shares.seeds_differ
    if evaluation.hidden is not None and fair:
        rows.append(("accuracy, hidden seeds", share_words(evaluation.hidden.accuracy_all)))
    if evaluation.at_shares is not None:
        rows += share_lines(evaluation.at_shares, report.seeds.counts)
    if evaluation.baseline_hidden is not None and fair:
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
