"""Steps 5 and 6 of a run whose labels are classes: judge, decide, write."""

from __future__ import annotations

from ssl_dask.dask_arrays import row_handles
from ssl_dask.features.block_reader import add_all
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.class_checks import ranked_class
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.model_output import store_models
from ssl_dask.pipeline.targets.block_task import write_blocks
from ssl_dask.pipeline.targets.class_blocks import (
    ClassBlocks,
    ClassesWritten,
    class_schema,
)
from ssl_dask.pipeline.targets.class_judging import (
    ClassesJudged,
    decision_rule,
    judge_classes,
    warn_of_classes_gone,
)
from ssl_dask.pipeline.targets.class_report import build_class_report
from ssl_dask.pipeline.targets.ranked_rows import rank_rows
from ssl_dask.pipeline.targets.review import ReviewSearch, write_review
from ssl_dask.pipeline.targets.steps import Target, task_fields
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled


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
    review = spec.decision.review_list
    search = None if review is None else ReviewSearch.of(review, run.data.labels, inferred)
    rule = decision_rule(run, inferred, judged)
    task = ClassBlocks(
        **task_fields(run, inferred.rows.sampled),
        schema=class_schema(fields, spec, run.data.labels.classes, kind),
        labels=run.data.labels,
        rule=rule,
        search=search,
        unlabelled=spec.input.unlabelled,
    )
    baseline_F = None
    if spec.input.truth is not None and judged.baseline is not None:
        scored = predict_proba_blocks(judged.baseline.model, inferred.rows.X)
        baseline_F = row_handles(scored)
    far = search is not None and search.seeds is not None
    X = row_handles(inferred.rows.X) if far else None
    ranked, code = None, ranked_class(spec, run.data.labels)
    if code is not None:
        F, has_seed = inferred.F, inferred.has_seed
        told = run.data.labels, rule, code, run.execution
        ranked = rank_rows(F, has_seed, run.tags(), *told)
    tags = None if search is None else run.tags()
    beside = (inferred.has_seed, baseline_F, X, tags, ranked)
    results = write_blocks(task, inferred.F, run.execution, *beside)
    score = add_all([result.score for result in results])
    warnings = warn_of_classes_gone(run, folds, inferred, judged.shares, score.labels)
    parts = [result.part for result in results]
    n_review = 0
    if search is not None:
        candidates = [one.review for one in results if one.review is not None]
        listed, n_review = write_review(run, inferred, task, search, candidates)
        parts += listed
    if spec.output.models and inferred.baseline is not None:
        warnings += (
            "The models were not kept: the labels are those of a baseline, not of the models'"
            " method. decision.on_worse: publish keeps both.",
        )
    elif spec.output.models:
        assert isinstance(found, SelfLabeled)
        models, not_kept = store_models(run, found, judged.calibration, score)
        parts += models
        warnings += not_kept
    return ClassesWritten(results, score, parts, n_review, warnings)


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
