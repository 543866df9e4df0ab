"""Coefficients of Chebyshev semi-iteration, for methods whose operator has a known spectrum."""

from __future__ import annotations

import math


class ChebyshevSteps:
    """Weights omega_t for F = M F + b where the eigenvalues of M lie in [-bound, bound].

    F_t = omega_t (M F_{t-1} + b) + (1 - omega_t) F_{t-2} has the smallest possible error bound
    after each number of sweeps (Golub and Varga 1961; Saad, Iterative Methods for Sparse Linear
    Systems, 2003, section 12.3).

    Parameters
    ----------
    bound
        In (0, 1).
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self._omegas = [1.0, 2.0 / (2.0 - bound**2)]

    def omega(self, iteration: int) -> float:
        """Return omega of sweep `iteration`, counted from 1."""
        while len(self._omegas) < iteration:
            self._omegas.append(1.0 / (1.0 - self.bound**2 * self._omegas[-1] / 4.0))
        return self._omegas[iteration - 1]


class StagedChebyshev:
    """Chebyshev steps for a bound that is not known: stages with ever wider bounds.

    Stage j = 0, 1, ... takes the bound 1 - 4^-(j+1), and as many sweeps as shrink everything
    inside that bound at least tenfold; each stage has twice the sweeps of the one before. What
    lies outside shrinks more slowly but never grows. The schedule depends on nothing that is
    found on the way, so the answer has the same bits wherever and in how many parts it runs.
    With the largest eigenvalue 1 - delta it takes some 4 times the sweeps of the best choice
    made in advance, which is of order 1 / sqrt(delta); power iteration takes 1 / delta.
    """

    SHRINKS = 10.0

    def __init__(self) -> None:
        self._stages: list[tuple[int, int, ChebyshevSteps]] = []

    def omega(self, iteration: int) -> float:
        """Return omega of sweep `iteration`, counted from 1; each stage begins anew with 1."""
        first, _, steps = self._stage(iteration)
        return steps.omega(iteration - first + 1)

    def gap(self, iteration: int) -> float:
        """Return 1 - bound in sweep `iteration`."""
        return 1.0 - self._stage(iteration)[2].bound

    def ends_stage(self, iteration: int) -> bool:
        """Return whether sweep `iteration` is the last of its stage."""
        return self._stage(iteration)[1] == iteration

    def _stage(self, iteration: int) -> tuple[int, int, ChebyshevSteps]:
        """Return (first sweep, last sweep, steps) of the stage that holds `iteration`."""
        while not self._stages or self._stages[-1][1] < iteration:
            first = self._stages[-1][1] + 1 if self._stages else 1
            bound = 1.0 - 0.25 ** (len(self._stages) + 1)
            # T_n(1 / bound) = cosh(n arccosh(1 / bound)) is the factor gained by n sweeps.
            sweeps = math.ceil(math.acosh(self.SHRINKS) / math.acosh(1.0 / bound))
            self._stages.append((first, first + sweeps - 1, ChebyshevSteps(bound)))
        return next(stage for stage in self._stages if stage[0] <= iteration <= stage[1])
