"""Steps 3 to 6 of a run whose labels are numbers: infer, judge, decide, write, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.decision.value_decision import (
    DEFAULT_COVERAGE,
    VALUE_REASONS,
    VALUE_SOURCES,
    ValueInterval,
    fit_interval,
)
from ssl_dask.errors import JobSpecError
from ssl_dask.evaluation.metrics import Interval, clopper_pearson
from ssl_dask.evaluation.value_baselines import RidgeBaseline, mean_of_others
from ssl_dask.evaluation.value_scores import (
    PairedErrors,
    Unit,
    ValueScores,
    compare_errors,
    score_values,
    sum_errors,
)
from ssl_dask.features.dask_ml_adapter import predict_blocks
from ssl_dask.hidden_seeds import HiddenSeeds, hide_seeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.infer.inference import build_graph
from ssl_dask.pipeline.infer.job_graph import rows_of_groups
from ssl_dask.pipeline.infer.row_sample import RowPicks, pick
from ssl_dask.pipeline.infer.value_inference import InferredValues, infer_values
from ssl_dask.pipeline.inputs.label_kind import Answer
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.number_blocks import (
    N_BINS,
    ValueOutput,
    ValueResult,
    write_value_block,
)
from ssl_dask.report.picture import picture_rows
from ssl_dask.storage.result.result_schema import number_schema

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class JudgedValues:
    """What the hidden seeds say.

    Parameters
    ----------
    unit
        What errors are summed in.
    hidden, baseline_hidden, mean_hidden
        Scores of the method, of ridge regression and of the mean of the other seeds on the hidden
        seeds that the method gave a number; None if none could be hidden, or the job wants no
        baseline.
    baseline
        Ridge regression on the same seeds and folds; None if the job does not want it.
    comparison
        Method against ridge regression, seed by seed.
    interval
        How wide the interval of a number is.
    inside
        Share of the hidden seeds inside intervals that were made without their fold.
    """

    unit: Unit
    hidden: ValueScores | None
    baseline_hidden: ValueScores | None
    mean_hidden: ValueScores | None
    baseline: RidgeBaseline | None
    comparison: PairedErrors | None
    interval: ValueInterval
    inside: Interval


def give_values(context: RunContext) -> Answer:
    """Give each row a number or a refusal, and say how good they are.

    Raises
    ------
    ComputeError
        Workers were lost or ran out of memory.
    """
    # The report is drawn by libraries that workers need not load.
    from ssl_dask.pipeline.targets.number_report import build_value_report

    spec, data, clock = context.spec, context.data, context.clock
    labels = NumberLabels.of(data.labels)
    seeds = labels.as_one_class()
    folds = hide_seeds(seeds, spec.evaluation.folds, spec.evaluation.random_state)
    sampled = picture_rows(labels.n_rows, labels.rows, random_state=spec.evaluation.random_state)
    X = context.view.persist(context.execution, "describe").X
    clock.stage("graph")
    picks = pick(X, seeds, sampled, context.execution).with_features(X)
    assert spec.graph is not None
    if spec.graph.part_weights == "learned":
        raise JobSpecError(
            "graph.part_weights: learned goes by which seeds are of one class, and the labels are"
            " numbers; give each part a weight"
        )
    graph = build_graph(
        spec.graph,
        X,
        data.reader,
        spec.input.id,
        context.inputs.edge_files,
        context.inputs.stored_graph,
        context.execution,
        context.checkpoints,
        clock,
        rows_of=rows_of_groups(context.views, spec.features, context.execution),
    )
    inferred = infer_values(context, graph, labels, folds)

    clock.stage("evaluation")
    judged = judge_values(spec, labels, folds, inferred.hidden_values, picks.seeds)

    clock.stage("decision")
    results = _write_blocks(context, labels, inferred, judged, picks)

    clock.stage("report")
    report = build_value_report(
        context,
        labels=labels,
        inferred=inferred,
        folds=folds,
        judged=judged,
        results=results,
        picks=picks,
    )
    return Answer([result.part for result in results], report)


def judge_values(
    spec: JobSpec, labels: NumberLabels, folds: HiddenSeeds, hidden_values: Values, X_seeds: Any
) -> JudgedValues:
    """Score the method, and the baselines, on the seeds that were hidden from them.

    Parameters
    ----------
    labels, folds
        The seeds, and which were hidden together.
    hidden_values
        float64 (S,): the seeds' numbers while they were hidden.
    X_seeds
        (S, d): their features.
    """
    unit, confidence = Unit.of(labels.values), spec.evaluation.confidence
    was_hidden = folds.fold >= 0

    reached = ~np.isnan(hidden_values)

    def scores(found: Values, of: npt.NDArray[np.bool_] = was_hidden) -> ValueScores | None:
        if not was_hidden.any():
            return None
        sums = sum_errors(labels.values[of], found[of], unit)
        return score_values(sums, unit, confidence)

    errors = np.abs(labels.values - hidden_values)[reached]
    coverage = spec.decision.coverage or DEFAULT_COVERAGE
    interval = fit_interval(errors, folds.fold[reached], coverage)
    baseline = comparison = None
    if spec.evaluation.baseline:
        baseline = RidgeBaseline.fit(X_seeds, labels.values, folds)
        theirs = baseline.hidden_values
        comparison = compare_errors(labels.values, hidden_values, theirs, confidence)
    return JudgedValues(
        unit=unit,
        hidden=scores(hidden_values),
        baseline_hidden=None if baseline is None else scores(baseline.hidden_values, reached),
        mean_hidden=scores(mean_of_others(labels.values, folds), reached),
        baseline=baseline,
        comparison=comparison,
        interval=interval,
        inside=clopper_pearson(interval.n_inside, interval.n_checked, confidence),
    )


def _write_blocks(
    context: RunContext,
    labels: NumberLabels,
    inferred: InferredValues,
    judged: JudgedValues,
    picks: RowPicks,
) -> list[ValueResult]:
    spec, data = context.spec, context.data
    output = ValueOutput(
        reader=data.reader,
        columns=data.carried,
        row_numbers=data.row_numbers,
        stage=context.output.stage,
        run_id=context.output.run_id,
        schema=number_schema(
            context.inputs.dataset.schema,
            spec.input.id,
            spec.output.columns,
            {"source": VALUE_SOURCES, "reason": VALUE_REASONS},
        ),
        labels=labels,
        half_width=judged.interval.half_width,
        truth=spec.input.truth,
        unit=judged.unit,
        edges=np.linspace(labels.values.min(), labels.values.max(), N_BINS + 1),
        sampled=picks.sampled,
    )
    values = inferred.values.to_delayed(optimize_graph=False).ravel()
    baseline: Sequence[Any] = [None] * len(values)
    if spec.input.truth is not None and judged.baseline is not None and picks.X is not None:
        baseline = predict_blocks(judged.baseline.model, picks.X).to_delayed().ravel()
    shared = delayed(output, pure=False, traverse=False)
    write = delayed(write_value_block, pure=False)
    starts = data.layout.starts
    tasks = [
        write(shared, block, int(starts[block]), values[block], baseline[block])
        for block in range(len(values))
    ]
    return context.execution.compute(tasks, "write")
