"""Class probabilities of a linear model for a block of rows.

Products are added feature by feature in float64, so that the bits of a row do not depend on the
block it lies in; a matrix product of BLAS does not promise that.
"""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Floating, Int32


@numba.njit(nogil=True, cache=True)
def dense_scores(
    X: Float32,
    coef: Float64,
    intercept: Float64,
) -> Float64:
    """Return X @ coef + intercept, float64 (n, C).

    Parameters
    ----------
    X
        float32 (n, d).
    coef
        float64 (d, C), rows contiguous.
    intercept
        float64 (C,).
    """
    n, d = X.shape
    n_classes = len(intercept)
    scores = np.empty((n, n_classes))
    for i in range(n):
        row = scores[i]
        row[:] = intercept
        for j in range(d):
            value = np.float64(X[i, j])
            if value != 0.0:
                for c in range(n_classes):
                    row[c] += value * coef[j, c]
    return scores


ROWS_AT_A_TIME = 8
"""Rows whose sums of products are on their way together: one alone waits for each addition."""


@numba.njit(nogil=True, cache=True)
def line_sums(
    X: Floating,
    start: int,
    rows: int,
    coef: Float64,
    intercept: float,
    sums: Float64,
) -> None:
    """Set `sums` to X @ coef + intercept of the next rows, added feature by feature in float64.

    Parameters
    ----------
    X
        (n, d), rows contiguous.
    start, rows
        The first row, and how many: `ROWS_AT_A_TIME` at the most.
    coef
        float64 (d,).
    intercept
        Added to the products.
    sums
        float64 (ROWS_AT_A_TIME,): what stands behind `rows` is of no account.
    """
    d = X.shape[1]
    sums[:] = intercept
    if rows == ROWS_AT_A_TIME:
        for j in range(d):
            for r in range(ROWS_AT_A_TIME):
                sums[r] += np.float64(X[start + r, j]) * coef[j]
    else:
        for r in range(rows):
            for j in range(d):
                sums[r] += np.float64(X[start + r, j]) * coef[j]


@numba.njit(nogil=True, cache=True)
def binary_probabilities(
    X: Floating,
    coef: Float64,
    intercept: float,
) -> Float32:
    """Return the probabilities of two classes, float32 (n, 2), by a logistic model of the second.

    Each row's products are added feature by feature in float64, as in `dense_scores`.

    Parameters
    ----------
    X
        (n, d), rows contiguous.
    coef
        float64 (d,).
    intercept
        Added to the products.
    """
    n = len(X)
    out = np.empty((n, 2), dtype=np.float32)
    sums = np.empty(ROWS_AT_A_TIME)
    for start in range(0, n, ROWS_AT_A_TIME):
        rows = min(ROWS_AT_A_TIME, n - start)
        line_sums(X, start, rows, coef, intercept, sums)
        for r in range(rows):
            p = 1.0 / (1.0 + np.exp(-abs(sums[r])))
            second = p if sums[r] >= 0.0 else 1.0 - p
            out[start + r, 0] = 1.0 - second
            out[start + r, 1] = second
    return out


@numba.njit(nogil=True, cache=True)
def sparse_scores(
    data: Float32,
    indices: Int32,
    indptr: Int32,
    position: Int32,
    coef: Float64,
    intercept: Float64,
) -> Float64:
    """Return the same for CSR rows of which only some features have coefficients.

    Parameters
    ----------
    data, indices, indptr
        CSR arrays of n rows.
    position
        int32 (d,): row of `coef` for each feature, -1 for features without coefficients.
    coef
        float64 (m, C), rows contiguous.
    intercept
        float64 (C,).
    """
    n = len(indptr) - 1
    n_classes = len(intercept)
    scores = np.empty((n, n_classes))
    for i in range(n):
        row = scores[i]
        row[:] = intercept
        for e in range(indptr[i], indptr[i + 1]):
            at = position[indices[e]]
            if at >= 0:
                value = np.float64(data[e])
                for c in range(n_classes):
                    row[c] += value * coef[at, c]
    return scores


def softmax_rows(scores: Float64) -> Float64:
    """Return exp(scores) with rows (n, C) scaled to sum to 1, added in the order of classes."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    total = np.zeros(len(weights))
    for column in weights.T:
        total += column
    return weights / total[:, None]
