"""The state of a solve: what it has counted, when it stops, and what a checkpoint holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from ssl_dask.array_types import Float64
from ssl_dask.kernels.propagation.step import SweepCounts
from ssl_dask.propagation.engine.recurrence import (
    ConjugateSteps,
    LinearSystem,
    Recurrence,
    RecurrenceSteps,
    StepsDone,
)
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl

CHANGED_SHARE = 1e-3
"""A check is quiet if fewer than this share of the rows changed their class or their shares."""
QUIET_CHECKS = 2
"""The solve stops after so many quiet checks in a row."""
ROUNDING = 2.0
"""A step of fewer units in the last place of the largest score is rounding."""
MAX_COLUMNS = 8
"""The smallest eigenvalue is estimated from so many columns."""


@dataclass
class StopRule:
    """Stops when labels have settled and the solution is near; it does not tighten with N.

    It sees the counted sweeps. Both must hold: in `QUIET_CHECKS` of these in a row, in every group
    of columns, fewer than `CHANGED_SHARE` of the rows changed their most likely class and no
    row was reached for the first time; and the error is at most `tol`. All norms are maxima, so
    the answer does not depend on how rows are spread over blocks.

    Attributes
    ----------
    reason
        None while it goes on; "converged"; "rounding" when the residual, or the step, is as small
        as rounding and the error is still above `tol`: further sweeps are in vain.
    """

    n_rows: int
    """Number of rows (nodes)."""
    tol: float
    """Largest relative error."""
    scale: float
    """Largest entry of the right-hand side, or of a clamped row."""
    dtype: np.dtype[Any]
    """Type of the scores."""
    reason: Literal["converged", "rounding"] | None = None
    _quiet: int = 0
    _still: int = 0

    def observe(self, counts: SweepCounts, gap: float = 1.0) -> float:
        """Take note of a sweep; return the relative error.

        Parameters
        ----------
        gap
            The error is the residual over this: the smallest eigenvalue of the system where that
            is known, 1 where the method bounds the residual.
        """
        residual, step = float(counts.residual.max()), float(counts.step.max())
        rounding = ROUNDING * float(np.finfo(self.dtype).eps) * float(counts.largest.max())
        moving = max(int(counts.changed.max()), int(counts.unsettled.max()))
        restless = moving >= CHANGED_SHARE * self.n_rows
        still_growing = bool(counts.reached.any())
        self._quiet = 0 if restless or still_growing else self._quiet + 1
        self._still = self._still + 1 if min(step, 4.0 * residual) <= rounding else 0
        error = residual / (self.scale * gap) if self.scale > 0.0 else 0.0
        if self._quiet >= QUIET_CHECKS:
            if error <= self.tol:
                self.reason = "converged"
            elif self._still >= QUIET_CHECKS:
                self.reason = "rounding"
        return error

    def as_dict(self) -> dict[str, Any]:
        """Return what `restore` needs, in JSON types."""
        return {"quiet": self._quiet, "still": self._still}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `as_dict` returned."""
        self._quiet, self._still, self.reason = int(state["quiet"]), int(state["still"]), None


