"""What a solve carries from superstep to superstep, and from a checkpoint to the next run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ssl_dask.propagation.engine.conjugate_gradients import ConjugateScalars
from ssl_dask.propagation.engine.partitions import State
from ssl_dask.propagation.engine.recurrence import Recurrence
from ssl_dask.propagation.engine.steps import ConjugateSteps, Problem, RecurrenceSteps, StepsDone
from ssl_dask.propagation.engine.stop_rule import StopRule, next_check
from ssl_dask.round_record import RoundRecord

OnRound = Callable[[RoundRecord], None]
Resume = tuple[int, State, Mapping[str, Any]]


@dataclass
class RunningSolve:
    """What the loop of one solve carries along.

    Parameters
    ----------
    recurrence, problem
        What is solved.
    rule
        When it ends; None: after so many sweeps.
    identity
        What must be equal for a checkpoint to fit.
    on_round
        Told what each counted sweep did.
    n_iter, records, scalars
        Sweeps done, what was counted of them, and what conjugate gradients found.
    saved
        The last checkpoint.
    losses
        How often workers were lost.
    """

    recurrence: Recurrence
    problem: Problem
    rule: StopRule | None
    identity: Mapping[str, Any]
    on_round: OnRound | None
    n_iter: int = 0
    records: list[RoundRecord] = field(default_factory=list)
    scalars: ConjugateScalars = field(default_factory=ConjugateScalars)
    saved: Resume | None = None
    losses: int = 0

    def meta(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside the vectors, in JSON types."""
        return {
            **self.identity,
            "stop_rule": None if self.rule is None else self.rule.as_dict(),
            "records": [record.as_dict() for record in self.records],
            "scalars": self.scalars.as_dict() if self.recurrence.conjugate else None,
        }

    def restore(self, iteration: int, meta: Mapping[str, Any]) -> None:
        """Go back to a checkpoint."""
        self.n_iter = iteration
        self.records = [_record_from_dict(record) for record in meta["records"]]
        if self.rule is not None:
            self.rule.restore(meta["stop_rule"])
        if self.recurrence.conjugate:
            self.scalars = ConjugateScalars.from_dict(meta["scalars"])

    def restart(self) -> None:
        """Go back to the beginning."""
        self.n_iter, self.records, self.scalars = 0, [], ConjugateScalars()
        if self.rule is not None:
            self.rule.restore({"quiet": 0, "still": 0})

    def next_steps(self, max_iter: int) -> RecurrenceSteps | ConjugateSteps:
        """Return the sweeps up to the next check."""
        stop = min(next_check(self.n_iter), max_iter)
        if self.recurrence.steps is None:
            gamma, alpha = self.scalars.last
            return ConjugateSteps(stop - self.n_iter, gamma, alpha, self.scalars.first)
        coefficients = [self.recurrence.steps(t) for t in range(self.n_iter + 1, stop + 1)]
        return RecurrenceSteps(tuple(coefficients), counted=self.rule is not None)

    def take(self, done: StepsDone, n_sweeps: int, n_nodes: int, seconds: float) -> None:
        """Take note of a superstep."""
        self.n_iter += n_sweeps
        gap = 1.0
        if done.gammas is not None and done.alphas is not None:
            self.scalars.extend(done.gammas, done.alphas)
            gap = self.scalars.smallest_eigenvalue()
        if self.rule is None or done.counts is None:
            return
        record = RoundRecord(
            iteration=self.n_iter,
            labels_changed=int(done.counts.changed[0]),
            residual=self.rule.observe(done.counts, gap),
            class_mass=tuple((done.counts.class_rows / n_nodes).tolist()),
            seconds=seconds,
        )
        self.records.append(record)
        if self.on_round is not None:
            self.on_round(record)


def _record_from_dict(record: Mapping[str, Any]) -> RoundRecord:
    return RoundRecord(**{**record, "class_mass": tuple(record["class_mass"])})
