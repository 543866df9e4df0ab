"""Coefficients of Chebyshev semi-iteration, for methods whose operator has a known spectrum."""

from __future__ import annotations


class ChebyshevSteps:
    """Weights omega_t for F = M F + b where the eigenvalues of M lie in [-bound, bound].

    F_t = omega_t (M F_{t-1} + b) + (1 - omega_t) F_{t-2} has the smallest possible error bound
    after each number of sweeps (Golub and Varga 1961; Saad, Iterative Methods for Sparse Linear
    Systems, 2003, section 12.3). Both ends are held, so a bipartite graph, where -1 is an
    eigenvalue of S, does not oscillate.

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
