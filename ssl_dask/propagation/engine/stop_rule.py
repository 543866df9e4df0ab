"""When a propagation has said all it has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssl_dask.kernels.propagation.step import SweepCounts

CHANGED_SHARE = 1e-3
"""A check is quiet if fewer than this share of the rows changed their class or their shares."""
QUIET_CHECKS = 2
"""So many quiet checks in a row are needed."""
ROUNDING = 2.0
"""A step of fewer units in the last place of the largest score than this is rounding."""


@dataclass
class StopRule:
    """Stops when labels have come to rest and the solution is near; does not tighten with N.

    It looks at one sweep in a few. Both must hold: in `QUIET_CHECKS` of these in a row, in every
    group of columns, fewer than `CHANGED_SHARE` of the rows changed their most likely class and no
    row was reached for the first time; and the error is at most `tol`. All norms are maxima, so
    the answer does not depend on how rows are spread over blocks.

    Parameters
    ----------
    n_rows
        Number of rows (nodes).
    tol
        Largest relative error.
    scale
        Largest entry of the right-hand side, or of a clamped row.
    dtype
        Type of the scores.

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
