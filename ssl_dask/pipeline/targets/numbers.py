"""Steps 5 and 6 of a run whose labels are numbers: judge, decide, write."""

from __future__ import annotations

import numpy as np

from ssl_dask.dask_arrays import row_handles
from ssl_dask.decision.value_decision import VALUE_REASONS, VALUE_SOURCES
from ssl_dask.features.dask_ml_adapter import predict_blocks
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.block_task import write_blocks
from ssl_dask.pipeline.targets.number_blocks import N_BINS, NumberBlocks, NumberResult
from ssl_dask.pipeline.targets.number_judging import NumbersJudged, judge_numbers
from ssl_dask.pipeline.targets.number_report import build_number_report
from ssl_dask.pipeline.targets.steps import Target, task_fields
from ssl_dask.storage.labels.number_rule import NumberRule
from ssl_dask.storage.result.result_schema import number_schema


def write_numbers(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred, judged: NumbersJudged
) -> list[NumberResult]:
    """Decide the rows and write their parts."""
    spec, labels = run.spec, NumberLabels.of(run.data.labels)
    task = NumberBlocks(
        **task_fields(run, inferred.rows.sampled),
        schema=number_schema(
            run.inputs.dataset.schema,
            spec.input.id,
            spec.output.columns,
            {"source": VALUE_SOURCES, "reason": VALUE_REASONS},
        ),
        labels=labels,
        rule=NumberRule(spec.input.unlabelled),
        half_width=judged.interval.half_width,
        source=inferred.found.source,
        unit=judged.unit,
        edges=np.linspace(labels.values.min(), labels.values.max(), N_BINS + 1),
    )
    baseline = None
    if spec.input.truth is not None and judged.baseline is not None:
        predicted = predict_blocks(judged.baseline.model, inferred.rows.X)
        baseline = row_handles(predicted)
    return write_blocks(task, inferred.F, run.execution, baseline)


NUMBERS: Target[NumbersJudged, list[NumberResult]] = Target(
    # One class: folds are hidden whatever the numbers.
    strata=lambda labels: NumberLabels.of(labels).as_one_class(),
    seeds=lambda labels: NumberLabels.of(labels).as_labels(),
    judge=judge_numbers,
    write=write_numbers,
    parts=lambda results: [result.part for result in results],
    report=build_number_report,
)
"""Labels are numbers: each row gets one with an interval around it, or abstains."""
