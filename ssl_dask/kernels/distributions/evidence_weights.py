"""Weights of several sources of evidence, by what they said of seeds that they had not seen."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from ssl_dask.array_types import Float64, Int32
from ssl_dask.one_thread import one_thread

DECIMALS = 4
"""Weights are rounded, so that they do not depend on the last bits of a machine's matrix
product."""


def fitted_weights(
    evidence: Float64,
    codes: Int32,
    start: Float64,
    strength: float,
) -> Float64:
    """Return w >= 0 that makes softmax(sum_m w_m evidence_m) say the true classes.

    Minimises the sum over seeds of the cross-entropy, plus `strength` |w - start|^2.

    Parameters
    ----------
    evidence
        float64 (M, s, C).
    codes
        int32 (s,): true classes.
    start
        float64 (M,): what the weights are without evidence.

    Returns
    -------
    float64 (M,), rounded to 4 decimals.
    """
    at = np.arange(len(codes))

    def loss(w: Float64) -> tuple[float, Float64]:
        mixed = np.tensordot(w, evidence, 1)
        mixed -= mixed.max(axis=1, keepdims=True)
        shares = np.exp(mixed)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        value = np.sum(np.log(total[:, 0]) - mixed[at, codes]) + strength * np.sum((w - start) ** 2)
        shares[at, codes] -= 1.0
        slope = np.tensordot(evidence, shares, ([1, 2], [0, 1])) + 2 * strength * (w - start)
        return float(value), slope

    with one_thread():
        found = minimize(
            loss, start, jac=True, bounds=[(0.0, None)] * len(start), method="L-BFGS-B"
        )
    return np.round(found.x, DECIMALS)
