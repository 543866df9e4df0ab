"""Scores and class probabilities of models, with the same bits for a row in any block.

BLAS may round a row differently with the number of rows and with the row's place among them.
Linear models are therefore scored by loops that add products in the order of features, in
float64; other models get batches of a fixed size (`score_batches`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Floating, Int32, Int64
from ssl_dask.kernels.arithmetic.sparse_rows import canonical_rows

ROWS_AT_A_TIME = 8
"""Rows summed together: their additions overlap, where a single row waits for each of its own."""
BATCH_ROWS = 1024
"""Rows of a batch of `score_batches`."""


@numba.njit(nogil=True, cache=True)
def dense_scores(X: Float32, coef: Float64, intercept: Float64) -> Float64:
    """Return X @ coef + intercept, float64 (n, C); n d C multiply-adds.

    Parameters
    ----------
    X
        float32 (n, d).
    coef
        float64 (d, C), rows contiguous.
    intercept
        float64 (C,).

    Examples
    --------
    >>> X = np.array([[1.0, 2.0], [0.0, 3.0]], dtype=np.float32)
    >>> dense_scores(X, np.array([[1.0, -1.0], [0.5, 0.0]]), np.array([0.0, 10.0])).tolist()
    [[2.0, 9.0], [1.5, 10.0]]
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


@numba.njit(nogil=True, cache=True)
def line_sums(
    X: Floating, start: int, rows: int, coef: Float64, intercept: float, sums: Float64
) -> None:
    """Set `sums` to X @ coef + intercept of a few rows, added in the order of features in float64.

    Parameters
    ----------
    X
        (n, d), rows contiguous.
    start, rows
        First row and number of rows, at most `ROWS_AT_A_TIME`.
    coef
        float64 (d,).
    sums
        float64 (ROWS_AT_A_TIME,); entries from `rows` on are scratch.
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
def binary_probabilities(X: Floating, coef: Float64, intercept: float) -> Float32:
    """Return 1 - p and p of a binary logistic model, float32 (n, 2).

    Parameters
    ----------
    X
        (n, d), rows contiguous.
    coef
        float64 (d,): of the second class against the first.
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
    data: Float32, indices: Int32, indptr: Int32, position: Int32, coef: Float64, intercept: Float64
) -> Float64:
    """Return `dense_scores` of CSR rows for a model with coefficients of some features only.

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


def linear_scores(
    X: Any, coef: Float64, intercept: Float64, features: Int64 | None = None
) -> Float64:
    """Return X[:, features] @ coef + intercept, float64 (n, C), by each row alone.

    Parameters
    ----------
    X
        Features (n, d), dense or CSR.
    coef, intercept
        float64 (m, C), rows contiguous, and (C,).
    features
        int64 (m,), ascending: the features with coefficients; None: all.
    """
    if not sp.issparse(X):
        # Selecting columns copies the block, and mostly all of them are selected.
        some = X if features is None or len(features) == X.shape[1] else X[:, features]
        return dense_scores(np.ascontiguousarray(some, dtype=np.float32), coef, intercept)
    rows = canonical_rows(X)
    position = np.full(X.shape[1], -1, dtype=np.int32)
    position[slice(None) if features is None else features] = np.arange(len(coef), dtype=np.int32)
    return sparse_scores(rows.data, rows.indices, rows.indptr, position, coef, intercept)


def ordered_sums(values: Floating) -> Float64:
    """Return the sums over the last axis in float64, added in its order.

    np.sum over an axis changes its order of addition with the shape.
    """
    total = np.zeros(values.shape[:-1])
    for place in range(values.shape[-1]):
        total += values[..., place]
    return total


def softmax_rows(scores: Float64) -> Float64:
    """Return the softmax of each row, float64 (n, C), summed in the order of classes.

    >>> softmax_rows(np.log([[1.0, 3.0]])).round(6).tolist()
    [[0.25, 0.75]]
    """
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / ordered_sums(weights)[:, None]


def score_batches(score: Callable[[Any], Floating], X: Any, place: int) -> Floating:
    """Return `score` of the rows of a block, (n, C), in batches that do not depend on the block.

    Each row has the place in its batch that its row number gives it; missing rows are zeros. Scores
    up to 2 BATCH_ROWS extra rows.

    Parameters
    ----------
    score
        Maps rows (BATCH_ROWS, d) to (BATCH_ROWS, C). The result for a row may depend on its place,
        not on the values of other rows.
    X
        (n, d), dense or CSR; n may be 0 only if `score` accepts zeros.
    place
        Row number of the first row: row i has the place (place + i) % BATCH_ROWS.
    """
    n = X.shape[0]
    first = place % BATCH_ROWS
    parts = []
    for start in range(-first, max(n, 1 - first), BATCH_ROWS):
        low, high = max(start, 0), min(start + BATCH_ROWS, n)
        batch = _padded(X[low:high], low - start, BATCH_ROWS)
        parts.append(score(batch)[low - start : high - start])
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _padded(rows: Any, before: int, size: int) -> Any:
    """Return `size` rows: `before` rows of zeros, `rows`, and zeros again."""
    n, d = rows.shape
    if n == size:
        return rows
    if sp.issparse(rows):
        indptr = np.zeros(size + 1, dtype=rows.indptr.dtype)
        indptr[before : before + n + 1] = rows.indptr
        indptr[before + n :] = rows.indptr[-1]
        return sp.csr_array((rows.data, rows.indices, indptr), shape=(size, d))
    padded = np.zeros((size, d), dtype=rows.dtype)
    padded[before : before + n] = rows
    return padded
