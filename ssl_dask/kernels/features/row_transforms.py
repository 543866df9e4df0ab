"""Row-wise scaling, normalisation and projection; the bits of a row depend on that row alone.

BLAS may add the products of a row in another order in another block. Here every row is reduced in
column order, in float64.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numba import njit

from ssl_dask.array_types import Float32, Float64, Floating, Int32

SLICE_ROWS = 4096
"""Rows that are copied to float64 at a time."""


def scale_rows(X: Floating, shift: Float64, factor: Float64) -> Float32:
    """Return (X - shift) * factor, (n, d) with float64 (d,) each, as float32; NaN stays NaN.

    >>> scale_rows(np.array([[1.0, 4.0]]), np.array([1.0, 2.0]), np.array([1.0, 0.5])).tolist()
    [[0.0, 1.0]]
    """
    scaled = np.empty(X.shape, dtype=np.float32)
    for start in range(0, len(X), SLICE_ROWS):
        rows = X[start : start + SLICE_ROWS].astype(np.float64)
        rows -= shift
        rows *= factor
        scaled[start : start + SLICE_ROWS] = rows
    return scaled


@njit(nogil=True, cache=True)
def _unit_rows(X: Floating, unit: Float32) -> int:
    n, d = X.shape
    n_zero = 0
    for i in range(n):
        total = 0.0
        for j in range(d):
            value = np.float64(X[i, j])
            total += value * value
        if total == 0.0:
            n_zero += 1
            factor = 0.0
        else:
            factor = 1.0 / np.sqrt(total)
        for j in range(d):
            unit[i, j] = np.float32(np.float64(X[i, j]) * factor)
    return n_zero


def unit_rows(X: Floating) -> tuple[Float32, int]:
    """Scale rows (n, d) to Euclidean length 1, float32; also return the number of zero rows.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))[1]
    1
    """
    unit = np.empty(X.shape, dtype=np.float32)
    n_zero = _unit_rows(np.ascontiguousarray(X), unit)
    return unit, n_zero


@njit(nogil=True, cache=True)
def _unit_sparse_rows(indptr: Int32, values: Float64, unit: Float32) -> None:
    for i in range(len(indptr) - 1):
        total = 0.0
        for at in range(indptr[i], indptr[i + 1]):
            total += values[at] * values[at]
        if total > 0.0:
            factor = 1.0 / np.sqrt(total)
            for at in range(indptr[i], indptr[i + 1]):
                unit[at] = np.float32(values[at] * factor)


def unit_sparse_rows(X: sp.csr_array) -> sp.csr_array:
    """Scale CSR rows (n, d) with sorted indices to Euclidean length 1, float32."""
    unit = np.zeros(X.nnz, dtype=np.float32)
    _unit_sparse_rows(X.indptr, X.data.astype(np.float64), unit)
    return sp.csr_array((unit, X.indices, X.indptr), shape=X.shape)


@njit(nogil=True, cache=True)
def _project_rows(Z: Floating, centre: Float64, components: Float64, projected: Float32) -> None:
    n, d = Z.shape
    m = components.shape[1]
    totals = np.empty((4, m))
    for first in range(0, n, 4):
        # Four rows share each load of a row of `components`; the last group may repeat a row.
        r0 = first
        r1, r2, r3 = min(first + 1, n - 1), min(first + 2, n - 1), min(first + 3, n - 1)
        totals[:] = 0.0
        for j in range(d):
            z0 = np.float64(Z[r0, j]) - centre[j]
            z1 = np.float64(Z[r1, j]) - centre[j]
            z2 = np.float64(Z[r2, j]) - centre[j]
            z3 = np.float64(Z[r3, j]) - centre[j]
            for k in range(m):
                c = components[j, k]
                totals[0, k] += z0 * c
                totals[1, k] += z1 * c
                totals[2, k] += z2 * c
                totals[3, k] += z3 * c
        for k in range(m):
            projected[r3, k] = np.float32(totals[3, k])
            projected[r2, k] = np.float32(totals[2, k])
            projected[r1, k] = np.float32(totals[1, k])
            projected[r0, k] = np.float32(totals[0, k])


def project_rows(Z: Floating, centre: Float64, components: Float64) -> Float32:
    """Return (Z - centre) @ components as float32 (n, m), each sum in column order.

    n d m multiply-adds at about a third of the speed of GEMM, without a copy of `Z`.

    Parameters
    ----------
    Z
        float32 or float64 (n, d).
    centre
        float64 (d,).
    components
        float64 (d, m), one component a column.
    """
    projected = np.empty((len(Z), components.shape[1]), dtype=np.float32)
    _project_rows(np.ascontiguousarray(Z), centre, np.ascontiguousarray(components), projected)
    return projected
