"""Kernel weights of rows to their nearest anchors, in integer units: exact sums over rows."""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums
from ssl_dask.kernels.knn.cells import nearest_cells

UNITS = 2**15
"""Sum of the integer weights of a row; sums of products are exact up to 2**33 rows."""
SPARE = 4
"""Extra candidates, because float32 products do not order near ties reliably."""


def anchor_weights(X: Float32, anchors: Float32, n_nearest: int) -> tuple[Int32, Int64]:
    """Return the s nearest anchors of each row and their integer weights, (n, s) each.

    Weights are exp(-d^2 / mean of the row's s values of d^2), scaled to the sum `UNITS`. 2 n m d
    flops. The result of a row depends on it and the anchors alone.

    Parameters
    ----------
    X
        float32 (n, d).
    anchors
        float32 (m, d).
    n_nearest
        s <= m.

    Examples
    --------
    >>> anchors = np.array([[0], [2], [9]], dtype=np.float32)
    >>> [found.tolist() for found in anchor_weights(np.array([[1.0]]), anchors, 2)]
    [[[0, 1]], [[16384, 16384]]]
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    near = nearest_cells(X, anchors, min(n_nearest + SPARE, len(anchors)))
    squares = _squares(X, anchors, near)
    order = np.lexsort((near, squares), axis=1)[:, :n_nearest]
    near = np.take_along_axis(near, order, axis=1)
    squares = np.take_along_axis(squares, order, axis=1)
    total = ordered_sums(squares)
    weights = np.exp(-squares * (n_nearest / np.where(total > 0.0, total, 1.0))[:, None])
    units = np.floor(weights * (UNITS / ordered_sums(weights))[:, None]).astype(np.int64)
    # The nearest anchor gets the remainder of rounding.
    units[:, 0] += UNITS - units.sum(axis=1)
    return near, units


def anchor_products(near: Int32, units: Int64, n_anchors: int) -> Int64:
    """Return the exact Z'Z, int64 (m, m), of rows with weights in units."""
    sums = np.zeros((n_anchors, n_anchors), dtype=np.int64)
    _add_products(near, units, sums)
    return sums


@numba.njit(nogil=True, cache=True)
def _squares(X, anchors, near):  # type: ignore[no-untyped-def]
    out = np.empty(near.shape, dtype=np.float64)
    for i in range(near.shape[0]):
        for j in range(near.shape[1]):
            total = 0.0
            for c in range(X.shape[1]):
                step = np.float64(X[i, c]) - np.float64(anchors[near[i, j], c])
                total += step * step
            out[i, j] = total
    return out


@numba.njit(nogil=True, cache=True)
def _add_products(near, units, sums):  # type: ignore[no-untyped-def]
    for i in range(near.shape[0]):
        for a in range(near.shape[1]):
            for b in range(near.shape[1]):
                sums[near[i, a], near[i, b]] += units[i, a] * units[i, b]
