"""Steps 3 to 6 of a run whose labels are classes: infer, judge, decide, write, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.decision.calibration import fit_calibration
from ssl_dask.decision.labelling import REASONS, SOURCES
from ssl_dask.decision.review_queue import ReviewQueue, merge_review
from ssl_dask.evaluation.block_scores import merge_scores
from ssl_dask.execution import Execution
from ssl_dask.hidden_seeds import HiddenSeeds, hide_seeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.infer.feature_inference import infer_on_features, infer_on_graph_and_features
from ssl_dask.pipeline.infer.inference import (
    Inferred,
    build_graph,
    infer_on_graph,
    infer_supervised,
)
from ssl_dask.pipeline.infer.job_graph import rows_of_groups
from ssl_dask.pipeline.infer.row_sample import RowPicks, pick
from ssl_dask.pipeline.infer.self_labeled_run import infer_self_labeled
from ssl_dask.pipeline.inputs.job_inputs import ReadData
from ssl_dask.pipeline.inputs.label_kind import Answer
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.model_output import store_models
from ssl_dask.pipeline.targets.class_blocks import BlockOutput, BlockResult, write_blocks
from ssl_dask.pipeline.targets.class_report import build_report
from ssl_dask.pipeline.targets.judging import Judged, judge, warn_of_classes_gone
from ssl_dask.report.picture import picture_rows
from ssl_dask.self_labeled import METHODS as SELF_LABELED
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import ResultSchema, label_schema, review_schema
from ssl_dask.storage.runs.manifest import PartRecord


def label_rows(context: RunContext) -> Answer:
    """Give each row a class or a refusal, and say how good they are.

    Raises
    ------
    QualityError
        Classes have collapsed, and the job does not take that.
    ComputeError
        Workers were lost or ran out of memory.
    """
    spec, data, clock = context.spec, context.data, context.clock
    labels = data.labels
    folds = hide_seeds(labels, spec.evaluation.folds, spec.evaluation.random_state)
    inferred, picks = _infer(context, folds)

    clock.stage("evaluation")
    judged = judge(spec, labels, folds, inferred.hidden_F, picks.seeds)
    calibration = fit_calibration(
        inferred.hidden_F[folds.fold >= 0],
        labels.codes[folds.fold >= 0],
        folds.fold[folds.fold >= 0],
    )

    clock.stage("decision")
    labelled_by = (inferred.answered_by or spec.method).model_dump()["name"]
    no_evidence = METHODS[labelled_by].no_evidence if labelled_by in METHODS else "low_mass"
    block_output = BlockOutput(
        reader=data.reader,
        columns=data.carried,
        row_numbers=data.row_numbers,
        stage=context.output.stage,
        run_id=context.output.run_id,
        schema=_schema(context),
        labels=labels,
        calibration=calibration,
        decision=spec.decision,
        source=inferred.source,
        no_evidence=no_evidence,
        islands=inferred.islands,
        truth=spec.input.truth,
        sampled=picks.sampled,
    )
    results = _write_blocks(block_output, inferred, judged, picks, data, context.execution)
    counted = merge_scores(result.score for result in results).labels
    gone = warn_of_classes_gone(spec, labels, folds, inferred.hidden_F, counted)
    review = _review(spec, results)
    parts = [result.part for result in results]
    if review is not None and len(review):
        parts.append(_write_review(review, block_output, data, context.execution))
    not_kept: tuple[str, ...] = ()
    if spec.output.models:
        assert inferred.kept_models is not None
        models, not_kept = store_models(context, inferred.kept_models, calibration)
        parts += models
    inferred = replace(inferred, warnings=(*inferred.warnings, *gone, *not_kept))

    clock.stage("report")
    report = build_report(
        context,
        inferred=inferred,
        folds=folds,
        calibration=calibration,
        judged=judged,
        results=results,
        picks=picks,
        review_rows=0 if review is None else len(review),
    )
    return Answer(parts, report)


def _schema(context: RunContext) -> ResultSchema:
    """Return what the parts of the result look like."""
    spec, dataset = context.spec, context.inputs.dataset
    label = spec.input.label
    return label_schema(
        dataset.schema,
        spec.input.id,
        spec.output.columns,
        context.data.labels.classes,
        None if label is None else dataset.schema.field(label).type,
        {"source": SOURCES, "reason": REASONS},
        probabilities=spec.output.probabilities,
    )


def _infer(context: RunContext, folds: HiddenSeeds) -> tuple[Inferred, RowPicks]:
    """Run the job's method; without a graph rows are not kept, only read when needed."""
    if context.spec.method.name in SELF_LABELED:
        return infer_self_labeled(
            context.spec,
            context.views,
            context.data.labels,
            folds,
            context.trust_modules,
            context.execution,
            context.checkpoints,
            context.clock,
        )
    spec, view, data = context.spec, context.view, context.data
    execution, clock = context.execution, context.clock
    labels = data.labels
    sampled = picture_rows(labels.n_rows, labels.rows, random_state=spec.evaluation.random_state)
    if spec.method.name == "supervised":
        clock.stage("supervised")
        picks = pick(view.X, labels, sampled, execution)
        return infer_supervised(spec.method, view.X, picks.seeds, labels, folds), picks
    X = view.persist(execution, "describe").X
    method = METHODS[spec.method.name]
    if method.needs == "features":
        clock.stage("propagation")
        picks = pick(X, labels, sampled, execution)
        inferred = infer_on_features(spec.method, X, picks.seeds, labels, folds, execution)
        return inferred, picks.with_features(X)
    clock.stage("graph")
    picks = pick(X, labels, sampled, execution)
    assert spec.graph is not None
    graph = build_graph(
        spec.graph,
        X,
        data.reader,
        spec.input.id,
        context.inputs.edge_files,
        context.inputs.stored_graph,
        execution,
        context.checkpoints,
        clock,
        more_weights=method.more_weights,
        rows_of=rows_of_groups(context.views, spec.features, execution),
        labels=labels,
    )
    if method.runs_at_features:
        clock.stage("propagation")
        with_features = infer_on_graph_and_features(
            spec.method,
            graph,
            X,
            picks.seeds,
            labels,
            folds,
            execution,
            context.checkpoints,
            clock,
        )
        return with_features, picks.with_features(X)
    inferred = infer_on_graph(
        spec,
        graph,
        X,
        picks.seeds,
        labels,
        folds,
        data.layout.row_chunks,
        execution,
        context.checkpoints,
        clock,
    )
    return inferred, picks.with_features(X)


