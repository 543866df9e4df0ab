"""One number that makes class probabilities as sure as they are right: the temperature.

Probabilities are taken to the power of 1 / T and scaled to sum to 1: T above 1 makes them less
sure, below 1 surer; the order of the classes stays.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from ssl_dask.array_types import Float64, Floating, Int32
from ssl_dask.kernels.arithmetic.linear_scores import softmax_rows

LEAST_PROBABILITY = 1e-6
"""What the logarithm takes for less, so that one row cannot decide all."""
LOG_RANGE = (-3.0, 3.0)


def tempered(probabilities: Floating, temperature: float) -> Float64:
    """Return class probabilities (n, C) at a temperature > 0, float64; a row's bits are its own."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return softmax_rows(logs / temperature)


def tempered_losses(
    probabilities: Floating,
    codes: Int32,
    temperature: float,
) -> Float64:
    """Return minus the logarithm of what each row (n, C) gives its true class, float64 (n,)."""
    p = tempered(probabilities, temperature)[np.arange(len(codes)), codes]
    return -np.log(np.maximum(p, LEAST_PROBABILITY))


def fit_temperature(
    probabilities: Floating,
    codes: Int32,
    spread: float = np.inf,
) -> float:
    """Return the temperature at which rows with known classes lose least.

    Parameters
    ----------
    probabilities, codes
        (n, C) and int32 (n,); without rows the temperature is 1.
    spread
        Standard deviation of log T around 0 that is expected before the rows are seen: with few
        rows T stays near 1.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
    """
    if len(codes) == 0:
        return 1.0

    def cost(log_temperature: float) -> float:
        losses = tempered_losses(probabilities, codes, float(np.exp(log_temperature)))
        return float(losses.sum() + 0.5 * (log_temperature / spread) ** 2)

    found = minimize_scalar(cost, bounds=LOG_RANGE, method="bounded")
    return float(np.exp(found.x))
