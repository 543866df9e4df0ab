"""What all parts do together: the system that is solved, sweeps on end, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.kernels.propagation.step import SweepCounts


@dataclass(frozen=True)
class Problem:
    """What all parts must know of the system F = p S F + q B, or of the recurrence.

    Parameters
    ----------
    dtype
        Type of the scores.
    n_groups, n_classes
        Columns are G groups of C.
    powers
        (s, r): sources enter as D^-s B, scores leave as D^r Z.
    target
        (p, q) of the fixed point.
    """

    dtype: str
    n_groups: int
    n_classes: int
    powers: tuple[float, float]
    target: tuple[float, float]

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.n_groups * self.n_classes


@dataclass(frozen=True)
class RecurrenceSteps:
    """Sweeps to be done on end: (a, b, c, d) each; the last is counted if `counted`."""

    coefficients: tuple[tuple[float, float, float, float], ...]
    counted: bool = True


@dataclass(frozen=True)
class ConjugateSteps:
    """Sweeps of block conjugate gradients to be done on end; the last is counted.

    Parameters
    ----------
    n_sweeps
        How many.
    gamma, alpha
        float64 (K,): <r, r> and the step of the sweep before; None at the beginning.
    first
        float64 (K,): <r, r> of the first sweep of all; None at the beginning.
    """

    n_sweeps: int
    gamma: npt.NDArray[np.float64] | None = None
    alpha: npt.NDArray[np.float64] | None = None
    first: npt.NDArray[np.float64] | None = None


Steps = RecurrenceSteps | ConjugateSteps


@dataclass(frozen=True)
class StepsDone:
    """What a superstep did.

    Parameters
    ----------
    counts
        Of the last sweep, in this part, or in all when joined; None if not counted.
    gammas, alphas
        float64 (sweeps, K): scalars of conjugate gradients, the same in all parts; else None.
    """

    counts: SweepCounts | None
    gammas: npt.NDArray[np.float64] | None = None
    alphas: npt.NDArray[np.float64] | None = None

    @staticmethod
    def joined(parts: Sequence[StepsDone]) -> StepsDone:
        """Return what all parts did together."""
        total = parts[0].counts
        for part in parts[1:]:
            if total is not None and part.counts is not None:
                total = total.joined(part.counts)
        return StepsDone(total, parts[0].gammas, parts[0].alphas)