def _write_blocks(
    output: BlockOutput,
    inferred: Inferred,
    judged: Judged,
    picks: RowPicks,
    data: ReadData,
    execution: Execution,
) -> list[BlockResult]:
    baseline_F = None
    if output.truth is not None and judged.baseline is not None and picks.X is not None:
        baseline_F = list(judged.score_rows(picks.X).to_delayed().ravel())
    return write_blocks(
        output,
        inferred.F,
        data.layout.starts,
        execution,
        has_seed=inferred.has_seed,
        baseline_F=baseline_F,
    )


def _review(spec: JobSpec, results: Sequence[BlockResult]) -> ReviewQueue | None:
    budget = spec.decision.review_budget
    if budget is None:
        return None
    return merge_review([one.review for one in results if one.review is not None], budget)


def _write_review(
    review: ReviewQueue, output: BlockOutput, data: ReadData, execution: Execution
) -> PartRecord:
    table = data.reader.fetch_table(
        review.row,
        () if output.row_numbers else output.columns[:1],
        execution,
        row_numbers=output.row_numbers,
    )
    arrays: dict[str, npt.NDArray[Any]] = {
        "row": review.row,
        "label": review.label,
        "probability": review.probability,
        "margin": review.margin,
        "rank": np.arange(1, len(review) + 1, dtype=np.int64),
    }
    schema = review_schema(output.schema)
    added = {column.name: arrays[column.name] for column in schema.added}
    return write_part(output.stage, output.run_id, 0, table, added, schema)
