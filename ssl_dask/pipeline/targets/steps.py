"""Steps 3 to 6 of a run, whatever its labels are: infer, judge, decide and write, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ssl_dask.array_types import Int64
from ssl_dask.hidden_seeds import HiddenSeeds, hide_seeds
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.inference import Inferred, infer
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.block_task import carried_fields
from ssl_dask.report.pages import AnyReport
from ssl_dask.report.picture import picture_rows
from ssl_dask.storage.runs.manifest import PartRecord

Judged = TypeVar("Judged")
Results = TypeVar("Results")


@dataclass(frozen=True)
class Finished:
    """What the steps after the features have made."""

    parts: list[PartRecord]
    """What was written."""
    report: AnyReport
    """Everything that is said of it."""


@dataclass(frozen=True, kw_only=True)
class Target(Generic[Judged, Results]):
    """What the steps do differently for classes and for numbers."""

    strata: Callable[[Labels], Labels]
    """Returns the seeds with the classes that each fold hides in equal shares."""
    seeds: Callable[[Labels], Labels]
    """Returns the seeds as a method takes them."""
    judge: Callable[[RunContext, HiddenSeeds, Inferred], tuple[Inferred, Judged]]
    """Scores the method, and the baselines, on the seeds that were hidden from them; returns what
    is published, the method's answer or another."""
    write: Callable[[RunContext, HiddenSeeds, Inferred, Judged], Results]
    """Decides the rows, writes the parts of the result, and returns what is counted of them."""
    parts: Callable[[Results], Sequence[PartRecord]]
    """Returns the parts that were written."""
    report: Callable[[RunContext, HiddenSeeds, Inferred, Judged, Results], AnyReport]
    """Returns the report of a run whose parts are written and not yet committed."""


def label_rows(run: RunContext, target: Target[Any, Any]) -> Finished:
    """Give each row a label or abstain, and judge how good the labels are.

    Parameters
    ----------
    run
        The run, whose rows are described.

    Raises
    ------
    QualityError
        Classes have collapsed, and the job does not take that.
    ComputeError
        Workers were lost or ran out of memory.
    """
    evaluation, given, clock = run.spec.evaluation, run.data.labels, run.clock
    labels = target.seeds(given)
    folds = hide_seeds(target.strata(given), evaluation.folds, evaluation.random_state)
    sampled = picture_rows(labels.n_rows, labels.rows, random_state=evaluation.random_state)
    inferred = infer(run, labels, folds, sampled)
    clock.stage("evaluation")
    inferred, judged = target.judge(run, folds, inferred)
    clock.stage("decision")
    results = target.write(run, folds, inferred, judged)
    clock.stage("report")
    report = target.report(run, folds, inferred, judged, results)
    return Finished(list(target.parts(results)), report)


def task_fields(run: RunContext, sampled: Int64) -> dict[str, Any]:
    """Return the fields of a `BlockTask` that are the same for all labels, but for the schema."""
    return {
        "reader": run.data.reader,
        **carried_fields(run.spec),
        "stage": run.output.stage,
        "run_id": run.output.run_id,
        "truth": run.spec.input.truth,
        "sampled": sampled,
    }
