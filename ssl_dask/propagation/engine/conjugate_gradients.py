"""The scalars of block conjugate gradients, and what they tell about the system."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigvalsh_tridiagonal

MAX_COLUMNS = 8
SOLVED = 1e-26
"""A column whose <r, r> has come down to this share of the first is solved: what is left is
rounding, and steps after it would walk along the null space of a singular system for ever."""


def conjugate_scalars(
    gamma: npt.NDArray[np.float64],
    delta: npt.NDArray[np.float64],
    last_gamma: npt.NDArray[np.float64] | None,
    last_alpha: npt.NDArray[np.float64] | None,
    solved: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (alpha, beta), float64 (K,); 0 in columns whose gamma is not above `solved`."""
    if last_gamma is None or last_alpha is None:
        beta, less = np.zeros_like(gamma), np.zeros_like(gamma)
    else:
        going = (last_gamma > 0.0) & (last_alpha > 0.0)
        beta = np.divide(gamma, last_gamma, where=going, out=np.zeros_like(gamma))
        less = np.divide(beta * gamma, last_alpha, where=going, out=np.zeros_like(gamma))
    energy = delta - less
    usable = (gamma > solved) & (energy > 0.0)
    return np.divide(gamma, energy, where=usable, out=np.zeros_like(gamma)), beta


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

    @property
    def first(self) -> npt.NDArray[np.float64] | None:
        """Gamma of the first sweep, float64 (K,); None before it."""
        return self._gammas[0] if self._gammas else None

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