def next_check(iteration: int) -> int:
    """Return the next sweep that is counted after `iteration`: 5, 10, 20, 30, ...

    Counting costs about a sweep, and a message to every worker.
    """
    return 5 if iteration < 5 else 10 * (iteration // 10 + 1)


class ConjugateScalars:
    """The scalars of all sweeps so far, and the smallest eigenvalue that they have seen.

    Conjugate gradients build the Lanczos tridiagonal of the system on the way; its smallest
    eigenvalue comes down to that of the system, as far as the right-hand sides feel it (Meurant,
    The Lanczos and Conjugate Gradient Algorithms, 2006, chapter 2).
    """

    def __init__(self) -> None:
        self._gammas: list[Float64] = []
        self._alphas: list[Float64] = []
        self._smallest = 1.0

    @property
    def last(self) -> tuple[Float64, Float64] | tuple[None, None]:
        """(gamma, alpha) of the last sweep, float64 (K,) each; None before the first."""
        return (self._gammas[-1], self._alphas[-1]) if self._gammas else (None, None)

    @property
    def first(self) -> Float64 | None:
        """Gamma of the first sweep, float64 (K,); None before it."""
        return self._gammas[0] if self._gammas else None

    def extend(self, gammas: Float64, alphas: Float64) -> None:
        """Take note of some sweeps, float64 (sweeps, K) each."""
        self._gammas += list(gammas)
        self._alphas += list(alphas)

    def smallest_eigenvalue(self) -> float:
        """Return the smallest eigenvalue seen in the first columns."""
        gammas = np.array(self._gammas)[:, :MAX_COLUMNS]
        alphas = np.array(self._alphas)[:, :MAX_COLUMNS]
        for column in range(gammas.shape[1]):
            solved = np.flatnonzero(alphas[:, column] <= 0.0)
            n = int(solved[0]) if len(solved) else len(alphas)
            if n == 0:
                continue
            alpha, gamma = alphas[:n, column], gammas[:n, column]
            beta = gamma[1:] / gamma[:-1]
            diagonal = 1.0 / alpha
            diagonal[1:] += beta / alpha[:-1]
            below = np.sqrt(beta) / alpha[:-1]
            found = eigvalsh_tridiagonal(diagonal, below, select="i", select_range=(0, 0))
            self._smallest = min(self._smallest, max(float(found[0]), np.finfo(float).eps))
        return self._smallest

    def as_dict(self) -> dict[str, list[list[float]]]:
        """Return what `from_dict` needs, in JSON types."""
        return {
            "gammas": [row.tolist() for row in self._gammas],
            "alphas": [row.tolist() for row in self._alphas],
        }

    @classmethod
    def from_dict(cls, state: dict[str, list[list[float]]]) -> ConjugateScalars:
        """Return what `as_dict` was called on."""
        scalars = cls()
        scalars.extend(np.array(state["gammas"]), np.array(state["alphas"]))
        return scalars


@dataclass
class RunningSolve:
    """A solve under way.

    Attributes
    ----------
    n_iter, records, scalars
        Sweeps done, what was counted of them, and the scalars of conjugate gradients.
    saved
        The last checkpoint.
    """

    recurrence: Recurrence
    system: LinearSystem
    """What is solved."""
    rule: StopRule | None
    """When it ends; None: after `max_iter` sweeps."""
    identity: Mapping[str, Any]
    """What must be equal for a checkpoint to fit."""
    max_iter: int
    scale: float
    """What sources are multiplied by."""
    control: RunControl
    """Its listener and its checkpoints."""
    n_iter: int = 0
    records: list[RoundRecord] = field(default_factory=list)
    scalars: ConjugateScalars = field(default_factory=ConjugateScalars)

    def __post_init__(self) -> None:
        self.saved = self.control.resume

    @property
    def going(self) -> bool:
        """Whether there are sweeps to do."""
        stopped = self.rule is not None and self.rule.reason is not None
        return not stopped and self.n_iter < self.max_iter

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
        self.records = [RoundRecord.from_dict(record) for record in meta["records"]]
        if self.rule is not None:
            self.rule.restore(meta["stop_rule"])
        if self.recurrence.conjugate:
            self.scalars = ConjugateScalars.from_dict(meta["scalars"])

    def restart(self) -> None:
        """Go back to the beginning."""
        self.n_iter, self.records, self.scalars = 0, [], ConjugateScalars()
        if self.rule is not None:
            self.rule.restore({"quiet": 0, "still": 0})

    def next_steps(self) -> RecurrenceSteps | ConjugateSteps:
        """Return the sweeps up to the next check."""
        stop = min(next_check(self.n_iter), self.max_iter)
        if self.recurrence.steps is None:
            gamma, alpha = self.scalars.last
            return ConjugateSteps(stop - self.n_iter, gamma, alpha, self.scalars.first)
        coefficients = [self.recurrence.steps(t) for t in range(self.n_iter + 1, stop + 1)]
        return RecurrenceSteps(tuple(coefficients), counted=self.rule is not None)

    def observe(self, done: StepsDone, n_sweeps: int, n_nodes: int, seconds: float) -> None:
        """Add a superstep, and call the listener if its last sweep was counted."""
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
        if self.control.on_round is not None:
            self.control.on_round(record)
