"""What the scalars of conjugate gradients tell about the system that is solved."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigvalsh_tridiagonal

MAX_COLUMNS = 8


class ConjugateScalars:
    """The scalars of all sweeps so far, and the smallest eigenvalue that they have seen.

    Conjugate gradients build the Lanczos tridiagonal of the system on the way; its smallest
    eigenvalue comes down to that of the system, as far as the right-hand sides feel it (Meurant,
    The Lanczos and Conjugate Gradient Algorithms, 2006, chapter 2).
    """

    def __init__(self) -> None:
        self._gammas: list[npt.NDArray[np.float64]] = []
        self._alphas: list[npt.NDArray[np.float64]] = []
        self._smallest = 1.0

    @property
    def last(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | tuple[None, None]:
        """(gamma, alpha) of the last sweep, float64 (K,) each; None before the first."""
        return (self._gammas[-1], self._alphas[-1]) if self._gammas else (None, None)

    def extend(self, gammas: npt.NDArray[np.float64], alphas: npt.NDArray[np.float64]) -> None:
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
