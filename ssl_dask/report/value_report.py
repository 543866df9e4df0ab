"""Everything that is told about a run whose labels are numbers.

It holds counts, settings and figures, and of the seeds their numbers, as far as they are drawn.
"""

from __future__ import annotations

from typing import Literal

from ssl_dask.decision.value_decision import ValueInterval
from ssl_dask.evaluation.contest import Contest
from ssl_dask.evaluation.metrics import Interval
from ssl_dask.evaluation.value_scores import PairedErrors, ValueScores
from ssl_dask.report.compared import gate_warnings
from ssl_dask.report.run_report import (
    MethodSummary,
    ReportBase,
    ReportPart,
    half_without,
    not_converged,
)

NEARLY_CONSTANT = 0.2
"""Numbers of the rows that spread less than this share of the seeds' have sunk to their mean."""
FEW_HIDDEN = 10
"""With fewer hidden seeds nothing is said of what they fail to show."""
BASELINE = "ridge regression"


class ValueSeeds(ReportPart):
    """The given labels: how many, and how they are spread, in their own unit."""

    n: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    notes: tuple[str, ...] = ()


class ValueDecision(ReportPart):
    """What was decided, in rows.

    `sources`, `reasons`: rows by name, names without rows left out, and neither counts `none`.
    `n_without`: rows without a number. `bins`, `seed_bins`: rows that are no seeds, and seeds, by
    their number in bins of equal width from the smallest seed to the largest. `deviation`: standard
    deviation of the numbers of rows that are no seeds; None without such rows.
    """

    sources: dict[str, int]
    reasons: dict[str, int]
    n_without: int
    bins: tuple[int, ...]
    seed_bins: tuple[int, ...]
    deviation: float | None


class ValueEvaluation(ReportPart):
    """How good the numbers are, and how good simple models on the same seeds are.

    `hidden`, `baseline_hidden`, `mean_hidden`: of the method, of ridge regression and of the mean
    of the other seeds, on seeds while they were hidden; None if none were. `n_folds`: in how many
    turns. `comparison`: method against ridge regression on the same hidden seeds. `contest`: the
    method asked for against both baselines, and what is published. `inside`: hidden
    seeds inside intervals that were made without their fold. `truth`, `baseline_truth`: against the
    truth column, on rows that are no seeds, where the job names one. Baselines are judged on the
    rows that the method gave a number, so that the figures can be set beside each other.
    """

    n_folds: int = 0
    hidden: ValueScores | None = None
    baseline_hidden: ValueScores | None = None
    mean_hidden: ValueScores | None = None
    baseline_penalty: float | None = None
    comparison: PairedErrors | None = None
    contest: Contest | None = None
    inside: Interval
    truth: ValueScores | None = None
    baseline_truth: ValueScores | None = None


class ValuePicture(ReportPart):
    """A sample of rows in two dimensions.

    `points`: coordinates. `values`: number after the run, None without one. `seeds`: whether it was
    given.
    """

    points: tuple[tuple[float, float], ...]
    values: tuple[float | None, ...]
    seeds: tuple[bool, ...]


class ValueReport(ReportBase):
    """A whole run whose labels are numbers.

    `hidden_pairs`: (true, found) of hidden seeds, a sample of them where they are many.
    """

    target: Literal["numbers"] = "numbers"
    seeds: ValueSeeds
    interval: ValueInterval
    decision: ValueDecision
    evaluation: ValueEvaluation
    hidden_pairs: tuple[tuple[float, float], ...]
    picture: ValuePicture | None

    @property
    def n_without_label(self) -> int:
        """Rows without a label."""
        return self.decision.n_without

    @property
    def contest(self) -> Contest | None:
        """The method asked for against both baselines, if they were compared."""
        return self.evaluation.contest

    @property
    def gate_words(self) -> tuple[str, ...]:
        """A sentence where the method asked for is worse than a baseline, else none."""
        return gate_warnings(self.contest, "numbers")


def value_warnings(
    method: MethodSummary,
    seeds: ValueSeeds,
    interval: ValueInterval,
    decision: ValueDecision,
    evaluation: ValueEvaluation,
) -> tuple[str, ...]:
    """Return what a user must know before trusting the numbers, worst first, as sentences."""
    name, found = method.title, not_converged(method)
    hidden = evaluation.hidden
    explained = None if hidden is None or hidden.n < FEW_HIDDEN else hidden.r2.value
    if explained is not None and explained <= 0.0:
        found.append(
            "The graph carries no signal: the numbers found for hidden seeds are no better than the"
            " mean of all. Take other features or edges, or label more rows."
        )
    if decision.deviation is not None and decision.deviation < NEARLY_CONSTANT * seeds.deviation:
        found.append(
            f"The numbers hardly differ: their standard deviation is {decision.deviation:.3g}, that"
            f" of the labels {seeds.deviation:.3g}. Most rows are far from every label, where the"
            " method says the mean: label more rows."
        )
    comparison = evaluation.comparison
    if comparison is not None and comparison.difference > 0:
        found.append(comparison.verdict(name, BASELINE))
    found += _truth_warning(name, evaluation)
    if hidden is None:
        found.append("No label was hidden: how good the numbers are is not known.")
    elif hidden.n_without:
        found.append(
            f"{hidden.n_without:,} of {hidden.n + hidden.n_without:,} hidden seeds were reached by"
            " no other seed: nothing is known about rows like them."
        )
    if interval.half_width is None:
        found.append(f"There are no intervals around the numbers: {interval.reason}.")
    total = sum(decision.sources.values()) + decision.n_without
    return (*found, *half_without(decision.n_without, total, "number"))


def _truth_warning(name: str, evaluation: ValueEvaluation) -> list[str]:
    if evaluation.truth is None or evaluation.baseline_truth is None:
        return []
    ours, theirs = evaluation.truth.mae.value, evaluation.baseline_truth.mae.value
    if ours is None or theirs is None or ours <= theirs:
        return []
    return [
        f"By the truth column {BASELINE} is ahead: off by {theirs:.3g} in the mean on rows without"
        f" a label, {name} {ours:.3g}."
    ]
