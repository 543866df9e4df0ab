"""Log-linear mixture of methods: log shares, mixing weights, probabilities, exact totals.

Rows are treated one at a time in a fixed order of operations, and totals over rows are sums of
integers, so neither depends on the blocks.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Floating, Int32, Int64
from ssl_dask.one_thread import one_thread

Evidence = Float32

LEAST_SHARE = 1e-6
"""Added to the share of each class before its logarithm."""
UNIT_BITS = 32
"""Values up to 1 are summed in steps of 2**-32; up to 2**31 rows fit into 64 bits."""
SQUARE_BITS = 22
"""Squares of log shares, which are below 200, are summed in steps of 2**-22."""
DECIMALS = 4
"""Mixing weights are rounded, so that the last bits of a BLAS do not show in them."""


@numba.njit(nogil=True, cache=True)
def _log_shares(scores: Any, n_classes: int, out: Any) -> None:
    n, n_columns = scores.shape
    logs = np.empty(n_classes)
    for i in range(n):
        for first in range(0, n_columns, n_classes):
            total = 0.0
            for c in range(n_classes):
                total += max(np.float64(scores[i, first + c]), 0.0)
            if total <= 0.0:
                out[i, first : first + n_classes] = 0.0
                continue
            mean = 0.0
            for c in range(n_classes):
                share = max(np.float64(scores[i, first + c]), 0.0) / total
                logs[c] = math.log(share + LEAST_SHARE)
                mean += logs[c]
            mean /= n_classes
            for c in range(n_classes):
                out[i, first + c] = logs[c] - mean


def log_shares(scores: Floating, n_classes: int) -> Float32:
    """Return the centred log shares log(share + 1e-6) - mean of each group of C columns.

    Parameters
    ----------
    scores
        Floating array (n, G * C); a share is a positive score over the sum of its group's.

    Returns
    -------
    float32 (n, G * C): the C columns of each group sum to 0; all 0 where no score is positive.
    """
    out = np.empty(scores.shape, dtype=np.float32)
    _log_shares(np.ascontiguousarray(scores), n_classes, out)
    return out


@numba.njit(nogil=True, cache=True)
def _probabilities(evidence: Any, bias: Any, n_classes: int, sharpness: float, out: Any) -> None:
    n, n_columns = evidence.shape
    for i in range(n):
        for first in range(0, n_columns, n_classes):
            largest = -np.inf
            for c in range(first, first + n_classes):
                largest = max(largest, sharpness * np.float64(evidence[i, c]) + bias[c])
            total = 0.0
            for c in range(first, first + n_classes):
                total += math.exp(sharpness * np.float64(evidence[i, c]) + bias[c] - largest)
            for c in range(first, first + n_classes):
                value = math.exp(sharpness * np.float64(evidence[i, c]) + bias[c] - largest)
                out[i, c] = value / total


def class_probabilities(
    evidence: Float32, bias: Float64, n_classes: int, sharpness: float
) -> Float32:
    """Return softmax(sharpness * evidence + bias) of each group of C columns.

    Parameters
    ----------
    evidence
        float32 (n, G * C).
    bias
        float64 (G * C,); -inf excludes a class; at least one of each group must be finite.

    Returns
    -------
    float32 (n, G * C).
    """
    out = np.empty(evidence.shape, dtype=np.float32)
    _probabilities(np.ascontiguousarray(evidence), bias, n_classes, sharpness, out)
    return out


def unit_totals(values: Floating) -> Int64:
    """Return the exact sum of each column of values in [0, 1], int64 in units of 2**-32.

    Sums of blocks may be added in any order, up to 2**31 rows.

    >>> (unit_totals(np.array([[0.5, 1.0], [0.25, 0.0]])) / 2**32).tolist()
    [0.75, 1.0]
    """
    steps = np.rint(values.astype(np.float64) * 2.0**UNIT_BITS).astype(np.int64)
    return np.asarray(steps.sum(axis=0))


def square_totals(evidence: Float32) -> Int64:
    """Return the exact sum of squares of each column, int64 in units of 2**-22.

    For values such as `log_shares`, whose squares are below 2**9, and up to 2**31 rows.
    """
    steps = np.rint(evidence.astype(np.float64) ** 2 * 2.0**SQUARE_BITS).astype(np.int64)
    return np.asarray(steps.sum(axis=0))


def weighted_sum(members: list[Float32], weights: Float64, n_classes: int) -> Float32:
    """Return sum_m weights[g, m] * members[m] for the columns of each group g.

    Parameters
    ----------
    members
        float32 (n, G * C) each.
    weights
        float64 (G, M).

    Returns
    -------
    float32 (n, G * C), added in float64 in the order of the members.
    """
    total = np.zeros(members[0].shape)
    for number, member in enumerate(members):
        total += member.astype(np.float64) * np.repeat(weights[:, number], n_classes)
    return total.astype(np.float32)


def one_hot(evidence: Float32, n_classes: int) -> Float32:
    """Return 1 at the largest entry of each group of C columns, 0 elsewhere, float32 (n, G * C).

    The first of equals wins; a group of zeros stays 0.

    >>> one_hot(np.array([[1.0, 2.0, 0.0, 0.0]], dtype=np.float32), 2).tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    grouped = evidence.reshape(len(evidence), -1, n_classes)
    best = grouped.argmax(axis=2)
    out = np.zeros(grouped.shape, dtype=np.float32)
    there = np.asarray(grouped.any(axis=2))
    np.put_along_axis(out, best[:, :, None], there[:, :, None].astype(np.float32), axis=2)
    return out.reshape(evidence.shape)


def fitted_weights(evidence: Float64, codes: Int32, start: Float64, strength: float) -> Float64:
    """Fit mixing weights w >= 0 of softmax(sum_m w_m evidence_m) by L-BFGS-B.

    Minimises the cross-entropy, summed over rows, plus `strength` |w - start|^2.

    Parameters
    ----------
    evidence
        float64 (M, s, C).
    codes
        int32 (s,): true classes.
    start
        float64 (M,): the weights without rows.

    Returns
    -------
    float64 (M,), rounded to 4 decimals.
    """
    from scipy.optimize import minimize

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
