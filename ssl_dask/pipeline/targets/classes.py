"""Steps 5 and 6 of a run whose labels are classes: judge, decide, write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.dask_arrays import row_handles
from ssl_dask.decision.labelling import DecisionRule
from ssl_dask.decision.review_queue import ReviewQueue, merge_review
from ssl_dask.features.block_reader import add_all
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.model_output import store_models
from ssl_dask.pipeline.targets.block_task import write_blocks
from ssl_dask.pipeline.targets.class_blocks import (
    ClassBlocks,
    ClassesWritten,
    ClassResult,
    class_schema,
)
from ssl_dask.pipeline.targets.class_judging import (
    ClassesJudged,
    judge_classes,
    warn_of_classes_gone,
)
from ssl_dask.pipeline.targets.class_report import build_class_report
from ssl_dask.pipeline.targets.steps import Target, task_fields
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import review_schema
from ssl_dask.storage.runs.manifest import PartRecord


def write_classes(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred, judged: ClassesJudged
) -> ClassesWritten:
    """Decide the rows and write their parts, the review queue, and the models.

    Raises
    ------
    QualityError
        Classes have collapsed, and the job does not take that.
    """
    spec, found, fields = run.spec, inferred.found, run.inputs.dataset.schema
    kind = None if spec.input.label is None else fields.field(spec.input.label).type
    rule = (judged.calibration, spec.decision, found.source, inferred.method.no_evidence)
    task = ClassBlocks(
        **task_fields(run, inferred.rows.sampled),
        schema=class_schema(fields, spec, run.data.labels.classes, kind),
        labels=run.data.labels,
        rule=DecisionRule(*rule),
        unseeded=inferred.unseeded,
        unlabelled=spec.input.unlabelled,
    )
    baseline_F = None
    if spec.input.truth is not None and judged.baseline is not None:
        scored = predict_proba_blocks(judged.baseline.model, inferred.rows.X)
        baseline_F = row_handles(scored)
    results = write_blocks(task, inferred.F, run.execution, inferred.has_seed, baseline_F)
    score = add_all([result.score for result in results])
    warnings = warn_of_classes_gone(run, folds, inferred, score.labels)
    parts = [result.part for result in results]
    review = _review(spec.decision.review_budget, results)
    if review is not None and len(review):
        parts.append(_write_review(review, task, run))
    if spec.output.models:
        assert isinstance(found, SelfLabeled)
        models, not_kept = store_models(run, found, judged.calibration)
        parts += models
        warnings += not_kept
    n_review = 0 if review is None else len(review)
    return ClassesWritten(results, score, parts, n_review, warnings)


def _review(budget: int | None, results: Sequence[ClassResult]) -> ReviewQueue | None:
    if budget is None:
        return None
    return merge_review([one.review for one in results if one.review is not None], budget)


def _write_review(review: ReviewQueue, task: ClassBlocks, run: RunContext) -> PartRecord:
    table = run.data.reader.fetch_table(
        review.row,
        () if task.row_numbers else task.columns[:1],
        run.execution,
        row_numbers=task.row_numbers,
    )
    arrays: dict[str, npt.NDArray[Any]] = {
        "row": review.row,
        "label": review.label,
        "probability": review.probability,
        "margin": review.margin,
        "rank": np.arange(1, len(review) + 1, dtype=np.int64),
    }
    schema = review_schema(task.schema)
    added = {column.name: arrays[column.name] for column in schema.added}
    return write_part(task.stage, task.run_id, 0, table, added, schema)


CLASSES: Target[ClassesJudged, ClassesWritten] = Target(
    # Each fold hides each class in its share.
    strata=lambda labels: labels,
    seeds=lambda labels: labels,
    judge=judge_classes,
    write=write_classes,
    parts=lambda results: results.parts,
    report=build_class_report,
)
"""Labels are classes: each row gets one of them with a probability, or abstains."""
