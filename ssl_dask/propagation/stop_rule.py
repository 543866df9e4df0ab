"""When a propagation has said all it has to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_dask.kernels.propagation_step import SweepCounts

CHANGED_SHARE = 1e-3
"""A sweep is quiet if fewer than this share of the rows changed their most likely class."""
QUIET_SWEEPS = 2
"""So many quiet sweeps in a row are needed."""
ROUNDING = 2.0**-22
"""A step smaller than this, relative to the largest score, is rounding of float32."""
WINDOWS = (8, 32)
"""Numbers of sweeps over which the rate of convergence is taken; the slower rate counts."""

ErrorMeasure = Literal["residual", "extrapolated_step"]


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
    measure
        "residual": largest |p S F + q B - F| over `scale`. "extrapolated_step": largest step
        times rate / (1 - rate), over `scale`. A power iteration takes small steps far from its
        goal when its rate is near 1; the sum of all steps still to come is what counts.
    scale
        Largest entry of the right-hand side, or of a clamped row.

    Attributes
    ----------
    reason
        None while it goes on; "converged"; "rounding" when steps are as small as float32
        rounding and the error is still above `tol`, so that further sweeps are in vain.
    """

    n_rows: int
    tol: float
    measure: ErrorMeasure
    scale: float
    reason: Literal["converged", "rounding"] | None = None
    _quiet: int = 0
    _still: int = 0
    _rate: float = 0.5
    _steps: list[float] = field(default_factory=list)

    def observe(self, counts: SweepCounts) -> float:
        """Take note of a sweep; return its relative error."""
        step = float(counts.step.max())
        rounding = ROUNDING * float(counts.largest.max())
        still_growing = bool(counts.reached.any())
        if still_growing:
            # The step of a row that gets its first scores is no sign of the rate.
            self._rate, self._steps = 0.5, []
        if self.measure == "residual":
            error = float(counts.residual.max()) / self.scale
        else:
            error = self._extrapolate(step, rounding) / self.scale
        restless = int(counts.changed.max()) >= CHANGED_SHARE * self.n_rows
        self._quiet = 0 if restless or still_growing else self._quiet + 1
        self._still = self._still + 1 if step <= rounding else 0
        if self._quiet >= QUIET_SWEEPS:
            if error <= self.tol:
                self.reason = "converged"
            elif self._still >= QUIET_SWEEPS:
                self.reason = "rounding"
        return error

    def _extrapolate(self, step: float, rounding: float) -> float:
        """Return the sum of the steps to come, if they shrink at the rate seen so far."""
        if step > 4.0 * rounding:
            # The rate of steps that are mostly rounding says nothing: then the last one stands.
            self._steps = [*self._steps[-max(WINDOWS) :], step]
            lags = {min(window, len(self._steps) - 1) for window in WINDOWS} - {0}
            ratios = [(step / self._steps[-1 - lag]) ** (1.0 / lag) for lag in lags]
            if ratios:
                self._rate = min(max(ratios), 1.0 - 1e-6)
        return step * self._rate / (1.0 - self._rate)

    def as_dict(self) -> dict[str, Any]:
        """Return what `restore` needs, in JSON types."""
        return {
            "quiet": self._quiet,
            "still": self._still,
            "rate": self._rate,
            "steps": list(self._steps),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `as_dict` returned."""
        self._quiet, self._still = int(state["quiet"]), int(state["still"])
        self._rate, self._steps = float(state["rate"]), [float(step) for step in state["steps"]]
