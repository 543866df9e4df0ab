"""Logistic regression of two classes on many rows of few features, by Newton's method.

A quasi-Newton solver goes over all rows some thirty times; Newton's method does so five to eight
times, and the matrix of second derivatives of up to a hundred features costs less than the reading.
Rows are taken in float32 as they are, a slice at a time, so that no copy of them is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit

FEWEST_ROWS = 20_000
MOST_FEATURES = 100
"""With fewer rows, or more features, a quasi-Newton solver is as fast."""

SLICE_ROWS = 8192
MAX_HALVINGS = 30
TOL = 1e-5
"""Largest derivative of the mean loss at which it stops."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BinaryFit:
    """Coefficients of the second class against the first.

    Parameters
    ----------
    coef, intercept
        float64 (d,) and a number, for features as they come.
    converged
        False: it stopped at `max_iter`.
    """

    coef: Floats
    intercept: float
    converged: bool


def fit_binary(
    X: npt.NDArray[np.float32],
    positive: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64] | None,
    C: float,
    max_iter: int,
) -> BinaryFit:
    """Fit to rows (n, d), centred and divided by one number so that their mean variance is 1.

    Minimises C times the weighted sum of the rows' losses, and half the squared length of the
    coefficients; the intercept is free.

    Parameters
    ----------
    X
        float32 or float64 (n, d), dense.
    positive
        bool (n,): rows of the second class.
    weights
        float64 (n,); None: 1 each.
    C, max_iter
        Inverse penalty, and most steps.

    Notes
    -----
    2 n d^2 flops a step, five to eight steps. Sums are added in the order of the rows, slice by
    slice, in one BLAS thread: the same bits for the same rows.
    """
    mean, scale = _moments(X)
    problem = _Problem(X, positive, weights, C, mean, scale)
    beta = np.zeros(X.shape[1] + 1)
    value, gradient, hessian = problem.at(beta)
    total = float(len(X) if weights is None else weights.sum()) * C
    for _ in range(max_iter):
        if np.abs(gradient).max() <= TOL * total:
            return _unscaled(beta, mean, scale, True)
        step = cho_solve(cho_factor(hessian), gradient)
        slope = float(gradient @ step)
        for halving in range(MAX_HALVINGS):
            length = 0.5**halving
            beta_new = beta - length * step
            found = problem.at(beta_new)
            if found[0] <= value - 1e-4 * length * slope + 1e-12 * abs(value):
                break
        else:
            # No step makes it smaller: rounding is all that is left.
            return _unscaled(beta, mean, scale, True)
        beta, (value, gradient, hessian) = beta_new, found
    return _unscaled(beta, mean, scale, bool(np.abs(gradient).max() <= TOL * total))


def _unscaled(beta: Floats, mean: Floats, scale: float, converged: bool) -> BinaryFit:
    coef = beta[:-1] / scale
    return BinaryFit(coef, float(beta[-1] - coef @ mean), converged)


def _moments(X: npt.NDArray[np.float32]) -> tuple[Floats, float]:
    """Return the mean of each column, and the root of their mean variance (1 if that is 0)."""
    n, d = X.shape
    total = np.zeros(d)
    for start in range(0, n, SLICE_ROWS):
        total += X[start : start + SLICE_ROWS].sum(axis=0, dtype=np.float64)
    mean = total / n
    squares = np.zeros(d)
    for start in range(0, n, SLICE_ROWS):
        rows = X[start : start + SLICE_ROWS] - mean
        squares += np.einsum("ij,ij->j", rows, rows)
    return mean, float(np.sqrt(squares.sum() / (n * d))) or 1.0


@dataclass(frozen=True)
class _Problem:
    """The loss, its derivatives and second derivatives at any coefficients."""

    X: npt.NDArray[np.float32]
    positive: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64] | None
    C: float
    mean: Floats
    scale: float

    def at(self, beta: Floats) -> tuple[float, Floats, Floats]:
        n, d = self.X.shape
        loss, gradient, hessian = 0.0, np.zeros(d + 1), np.zeros((d + 1, d + 1))
        rows = np.empty((min(n, SLICE_ROWS), d + 1))
        for start in range(0, n, SLICE_ROWS):
            piece = slice(start, min(start + SLICE_ROWS, n))
            part = rows[: piece.stop - start]
            np.subtract(self.X[piece], self.mean, out=part[:, :d])
            part[:, :d] /= self.scale
            part[:, d] = 1.0
            truth = self.positive[piece]
            score = part @ beta
            p = expit(score)
            # log(1 + exp(s)) - y s, without overflow.
            losses = np.logaddexp(0.0, score) - truth * score
            slope, curve = p - truth, p * (1.0 - p)
            if self.weights is not None:
                w = self.weights[piece]
                losses, slope, curve = losses * w, slope * w, curve * w
            loss += float(losses.sum())
            gradient += slope @ part
            part *= np.sqrt(curve)[:, None]
            hessian += part.T @ part
        value = self.C * loss + 0.5 * float(beta[:d] @ beta[:d])
        gradient *= self.C
        hessian *= self.C
        gradient[:d] += beta[:d]
        hessian[np.arange(d), np.arange(d)] += 1.0
        # Keeps the intercept solvable where all rows are told for certain.
        hessian[d, d] += 1e-10 * self.C * n
        return value, gradient, hessian
