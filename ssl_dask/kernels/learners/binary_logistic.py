"""Binary logistic regression on many rows of few features by Newton's method on growing samples.

A quasi-Newton solver passes over all rows about thirty times. Newton's method takes five to twenty
steps, most of them far from the optimum; these use every 64th, then every 8th row, so all rows are
passed three or four times. float32 rows are used slice by slice, without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ssl_dask.array_types import Bool, Float32, Float64, Floating
from ssl_dask.kernels.arithmetic.linear_scores import ROWS_AT_A_TIME, line_sums

FEWEST_ROWS = 20_000
MOST_FEATURES = 100
"""With fewer rows or more features a quasi-Newton solver is as fast."""
STRIDES = (64, 8, 1)
"""Newton's method runs on every 64th, 8th and 1st row, each time from the last solution."""
SLICE_ROWS = 2048
"""Rows whose scaled copy fits into a core's own cache."""
MAX_HALVINGS = 30
TOL = 1e-5
"""Bound of the gradient of the mean loss, in the maximum norm."""


@dataclass(frozen=True)
class BinaryFit:
    """Coefficients of the second class against the first."""

    coef: Float64
    intercept: float
    """float64 (d,) and a number, for features before centring and scaling."""
    converged: bool
    """Whether the solver stopped before `max_iter`."""


def fit_binary(
    X: Floating,
    positive: Bool,
    weights: Float64 | None,
    C: float,
    max_iter: int,
    moments: ColumnMoments,
) -> BinaryFit:
    """Minimise C sum_i w_i loss_i + |coef|^2 / 2 over rows (n, d), centred and scaled by `moments`.

    The intercept is not penalised. d^2 flops a row and step in float32 and 4 d in float64; two to
    four steps over all rows; memory of an eighth of the rows. Sums follow the order of the rows, so
    one BLAS thread gives the same bits.

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
    moments
        Of the columns.
    """
    mean, scale = moments.mean, moments.scale
    beta, settled = np.zeros(X.shape[1] + 1), False
    for stride in STRIDES:
        if stride > 1 and len(X) < stride * FEWEST_ROWS // 8:
            continue
        some = slice(None, None, stride)
        problem = _Problem(
            np.ascontiguousarray(X[some]),
            np.ascontiguousarray(positive[some]),
            None if weights is None else np.ascontiguousarray(weights[some], dtype=np.float64),
            # Each sampled row stands for `stride` rows.
            C * stride,
            mean,
            scale,
        )
        beta, settled = _newton(problem, beta, max_iter)
    return _unscaled(beta, mean, scale, settled)


def _newton(problem: _Problem, beta: Float64, max_iter: int) -> tuple[Float64, bool]:
    """Return the solution of damped Newton steps from `beta`, and whether it converged."""
    value, gradient, hessian = problem.at(beta)
    for _ in range(max_iter):
        if np.abs(gradient).max() <= TOL * problem.total:
            return beta, True
        step = _step(hessian, gradient)
        slope = float(gradient @ step)
        for halving in range(MAX_HALVINGS):
            length = 0.5**halving
            beta_new = beta - length * step
            found = problem.at(beta_new)
            if found[0] <= value - 1e-4 * length * slope + 1e-12 * abs(value):
                break
        else:
            # No step lowers the loss: only rounding is left.
            return beta, True
        beta, (value, gradient, hessian) = beta_new, found
    return beta, bool(np.abs(gradient).max() <= TOL * problem.total)


def _step(hessian: Float64, gradient: Float64) -> Float64:
    """Return the Newton step by Cholesky; damped if the Hessian is singular up to rounding.

    That happens if a column is constant, like the intercept, in all rows of a sample, or in all
    rows whose probability is not 0 or 1.
    """
    eye, damping = np.eye(len(gradient)), 0.0
    for power in range(-7, 2):
        try:
            return cho_solve(cho_factor(hessian + damping * eye), gradient)
        except LinAlgError:
            damping = 10.0**power * float(hessian.diagonal().max())
    return gradient / damping


def _unscaled(beta: Float64, mean: Float64, scale: float, converged: bool) -> BinaryFit:
    coef = beta[:-1] / scale
    return BinaryFit(coef, float(beta[-1] - coef @ mean), converged)


@dataclass(frozen=True)
class ColumnMoments:
    """Centre and scale of dense columns."""

    mean: Float64
    """float64 (d,)."""
    scale: float
    """Root of the mean variance of the columns; 1 if it is 0."""
    vary: Bool
    """bool (d,): columns with more than one value."""


