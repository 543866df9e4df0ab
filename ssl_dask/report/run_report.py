"""Everything that is told about a run, as frozen models that go to JSON and back unchanged.

It holds counts, settings and class names, never the content of a data cell; the page is made from
it alone, so it can be rebuilt from `report.json` at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from ssl_dask.decision.calibration import Calibration, ReliabilityBin
from ssl_dask.decision.labelling import REASONS, SOURCES
from ssl_dask.evaluation.block_scores import BlockScore, Reliability, TruthScores
from ssl_dask.evaluation.contest import Contest
from ssl_dask.evaluation.metrics import PairedComparison, Scores
from ssl_dask.evaluation.share_scores import ScoresAtShares
from ssl_dask.report.compared import gate_warnings
from ssl_dask.round_record import RoundRecord

SCHEMA_VERSION: Literal[1] = 1


class ReportPart(BaseModel):
    """Base of the parts: frozen, unknown keys refused, infinities kept as text in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class StageTime(ReportPart):
    """Wall time of one stage of the run."""

    name: str
    seconds: float


class InputSummary(ReportPart):
    """What was read. `path` without credentials, `size` in bytes."""

    path: str
    files: int
    rows: int
    columns: int
    size: int
    notes: tuple[str, ...] = ()


class SeedSummary(ReportPart):
    """The given labels: names of the classes in the order of their codes, and seeds of each."""

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    notes: tuple[str, ...] = ()


class FeatureSummary(ReportPart):
    """One group of features, as it was described to the method."""

    name: str
    kind: str
    n_features: int
    sparse: bool
    notes: tuple[str, ...] = ()


class SelfLabeledSummary(ReportPart):
    """Which of the rounds of self-labelling answers, and what the seeds alone would have done.

    `kept_round`: the round whose models answer, 0 for those fitted on the seeds alone.
    `baseline_accuracy`, `baseline_loss`: of these on hidden seeds; None without hidden seeds.
    """

    kept_round: int
    baseline_accuracy: float | None
    baseline_loss: float | None


class MethodSummary(ReportPart):
    """How labels were inferred.

    `converged` is None for methods that solve nothing in steps; `stopped` says in words why it
    ended.
    `asked_for`: the job's method, where its classes collapsed and this one labelled in its place.
    `self_labeled`: None for methods of other families.
    """

    name: str
    parameters: dict[str, Any]
    converged: bool | None
    stopped: str
    rounds: tuple[RoundRecord, ...] = ()
    asked_for: str | None = None
    self_labeled: SelfLabeledSummary | None = None

    @property
    def title(self) -> str:
        """The name, with spaces."""
        return self.name.replace("_", " ")


class DecisionSummary(ReportPart):
    """What was decided, in rows.

    `labels`: rows of each class, seeds included. `sources`, `reasons`: rows by name, names without
    rows left out, and neither counts `none`. `n_abstained`: rows without a label. `probability`:
    labelled rows that are no seeds, in bins of equal width from 0 to 1. `review_rows`: rows
    proposed for labelling by hand.
    """

    labels: tuple[int, ...]
    sources: dict[str, int]
    reasons: dict[str, int]
    n_abstained: int
    probability: tuple[int, ...]
    min_probability: float | None
    review_rows: int = 0

    @classmethod
    def from_score(
        cls, score: BlockScore, *, min_probability: float | None, review_rows: int = 0
    ) -> DecisionSummary:
        """Build from the counts of all rows."""
        return cls(
            labels=tuple(score.labels.tolist()),
            sources=counts_by_name(SOURCES, score.sources),
            reasons=counts_by_name(REASONS, score.reasons),
            n_abstained=score.n_abstained,
            probability=tuple(score.probability.tolist()),
            min_probability=min_probability,
            review_rows=review_rows,
        )


class EvaluationSummary(ReportPart):
    """How good the labels are, and how good logistic regression on the same seeds is.

    `hidden`, `baseline_hidden`: on seeds while they were hidden; None if none were. `n_folds`: in
    how many turns. `at_shares`: what that says of all rows, None without hidden seeds.
    `never_hidden`: classes with one seed only. `comparison`: method against baseline on the same
    hidden seeds. `contest`: the method asked for against all baselines, and what is published; None
    without baselines or hidden seeds. `truth`, `baseline_truth`: against the truth column, where
    the job names one. `reliability`: stated probability against share right on unlabelled rows, by
    the truth. `baseline_converged`: False if its solver ran out of iterations, with all seeds or in
    a fold; None without one. `folds_not_converged`: the same for a method with a solver, in folds.
    """

    n_folds: int = 0
    folds_not_converged: int = 0
    never_hidden: tuple[str, ...] = ()
    hidden: Scores | None = None
    baseline_hidden: Scores | None = None
    baseline_converged: bool | None = None
    comparison: PairedComparison | None = None
    at_shares: ScoresAtShares | None = None
    contest: Contest | None = None
    truth: TruthScores | None = None
    baseline_truth: TruthScores | None = None
    reliability: tuple[ReliabilityBin, ...] = ()


