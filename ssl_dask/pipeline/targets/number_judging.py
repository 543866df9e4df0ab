"""Step 5 of numbers: how good they are, on hidden seeds, beside simple models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Bool, Float64
from ssl_dask.decision.value_decision import DEFAULT_COVERAGE, ValueInterval, fit_interval
from ssl_dask.evaluation.contest import Contest
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
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.gate import gate_numbers


@dataclass(frozen=True)
class NumbersJudged:
    """How the method, and the baselines, did on the hidden seeds."""

    unit: Unit
    """What errors are summed in."""
    hidden: ValueScores | None
    baseline_hidden: ValueScores | None
    mean_hidden: ValueScores | None
    """Scores of the method, of ridge regression and of the mean of the other seeds on the hidden
    seeds that the method gave a number; None if none could be hidden, or the job wants no
    baseline."""
    baseline: RidgeBaseline | None
    """Ridge regression on the same seeds and folds; None if the job does not want it."""
    comparison: PairedErrors | None
    """The method against ridge regression, seed by seed; None if another answer is published."""
    contest: Contest | None
    """The method asked for against both baselines; None without them or hidden seeds."""
    interval: ValueInterval
    """How wide the interval of a number is."""
    inside: Interval
    """Share of the hidden seeds inside intervals that were made without their fold."""


def judge_numbers(
    run: RunContext, folds: HiddenSeeds, inferred: Inferred
) -> tuple[Inferred, NumbersJudged]:
    """Score the method, and the baselines, on hidden seeds; return what is published.

    Raises
    ------
    QualityError
        The method is worse than a baseline, and the job does not take that.
    """
    spec, labels = run.spec, NumberLabels.of(run.data.labels)
    baseline = comparison = contest = None
    if spec.evaluation.baseline:
        baseline = RidgeBaseline.fit(inferred.rows.seeds, labels.values, folds)
        inferred, contest = gate_numbers(run, folds, inferred, baseline)
    hidden_values = inferred.hidden_F
    unit, confidence = Unit.of(labels.values), spec.evaluation.confidence
    was_hidden = folds.fold >= 0
    reached = ~np.isnan(hidden_values)

    def scores(found: Float64, of: Bool = was_hidden) -> ValueScores | None:
        if not was_hidden.any():
            return None
        sums = sum_errors(labels.values[of], found[of], unit)
        return score_values(sums, unit, confidence)

    errors = np.abs(labels.values - hidden_values)[reached]
    coverage = spec.decision.coverage or DEFAULT_COVERAGE
    interval = fit_interval(errors, folds.fold[reached], coverage)
    if baseline is not None and inferred.baseline is None:
        theirs = baseline.hidden_values
        comparison = compare_errors(labels.values, hidden_values, theirs, confidence)
    return inferred, NumbersJudged(
        unit=unit,
        hidden=scores(hidden_values),
        baseline_hidden=None if baseline is None else scores(baseline.hidden_values, reached),
        mean_hidden=scores(mean_of_others(labels.values, folds), reached),
        baseline=baseline,
        comparison=comparison,
        contest=contest,
        interval=interval,
        inside=clopper_pearson(interval.n_inside, interval.n_checked, confidence),
    )
