"""When a propagation has said all it has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssl_dask.kernels.propagation_step import SweepCounts
from ssl_dask.propagation.chebyshev import StagedChebyshev

CHANGED_SHARE = 1e-3
"""A sweep is quiet if fewer than this share of the rows changed their class or their shares."""
QUIET_SWEEPS = 2
"""So many quiet sweeps in a row are needed."""
ROUNDING = 2.0
"""A step of fewer units in the last place of the largest score than this is rounding."""
STAGE_ROUNDING = 2.0**13
"""A stage that ends with a residual of so many units in the last place, no smaller than the stage
before, has met rounding, which the steps with a wide bound magnify."""
SHRUNK = 0.3
"""A stage whose bound holds shrinks the residual tenfold; by less than this, it did not hold."""


@dataclass
class StopRule:
    """Stops when labels have come to rest and the solution is near; does not tighten with N.

    Both must hold: in `QUIET_SWEEPS` sweeps in a row, in every group of columns, fewer than
    `CHANGED_SHARE` of the rows changed their most likely class and no row was reached for the
    first time; and the error is at most `tol`. All norms are maxima, so the answer does not
    depend on how rows are spread over blocks.

    Parameters
    ----------
    n_rows
        Number of rows N.
    tol
        Largest relative error.
    scale
        Largest entry of the right-hand side, or of a clamped row.
    dtype
        Type of the scores.
    stages
        None: the error is the largest |p S F + q B - F| over `scale`. With the schedule of
        `StagedChebyshev`: that divided by 1 - bound, looked at where a stage ends, and believed
        only if the stage shrank the residual as its bound promises: else something lies outside
        the bound, and a small residual may hide a large error.

    Attributes
    ----------
    reason
        None while it goes on; "converged"; "rounding" when the residual, or the step, is as small
        as rounding and the error is still above `tol`: further sweeps are in vain.
    """

    n_rows: int
    tol: float
    scale: float
    dtype: np.dtype[Any]
    stages: StagedChebyshev | None = None
    reason: Literal["converged", "rounding"] | None = None
    _quiet: int = 0
    _still: int = 0
    _last_residual: float | None = None

    def observe(self, counts: SweepCounts, iteration: int) -> float:
        """Take note of sweep number `iteration`; return the relative error before it."""
        residual, step = float(counts.residual.max()), float(counts.step.max())
        rounding = ROUNDING * float(np.finfo(self.dtype).eps) * float(counts.largest.max())
        moving = max(int(counts.changed.max()), int(counts.unsettled.max()))
        restless = moving >= CHANGED_SHARE * self.n_rows
        still_growing = bool(counts.reached.any())
        self._quiet = 0 if restless or still_growing else self._quiet + 1
        self._still = self._still + 1 if min(step, 4.0 * residual) <= rounding else 0
        error, near = self._error(residual / self.scale, iteration)
        if self._quiet >= QUIET_SWEEPS:
            at_rest = self._still >= QUIET_SWEEPS
            if error <= self.tol and (near or at_rest):
                self.reason = "converged"
            elif at_rest:
                self.reason = "rounding"
        return error

    def _error(self, residual: float, iteration: int) -> tuple[float, bool]:
        """Return the relative error, and whether it is to be believed."""
        if self.stages is None:
            return residual, True
        before = max(iteration - 1, 1)
        near = False
        if iteration > 1 and self.stages.ends_stage(before):
            # The residual is that of the scores before this sweep, where the stage ended.
            last, self._last_residual = self._last_residual, residual
            near = last is not None and residual <= SHRUNK * last
            if not near and residual <= STAGE_ROUNDING * float(np.finfo(self.dtype).eps):
                self._still = QUIET_SWEEPS
        return residual / self.stages.gap(before), near

    def as_dict(self) -> dict[str, Any]:
        """Return what `restore` needs, in JSON types."""
        return {
            "quiet": self._quiet,
            "still": self._still,
            "residual": self._last_residual,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `as_dict` returned."""
        self._quiet, self._still = int(state["quiet"]), int(state["still"])
        self._last_residual = state["residual"]
