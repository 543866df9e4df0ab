"""SpMM of propagation: one step of a recurrence on a run of CSR rows, fused and in place.

For each row i, with weights w,

    before_i <- f_i a sum_j w_ij Z_j + b Z_i + c before_i + d source_i

where f_i is 1 / sum_j w_ij. A row is summed in the order of its stored entries; each product and
each sum is rounded once to the dtype of Z, without reassociation or contraction. So its bits depend
neither on other rows nor on the number of columns. `compiled_sweep` does the same, faster, for a
constant number of columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Floating, Int32, Int64, Integer
from ssl_dask.kernels.propagation.compiled_sweep import compiled_sweep

Scores = Floating

SMALLEST = float(np.finfo(np.float32).smallest_normal)
"""Smaller scores become 0. Subnormal numbers lose precision and never round to zero: without this
cut-off they would spread a label over the whole component."""
MAX_CONSTANT_COLUMNS = 256
"""With more columns the loop over columns dominates, and the generic code is as fast."""
MIN_COMPILED_WORK = 2**21
"""Products of a sweep from which on a compilation of about a second pays off."""


class WalkRows(NamedTuple):
    """A run of CSR rows of W, scaled for a random walk."""

    indptr: Int64
    """int64 (n + 1,)."""
    indices: Int32
    """int32 (nnz,): rows of Z, in the order of summation."""
    weights: Float32
    """float32 (nnz,): each row of W times the power of two that brings its sum into [1, 2)."""
    inverse_sum: Float64
    """float64 (n,): 1 / sum of `weights`; 0 for a row without edges."""
    degree: Float64
    """float64 (n,): sum of the row of W itself; 1 for a row without edges."""

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.degree)


def walk_rows(indptr: Integer, indices: Integer, data: Float32) -> WalkRows:
    """Prepare the rows of a CSR matrix with weights >= 0 for `sweep`.

    4 bytes an entry; int32 indices are shared with the matrix.

    Raises
    ------
    ValueError
        A column number exceeds int32: the run is too large.
    """
    if len(indices) and int(indices.max()) >= 2**31:
        raise ValueError("more than 2**31 rows of scores in one part: cut the graph into more")
    pointers = np.ascontiguousarray(indptr, dtype=np.int64)
    weights = np.empty(len(data), dtype=np.float32)
    inverse, degree = np.empty(len(pointers) - 1), np.empty(len(pointers) - 1)
    _scale_rows(pointers, np.ascontiguousarray(data), weights, inverse, degree)
    return WalkRows(
        pointers, np.ascontiguousarray(indices, dtype=np.int32), weights, inverse, degree
    )


def row_degrees(indptr: Integer, data: Float32) -> Float64:
    """Return `WalkRows.degree` of the rows of a CSR matrix, float64 (n,).

    >>> row_degrees(np.array([0, 2, 2]), np.array([0.5, 1.5], dtype=np.float32)).tolist()
    [2.0, 1.0]
    """
    degree = np.empty(len(indptr) - 1)
    _add_rows(np.ascontiguousarray(indptr, dtype=np.int64), np.ascontiguousarray(data), degree)
    return degree


def sweep(
    rows: WalkRows,
    start: int,
    stop: int,
    first: int,
    Z: Floating,
    out: Floating,
    out_first: int,
    coefficients: tuple[float, float, float, float],
    source: Floating | None = None,
    n_entries: int | None = None,
    smallest: float = SMALLEST,
) -> None:
    """Replace F_{t-1} by F_{t+1} in rows of `out`; 2 nnz K flops, releases the GIL.

    From `MIN_COMPILED_WORK` products on, code is compiled for K columns, once a machine, in about a
    second; the bits are the same.

    Parameters
    ----------
    rows
        n rows of the walk.
    start, stop
        Range of these rows that is computed.
    first
        Row of `Z` that belongs to the first of `rows`.
    Z
        float32 or float64 (., K), C order: scores of these rows and of all their neighbours.
    out
        (., K), same dtype: row `out_first` belongs to `start`.
    coefficients
        (a, b, c, d).
    source
        (., K), same dtype, rows as in `Z`; None: no source, and d is not used.
    n_entries
        Entries of all runs that are swept together; None: of `rows` alone.
    smallest
        Smaller results become 0.

    Examples
    --------
    >>> rows = walk_rows(np.array([0, 1, 2]), np.array([1, 0]), np.ones(2, dtype=np.float32))
    >>> Z, out = np.array([[1.0], [0.0]]), np.zeros((2, 1))
    >>> sweep(rows, 0, 2, 0, Z, out, 0, (1.0, 0.0, 0.0, 0.0))
    >>> out.tolist()
    [[0.0], [1.0]]
    """
    n_columns, dtype = Z.shape[1], Z.dtype
    work = (int(rows.indptr[-1]) if n_entries is None else n_entries) * n_columns
    compiled = work >= MIN_COMPILED_WORK and n_columns <= MAX_CONSTANT_COLUMNS
    kernel = compiled_sweep(n_columns) if compiled else _any_columns
    number = dtype.type
    a, b, c, d, least = (number(x) for x in (*coefficients, smallest))
    if source is None:
        source = out[:0]
    kernel(
        rows.indptr, rows.indices, rows.weights, rows.inverse_sum, start, stop, first,
        Z.reshape(-1), out.reshape(-1), out_first, source.reshape(-1), a, b, c, d, least,
        n_columns,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True)
def _scale_rows(indptr, data, weights, inverse, degree):  # type: ignore[no-untyped-def]
    for i in range(len(degree)):
        total = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[entry])
        if total <= 0.0:
            inverse[i], degree[i] = 0.0, 1.0
            for entry in range(indptr[i], indptr[i + 1]):
                weights[entry] = np.float32(0.0)
            continue
        degree[i] = total
        power = 1.0
        while total * power >= 2.0:
            power *= 0.5
        while total * power < 1.0:
            power *= 2.0
        inverse[i] = 1.0 / (total * power)
        for entry in range(indptr[i], indptr[i + 1]):
            weights[entry] = np.float32(np.float64(data[entry]) * power)


@numba.njit(nogil=True, cache=True)
def _add_rows(indptr, data, degree):  # type: ignore[no-untyped-def]
    """Add each row from left to right; np.add.reduceat does not specify its order."""
    for i in range(len(degree)):
        total = 0.0
        for entry in range(indptr[i], indptr[i + 1]):
            total += np.float64(data[entry])
        degree[i] = total if total > 0.0 else 1.0


@numba.njit(nogil=True, cache=True)
def _any_columns(  # type: ignore[no-untyped-def]
    indptr, indices, weights, inverse, start, stop, first, Z, out, out_first, source, a, b, c, d,
    smallest, n_columns,
):  # fmt: skip
    """Do the step for a number of columns that is known at run time only."""
    sums = np.empty(n_columns, dtype=Z.dtype)
    zero = a - a
    for i in range(start, stop):
        sums[:] = zero
        for entry in range(indptr[i], indptr[i + 1]):
            weight = Z.dtype.type(weights[entry])
            neighbour = np.int64(indices[entry]) * n_columns
            for k in range(n_columns):
                sums[k] += weight * Z[neighbour + k]
        factor = a * Z.dtype.type(inverse[i])
        own = (first + i) * n_columns
        row = (out_first + i - start) * n_columns
        for k in range(n_columns):
            new = factor * sums[k] + b * Z[own + k] + c * out[row + k]
            if len(source) > 0:
                new += d * source[own + k]
            if abs(new) < smallest:
                new = zero
            out[row + k] = new