def column_moments(X: Floating) -> ColumnMoments:
    """Return the moments of dense rows (n, d), n >= 1, in one pass."""
    total, squares, vary = _column_sums(X)
    n, d = X.shape
    shift = total / n
    variance = squares / n - shift**2
    scale = float(np.sqrt(max(variance.sum(), 0.0) / d)) or 1.0
    return ColumnMoments(X[0] + shift, scale, vary)


@numba.njit(nogil=True, cache=True)
def _column_sums(X: Floating) -> tuple[Float64, Float64, Bool]:
    """Return sums and sums of squares of the columns less their first row, and which vary."""
    n, d = X.shape
    total, squares = np.zeros(d), np.zeros(d)
    vary = np.zeros(d, dtype=np.bool_)
    first = X[0].astype(np.float64)
    for i in range(n):
        for j in range(d):
            value = np.float64(X[i, j]) - first[j]
            total[j] += value
            squares[j] += value * value
            vary[j] |= value != 0.0
    return total, squares, vary


@dataclass(frozen=True)
class _Problem:
    """The loss function, with gradient and Hessian."""

    X: Floating
    positive: Bool
    weights: Float64 | None
    C: float
    mean: Float64
    scale: float

    @property
    def total(self) -> float:
        """C times the sum of the weights."""
        return self.C * float(len(self.X) if self.weights is None else self.weights.sum())

    def at(self, beta: Float64) -> tuple[float, Float64, Float64]:
        """Return the loss (a number), its gradient (d + 1,) and Hessian (d + 1, d + 1).

        The Hessian is summed in float32 within a slice: it affects the steps, not the solution.
        """
        n, d = self.X.shape
        line = beta[:d] / self.scale
        offset = float(beta[d] - line @ self.mean)
        loss, gradient, hessian = 0.0, np.zeros(d + 1), np.zeros((d + 1, d + 1))
        rows = np.empty((min(n, SLICE_ROWS), d + 1), dtype=np.float32)
        shift, factor = (self.mean / self.scale).astype(np.float32), np.float32(1.0 / self.scale)
        slopes = np.zeros(d + 1)
        no_weights = np.empty(0)
        for start in range(0, n, SLICE_ROWS):
            piece = slice(start, min(start + SLICE_ROWS, n))
            part = rows[: piece.stop - start]
            weights = no_weights if self.weights is None else self.weights[piece]
            loss += _curved_rows(
                self.X[piece], self.positive[piece], weights, line, offset, shift, factor, slopes,
                part,
            )  # fmt: skip
            hessian += part.T @ part
        gradient[:d] = (slopes[:d] - slopes[d] * self.mean) / self.scale
        gradient[d] = slopes[d]
        value = self.C * loss + 0.5 * float(beta[:d] @ beta[:d])
        gradient *= self.C
        hessian *= self.C
        gradient[:d] += beta[:d]
        hessian[np.arange(d), np.arange(d)] += 1.0
        # Keeps the Hessian regular if all probabilities are 0 or 1.
        hessian[d, d] += 1e-10 * self.C * n
        return value, gradient, hessian


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _curved_rows(
    X: Floating, positive: Bool, weights: Float64, line: Float64, offset: float, shift: Float32,
    factor: np.float32, slopes: Float64, out: Float32,
) -> float:  # fmt: skip
    """Return the loss of rows (n, d); add the gradient to `slopes`, write Hessian factors to `out`.

    `slopes`, float64 (d + 1,), is the sum of [x, 1] times the derivative of the loss. `out`,
    float32 (n, d + 1), is [x, 1], centred and scaled, times the root of the second derivative.
    """
    n, d = X.shape
    loss = 0.0
    sums = np.empty(ROWS_AT_A_TIME)
    for start in range(0, n, ROWS_AT_A_TIME):
        count = min(ROWS_AT_A_TIME, n - start)
        line_sums(X, start, count, line, offset, sums)
        for r in range(count):
            i, score = start + r, sums[r]
            small = np.exp(-abs(score))
            p = 1.0 / (1.0 + small)
            # log(1 + exp(s)) - y s, without overflow.
            cost = np.log1p(small)
            if (score > 0.0) != positive[i]:
                cost += abs(score)
            # The probability of the wrong class, which keeps its digits near 0.
            wrong = small * p if (score > 0.0) == positive[i] else p
            slope = -wrong if positive[i] else wrong
            curve = p * p * small
            if len(weights):
                cost, slope, curve = cost * weights[i], slope * weights[i], curve * weights[i]
            loss += cost
            root = np.float32(np.sqrt(curve))
            for j in range(d):
                slopes[j] += slope * X[i, j]
                out[i, j] = (X[i, j] * factor - shift[j]) * root
            slopes[d] += slope
            out[i, d] = root
    return loss
