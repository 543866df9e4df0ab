"""The inner loop of propagation: one step of a recurrence on a run of rows, fused and in place.

For each row i, with w its weights,

    before_i <- f_i a sum_j w_ij Z_j + b Z_i + c before_i + d source_i

where f_i is one over the sum of the row's weights. A row is summed over its entries as they are
stored, each product and each sum rounded once to the type of Z, so its bits depend neither on the
rows around it nor on the number of columns. Nothing may be reassociated or contracted.

Where there is much to do, `compiled_sweep` does the same for a constant number of columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Floating, Int32, Int64, Integer
from ssl_dask.kernels.propagation.compiled_sweep import compiled_sweep

Scores = Floating

SMALLEST = float(np.finfo(np.float32).smallest_normal)
"""Smaller scores become 0. Numbers below have few digits left, down to a last one that rounding
never lets go of: they would carry a label on and on without any evidence."""

MAX_CONSTANT_COLUMNS = 256
"""With more columns the loop over a row's entries is short beside that over columns."""
MIN_COMPILED_WORK = 2**21
"""Products in a sweep from which on a compilation of about a second pays for itself soon."""


class WalkRows(NamedTuple):
    """A run of rows of W, ready for steps of a random walk.

    Parameters
    ----------
    indptr
        int64 (n + 1,).
    indices
        int32 (nnz,): rows of Z, in the order in which they are summed.
    weights
        float32 (nnz,): each row of W times a power of two that brings its sum to between 1 and 2.
    inverse_sum
        float64 (n,): 1 / sum of `weights`; 0 for a row without edges.
    degree
        float64 (n,): sum of the row of W itself; 1 for a row without edges.
    """

    indptr: Int64
    indices: Int32
    weights: Float32
    inverse_sum: Float64
    degree: Float64

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return len(self.degree)


def walk_rows(indptr: Integer, indices: Integer, data: Float32) -> WalkRows:
    """Return the rows of a CSR matrix with weights >= 0, ready for `sweep`.

    Costs 4 bytes an entry beside the matrix, whose indices are shared if they are int32.

    Raises
    ------
    ValueError
        A column number does not fit int32: the run is cut too large.
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
    """Return the degree of each row of a CSR matrix as `walk_rows` sees it, float64 (n,)."""
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
    """Replace rows of `out`, F_{t-1} of the recurrence, by F_{t+1}.

    Parameters
    ----------
    rows
        n rows of the walk.
    start, stop
        Which of them.
    first
        Row of `Z` that `rows` begin with.
    Z
        float32 or float64 (., K), C order: scores of these rows and all their neighbours.
    out
        (., K), same type: row `out_first` belongs to `start`.
    coefficients
        (a, b, c, d).
    source
        (., K), same type, rows as in `Z`; None for none (d is not used).
    n_entries
        Entries of all runs of rows that are swept together; None: of `rows` alone.
    smallest
        Smaller results become 0.

    Notes
    -----
    Releases the GIL. 2 nnz K flops. From `MIN_COMPILED_WORK` products in all runs on, code is
    compiled for K columns, once a machine: about a second; the bits are the same.
    """
    n_columns, dtype = Z.shape[1], Z.dtype
    work = (int(rows.indptr[-1]) if n_entries is None else n_entries) * n_columns
    if work >= MIN_COMPILED_WORK and n_columns <= MAX_CONSTANT_COLUMNS:
        kernel = compiled_sweep(n_columns)
    else:
        kernel = _any_columns
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
    """Add the entries of each row from left to right: np.add.reduceat's order is not promised."""
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
    """Take the step with the number of columns known only when it runs."""
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
