"""How near a row is to a few anchors, in whole units, so that sums over rows are exact."""

from __future__ import annotations

import numba
import numpy as np

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.kernels.knn.cells import nearest_cells

UNITS = 2**15
"""A row's weights are whole numbers of this sum: products of two add up exactly to 2**33 rows."""
SPARE = 4
"""More candidates than needed: float32 products do not order the last ones surely."""


def anchor_weights(X: Float32, anchors: Float32, n_nearest: int) -> tuple[Int32, Int64]:
    """Return the nearest anchors of each row and their weights, (n, s) each.

    Weights are exp(-d^2 / mean of the row's s values of d^2), in units of which `UNITS` make a row.

    Parameters
    ----------
    X
        float32 (n, d).
    anchors
        float32 (m, d).
    n_nearest
        s <= m.

    Notes
    -----
    2 n m d flops. A row's bits depend on it and the anchors alone.
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    near = nearest_cells(X, anchors, min(n_nearest + SPARE, len(anchors)))
    squares = _squares(X, anchors, near)
    order = np.lexsort((near, squares), axis=1)[:, :n_nearest]
    near = np.take_along_axis(near, order, axis=1)
    squares = np.take_along_axis(squares, order, axis=1)
    total = np.zeros(len(X))
    for column in squares.T:
        total += column
    weights = np.exp(-squares * (n_nearest / np.where(total > 0.0, total, 1.0))[:, None])
    total = np.zeros(len(X))
    for column in weights.T:
        total += column
    units = np.floor(weights * (UNITS / total)[:, None]).astype(np.int64)
    # What rounding left goes to the nearest.
    units[:, 0] += UNITS - units.sum(axis=1)
    return near, units


def anchor_products(near: Int32, units: Int64, n_anchors: int) -> Int64:
    """Return Z'Z of rows whose weights are given in units, int64 (m, m): exact."""
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
