"""Scores of several methods on one scale, and what a mixture of them says of each row.

Every function looks at one row at a time in a fixed order of operations; totals over rows are
sums of integers. So neither depends on how the rows are cut into blocks.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Floating, Int64

Evidence = Float32

LEAST_SHARE = 1e-6
"""What is added to the share of each class before its logarithm is taken."""
UNIT_BITS = 32
"""Values up to 1 are summed in steps of 2**-32; up to 2**31 rows fit into 64 bits."""
SQUARE_BITS = 22
"""Squares of log shares, which are below 200, are summed in steps of 2**-22."""


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
    """Return log(share + 1e-6) of each class, less its mean over the classes, by group of columns.

    Parameters
    ----------
    scores
        Floating array (n, G * C); shares are those of the positive scores of a group.

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
    """Return exp(sharpness * evidence + bias), scaled to sum to 1 in each group of a row.

    Parameters
    ----------
    evidence
        float32 (n, G * C).
    bias
        float64 (G * C,); -inf leaves a class out, if not all of its group.

    Returns
    -------
    float32 (n, G * C).
    """
    out = np.empty(evidence.shape, dtype=np.float32)
    _probabilities(np.ascontiguousarray(evidence), bias, n_classes, sharpness, out)
    return out


def unit_totals(values: Floating) -> Int64:
    """Return the sum of each column of values from 0 to 1, int64 in steps of 2**-32.

    Sums of parts may be added in any order, up to 2**31 rows.
    """
    steps = np.rint(values.astype(np.float64) * 2.0**UNIT_BITS).astype(np.int64)
    return np.asarray(steps.sum(axis=0))


def square_totals(evidence: Float32) -> Int64:
    """Return the sum of the squares of each column, int64 in steps of 2**-22.

    For `log_shares` and what is of that size: squares below 2**9 for up to 2**31 rows.
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
    """Return 1 at the largest of each group of columns (the first of equals), 0 elsewhere.

    Groups of a row that are all 0 stay 0.
    """
    grouped = evidence.reshape(len(evidence), -1, n_classes)
    best = grouped.argmax(axis=2)
    out = np.zeros(grouped.shape, dtype=np.float32)
    there = np.asarray(grouped.any(axis=2))
    np.put_along_axis(out, best[:, :, None], there[:, :, None].astype(np.float32), axis=2)
    return out.reshape(evidence.shape)