class Picture(ReportPart):
    """A sample of rows in two dimensions.

    `points`: coordinates. `labels`: code after the run, -1 where it abstained. `seeds`: whether the
    label was given.
    """

    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    seeds: tuple[bool, ...]


class OutputSummary(ReportPart):
    """What was written."""

    path: str
    parts: int
    rows: int


class ReportBase(ReportPart):
    """What every report says, whatever its labels are.

    `job`: the resolved job file, secrets removed. `graph`: its summary, None without a graph.
    `warnings`: whole sentences that a reader must not miss, worst first.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    job_name: str
    run_id: str
    started: datetime
    seconds: float
    stages: tuple[StageTime, ...]
    job: dict[str, Any]
    versions: dict[str, str]
    input: InputSummary
    features: tuple[FeatureSummary, ...]
    graph: dict[str, Any] | None
    method: MethodSummary
    warnings: tuple[str, ...]
    output: OutputSummary

    def to_json(self) -> str:
        """Return the report as indented JSON."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a report back; raises pydantic's ValidationError (a ValueError) if it is none."""
        return cls.model_validate_json(text)


class RunReport(ReportBase):
    """A whole run whose labels are classes."""

    target: Literal["classes"] = "classes"
    seeds: SeedSummary
    calibration: Calibration
    decision: DecisionSummary
    evaluation: EvaluationSummary
    picture: Picture | None

    @property
    def n_without_label(self) -> int:
        """Rows without a label."""
        return self.decision.n_abstained

    @property
    def contest(self) -> Contest | None:
        """The method asked for against all baselines, if they were compared."""
        return self.evaluation.contest

    @property
    def gate_words(self) -> tuple[str, ...]:
        """A sentence where the method asked for is worse than a baseline, else none."""
        return gate_warnings(self.contest, "labels")


def reliability_bins(counts: Reliability) -> tuple[ReliabilityBin, ...]:
    """Return the bins that hold rows."""
    stated = counts.stated()
    return tuple(
        ReliabilityBin(int(counts.count[i]), int(counts.right[i]), float(stated[i]))
        for i in np.flatnonzero(counts.count)
    )


def quality_warnings(
    method: MethodSummary,
    calibration: Calibration,
    decision: DecisionSummary,
    evaluation: EvaluationSummary,
) -> tuple[str, ...]:
    """Return what a user must know before trusting the labels, worst first, as sentences."""
    name, found = method.title, not_converged(method)
    if evaluation.folds_not_converged:
        found.append(
            f"{name.capitalize()} did not converge in {evaluation.folds_not_converged} of the"
            f" {evaluation.n_folds} turns in which seeds were hidden: the accuracy on hidden seeds"
            " may be too low."
        )
    comparison = evaluation.comparison
    if comparison is not None and comparison.difference < 0:
        found.append(comparison.verdict(name, "the supervised baseline"))
    found += _truth_warning(method, evaluation)
    if evaluation.baseline_converged is False:
        found.append("The supervised baseline did not converge, so it may look worse than it is.")
    if not calibration.calibrated:
        found.append(
            "Probabilities are not calibrated: they are scores, not chances of being right"
            f" ({calibration.reason})."
        )
    if other := 0 if evaluation.truth is None else evaluation.truth.other_class:
        found.append(
            f"By the truth column {other:,} rows are of a class that no seed shows: no label can be"
            " right there. Label a few rows of each class that there is."
        )
    if evaluation.never_hidden:
        found.append(
            f"One seed only for {_listed(evaluation.never_hidden)}: nothing is known about how"
            " good labels of that class are."
        )
    total = sum(decision.labels) + decision.n_abstained
    return (*found, *half_without(decision.n_abstained, total, "label"))


def _truth_warning(method: MethodSummary, evaluation: EvaluationSummary) -> list[str]:
    if evaluation.truth is None or evaluation.baseline_truth is None:
        return []
    ours = evaluation.truth.unlabelled.accuracy_all.value
    theirs = evaluation.baseline_truth.unlabelled.accuracy_all.value
    if ours is None or theirs is None or ours >= theirs:
        return []
    return [
        f"By the truth column the supervised baseline is ahead: {theirs * 100:.1f} % of the"
        f" unlabelled rows right, {method.title} {ours * 100:.1f} %."
    ]


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"class {name}" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def counts_by_name(names: Sequence[str], counts: np.ndarray) -> dict[str, int]:
    """Return the counts above 0 by name, without those of "none"."""
    return {name: int(n) for name, n in zip(names, counts, strict=True) if n and name != "none"}


def not_converged(method: MethodSummary) -> list[str]:
    """Return a warning if a method did not converge."""
    if method.converged is not False:
        return []
    return [f"The method, {method.title}, did not converge: {method.stopped}."]


def half_without(n_without: int, total: int, what: str) -> list[str]:
    """Return a warning if more than half of the rows got no label, or no number: `what`."""
    if n_without * 2 <= total:
        return []
    return [f"More than half of the rows got no {what}: {n_without:,} of {total:,}."]
