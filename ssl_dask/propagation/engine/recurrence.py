"""What makes one method of propagation differ from another: the numbers of its recurrence.

Also the messages between the solver and the partitions: the linear system, a batch of consecutive
sweeps, and what they counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ssl_dask.array_types import Float64
from ssl_dask.kernels.propagation.step import SweepCounts

NEGLIGIBLE = 1e-6
"""The series of `heat_flow` ends where the remaining coefficients add up to no more."""

Coefficients = tuple[float, float, float, float]


@dataclass(frozen=True)
class Recurrence:
    """What makes one method differ from another."""

    name: str
    """Name of the method."""
    target: tuple[float, float]
    """(p, q) of the fixed point F = p S F + q B."""
    steps: Callable[[int], Coefficients] | None
    """Called with t = 1, 2, ...; returns (a, b, c, d) of F_t = a S F_{t-1} + b F_{t-1} + c F_{t-2}
    + d B. None: block conjugate gradients with the diagonal preconditioner, for targets whose
    spectrum is not known."""
    settings: Mapping[str, Any]
    """The parameters of the method, in JSON types: a checkpoint fits only the same."""
    powers: tuple[float, float] = (0.5, 0.5)
    """(s, r): sources enter as D^-s B and scores leave as D^r Z, Z being those of the random walk
    D^-1 W. (1/2, 1/2) makes S the symmetric D^-1/2 W D^-1/2; (0, 0) the walk itself; (1, 0) solves
    (D - p W) Z = q B."""
    clamp_seeds: bool = False
    """Seeds keep their value."""
    dtype: Literal["float32", "float64"] = "float32"
    """Type of the scores."""
    first: float | None = None
    """F_0 is B times this number; None: q."""

    @property
    def conjugate(self) -> bool:
        """Whether conjugate gradients find the target."""
        return self.steps is None


def chebyshev_steps(alpha: float) -> Callable[[int], Coefficients]:
    """Return the coefficients (a, b, c, d) of each sweep for F = alpha S F + (1 - alpha) B.

    F_t = w_t (alpha S F_{t-1} + (1 - alpha) B) + (1 - w_t) F_{t-2} has the smallest possible error
    bound after each number of sweeps (Golub and Varga 1961; Saad, Iterative Methods for Sparse
    Linear Systems, 2003, section 12.3). The eigenvalues of a symmetrically scaled S lie in [-1, 1],
    so alpha in (0, 1) bounds those of alpha S and none needs to be estimated. Both ends are held: a
    bipartite graph, where -1 is an eigenvalue of S, does not oscillate.
    """
    omegas = [1.0, 2.0 / (2.0 - alpha**2)]

    def steps(iteration: int) -> Coefficients:
        while len(omegas) < iteration:
            omegas.append(1.0 / (1.0 - alpha**2 * omegas[-1] / 4.0))
        omega = omegas[iteration - 1]
        return omega * alpha, 0.0, 1.0 - omega, omega * (1.0 - alpha)

    return steps


def unit_source_kernel(name: str, alpha: float, tol: float) -> Recurrence:
    """Return the recurrence of H B = (1 - alpha) D^-1/2 (I - alpha S)^-1 D^-1/2 B.

    In terms of the walk P = D^-1 W this is (1 - alpha) (I - alpha P)^-1 D^-1 B: the source side is
    divided by the degree, and sum_i d_i (H B)_ic = sum_i B_ic for every column c.
    """
    return Recurrence(
        name=name,
        target=(alpha, 1.0 - alpha),
        steps=chebyshev_steps(alpha),
        settings={"alpha": alpha, "tol": tol},
        powers=(1.0, 0.0),
    )


def held_recurrence(name: str, tol: float) -> Recurrence:
    """Return what solves F = D^-1 W F with the seeds held at their values, the harmonic function.

    In float64: the error may be the residual over a tiny eigenvalue, and so may rounding.
    """
    return Recurrence(
        name=name,
        target=(1.0, 0.0),
        steps=None,
        powers=(0.0, 0.0),
        clamp_seeds=True,
        dtype="float64",
        settings={"tol": tol},
    )


def one_step_of_the_walk(name: str) -> Recurrence:
    """Return the recurrence whose first sweep is Z = D^-1 W B."""
    return Recurrence(
        name=name,
        target=(1.0, 0.0),
        steps=lambda _: (1.0, 0.0, 0.0, 0.0),
        settings={},
        powers=(0.0, 0.0),
        first=1.0,
    )


def heat_flow(name: str, time: float) -> tuple[Recurrence, int]:
    """Return the recurrence from a dense right-hand side V to exp(-time (I - P)) V, and its sweeps.

    P = D^-1 W is the random walk. exp(-t (I - x)) = sum_k c_k T_k(x) with Chebyshev polynomials
    T_k, c_0 = exp(-t) I_0(t), c_k = 2 exp(-t) I_k(t) and the modified Bessel functions I_k
    (Abramowitz and Stegun 1964, 9.6.34), summed by Clenshaw's recurrence, which has three terms. At
    most 5 + 4.5 sqrt(time) sweeps, where steps of explicit Euler need more than `time`. All
    eigenvalues of P lie in [-1, 1], where the error of the polynomial is at most `NEGLIGIBLE`.

    Parameters
    ----------
    time
        >= 0; 1 is the time in which a walker leaves a row once on average.
    """
    from scipy.special import ive

    terms = np.arange(int(20 + 10 * time**0.5))
    c = np.where(terms == 0, 1.0, 2.0) * ive(terms, time)
    beyond = np.cumsum(c[::-1])[::-1]
    last = max(int(np.flatnonzero(beyond > NEGLIGIBLE)[-1]), 1)

    def steps(t: int) -> Coefficients:
        if t > last:
            raise ValueError(f"the series ends after {last} sweeps; sweep {t} was asked for")
        # The vector is b_{last - t} of Clenshaw; the last step takes the walk once, not twice.
        return 2.0 if t < last else 1.0, 0.0, -1.0 if t > 1 else 0.0, float(c[last - t])

    recurrence = Recurrence(
        name=name,
        target=(1.0, 0.0),
        steps=steps,
        settings={"time": time},
        powers=(0.0, 0.0),
        first=float(c[last]),
    )
    return recurrence, last


@dataclass(frozen=True)
class LinearSystem:
    """What all parts must know of the system F = p S F + q B, or of the recurrence."""

    dtype: str
    """Type of the scores."""
    n_groups: int
    n_classes: int
    """Columns are G groups of C."""
    powers: tuple[float, float]
    """(s, r): sources enter as D^-s B, scores leave as D^r Z."""
    target: tuple[float, float]
    """(p, q) of the fixed point."""
    clamp_seeds: bool = False
    """Seeds keep their value."""

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.n_groups * self.n_classes


@dataclass(frozen=True)
class RecurrenceSteps:
    """Consecutive sweeps: (a, b, c, d) of each; the last is counted if `counted`."""

    coefficients: tuple[Coefficients, ...]
    counted: bool = True

    @property
    def n_sweeps(self) -> int:
        """Number of sweeps."""
        return len(self.coefficients)


@dataclass(frozen=True)
class ConjugateSteps:
    """Consecutive sweeps of block conjugate gradients; the last is counted."""

    n_sweeps: int
    """Number of sweeps."""
    gamma: Float64 | None = None
    alpha: Float64 | None = None
    """float64 (K,): <r, r> and the step of the sweep before; None at the beginning."""
    first: Float64 | None = None
    """float64 (K,): <r, r> of the first sweep of all; None at the beginning."""


Steps = RecurrenceSteps | ConjugateSteps


@dataclass(frozen=True)
class StepsDone:
    """What a superstep, a batch of consecutive sweeps, did."""

    counts: SweepCounts | None
    """Of the last sweep, in this part, or in all when joined; None if not counted."""
    gammas: Float64 | None = None
    alphas: Float64 | None = None
    """float64 (sweeps, K): scalars of conjugate gradients, the same in all parts; else None."""

    @staticmethod
    def joined(parts: Sequence[StepsDone]) -> StepsDone:
        """Return what all parts did together."""
        total = parts[0].counts
        for part in parts[1:]:
            if total is not None and part.counts is not None:
                total = total.joined(part.counts)
        return StepsDone(total, parts[0].gammas, parts[0].alphas)
