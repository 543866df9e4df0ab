"""Class scores to distributions, most likely classes and margins; temperature scaling.

Every function treats one row at a time in a fixed order of operations, so the result of a row does
not depend on its block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums, softmax_rows

TIE_MARGIN = 2.0**-20
"""Classes whose probabilities differ by less are tied: float32 sums cannot order them."""
LEAST_PROBABILITY = 1e-6
"""Lower bound of a probability before its logarithm, so that no row dominates a loss."""
LOG_RANGE = (-3.0, 3.0)
"""Range of the logarithm of a fitted temperature."""


class RowSummary(NamedTuple):
    """Most likely class, margin and tie of each row."""

    codes: Int32
    """int32 (n,): the most likely class, the first of equals; -1 for a row of zeros."""
    margin: Float32
    """float32 (n,): probability of the most likely class minus that of the second, 0 to 1."""
    tied: Bool
    """bool (n,): whether the margin is below `TIE_MARGIN`, so that `codes` is arbitrary; False for
    rows of zeros."""


def row_mass(scores: Floating) -> Float64:
    """Return the sum of the positive scores of each row, (n, C) -> float64 (n,), in class order.

    Accelerated solvers leave small negative scores where the exact score is 0.
    """
    return ordered_sums(np.maximum(scores, 0.0))


def normalise_rows(scores: Floating) -> Float32:
    """Return rows of finite scores (n, C) as distributions: max(score, 0) over its sum, float32.

    Rows sum to 1 within rounding, or are all 0 where no score is positive.

    >>> normalise_rows(np.array([[3.0, 1.0], [-1.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    mass = row_mass(scores)
    safe = np.where(mass > 0.0, mass, 1.0)
    return (np.maximum(scores, 0.0) / safe[:, None]).astype(np.float32)


def summarise_rows(F: Floating) -> RowSummary:
    """Return the most likely class of each row, its margin and whether it is tied.

    Parameters
    ----------
    F
        Distributions (n, C), C >= 1, as `normalise_rows` returns them.

    Examples
    --------
    >>> found = summarise_rows(np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 0.0]]))
    >>> found.codes.tolist(), found.margin.tolist(), found.tied.tolist()
    ([0, 0, -1], [0.5, 0.0, 0.0], [False, True, False])
    """
    n_rows, n_classes = F.shape
    best = np.argmax(F, axis=1)
    top = F[np.arange(n_rows), best]
    if n_classes == 1:
        runner_up = np.zeros_like(top)
    else:
        runner_up = np.partition(F, n_classes - 2, axis=1)[:, n_classes - 2]
    reached = top > 0.0
    margin = (top - runner_up).astype(np.float32)
    codes = np.where(reached, best, -1).astype(np.int32)
    return RowSummary(codes, margin, reached & (margin < TIE_MARGIN))


def tempered(probabilities: Floating, temperature: float) -> Float64:
    """Return p**(1/T) / sum p**(1/T) of each row (n, C) at a temperature T > 0, float64.

    T above 1 makes probabilities less confident, T below 1 more; the order of classes stays.

    >>> tempered(np.array([[0.1, 0.9]]), 0.5).round(3).tolist()
    [[0.012, 0.988]]
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return softmax_rows(logs / temperature)


def tempered_losses(probabilities: Floating, codes: Int32, temperature: float) -> Float64:
    """Return the log loss of each row (n, C) at a temperature, float64 (n,)."""
    p = tempered(probabilities, temperature)[np.arange(len(codes)), codes]
    return -np.log(np.maximum(p, LEAST_PROBABILITY))


def fit_temperature(probabilities: Floating, codes: Int32, spread: float = np.inf) -> float:
    """Return the temperature of least log loss on rows with known classes; 1 without rows.

    Parameters
    ----------
    probabilities, codes
        (n, C) and int32 (n,).
    spread
        Standard deviation of the prior of log T, normal around 0: with few rows T stays near 1.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
    """
    from scipy.optimize import minimize_scalar

    if len(codes) == 0:
        return 1.0

    def cost(log_temperature: float) -> float:
        losses = tempered_losses(probabilities, codes, float(np.exp(log_temperature)))
        return float(losses.sum() + 0.5 * (log_temperature / spread) ** 2)

    found = minimize_scalar(cost, bounds=LOG_RANGE, method="bounded")
    return float(np.exp(found.x))


def predicted_codes(F: Floating) -> Int32:
    """Return the most likely class of each row of F (n, C), int32; -1 for zero rows and ties."""
    summary = summarise_rows(F)
    return np.where(summary.tied, -1, summary.codes).astype(np.int32)
