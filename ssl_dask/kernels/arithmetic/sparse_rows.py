"""CSR row strips of a large sparse matrix: canonical form, stacking, row sums, symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32

INT32_LIMIT = 2**31


def index_dtype(n_columns: int, n_entries: int = 0) -> type[np.signedinteger[Any]]:
    """Return int32 if it can index `n_columns` columns and `n_entries` entries, else int64."""
    return np.int32 if max(n_columns, n_entries) < INT32_LIMIT else np.int64


def as_strip(matrix: Any) -> sp.csr_array:
    """Return a copy as canonical float32 CSR: sorted, distinct columns and no stored zeros.

    Duplicate entries are added in the dtype of `matrix`.

    >>> strip = as_strip(sp.coo_array(([1.0, 2.0, 4.0], ([0, 0, 0], [2, 1, 2])), shape=(1, 3)))
    >>> strip.indices.tolist(), strip.data.tolist()
    ([1, 2], [2.0, 5.0])
    """
    strip = sp.csr_array(matrix, copy=True)
    strip.sum_duplicates()
    strip = strip.astype(np.float32)
    strip.eliminate_zeros()
    return with_index_dtype(strip)


def canonical_rows(X: sp.csr_array) -> sp.csr_array:
    """Return X with sorted, distinct columns in each row; X itself if it is canonical."""
    if X.has_canonical_format:
        return X
    rows = X.copy()
    rows.sum_duplicates()
    return rows


def with_index_dtype(strip: sp.csr_array) -> sp.csr_array:
    """Return `strip` with indices of the dtype of `index_dtype`; without a copy if they are."""
    dtype = index_dtype(strip.shape[1], strip.nnz)
    if strip.indices.dtype == dtype and strip.indptr.dtype == dtype:
        return strip
    parts = (strip.data, strip.indices.astype(dtype), strip.indptr.astype(dtype))
    return sp.csr_array(parts, shape=strip.shape)


def row_sums(strip: sp.csr_array) -> Float32:
    """Return the sum of each row, float32 (n,), added in float64 in the order of its columns."""
    return _row_sums(strip.data, strip.indptr)


def stack_strips(strips: list[sp.csr_array]) -> sp.csr_array:
    """Stack strips of the same columns into one matrix."""
    if len(strips) == 1:
        return strips[0]
    return with_index_dtype(sp.csr_array(sp.vstack(strips, format="csr")))


def stored_as(rows: Any, *, sparse: bool) -> Any:
    """Return rows as a csr_array or as a dense array; as they are if they are that."""
    if sp.issparse(rows) == sparse:
        return rows
    return sp.csr_array(rows) if sparse else rows.toarray()


def stacked_rows(parts: Sequence[Any]) -> Any:
    """Copy blocks of rows into one block, dense or CSR.

    Parameters
    ----------
    parts
        At least one array (n_i, d), or csr_arrays; they may be memory-mapped.
    """
    if not sp.issparse(parts[0]):
        return np.concatenate(parts)
    data = np.concatenate([part.data for part in parts])
    n_columns = parts[0].shape[1]
    dtype = index_dtype(n_columns, len(data))
    indices = np.concatenate([part.indices for part in parts]).astype(dtype, copy=False)
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(dtype)
    return sp.csr_array((data, indices, indptr), shape=(len(lengths), n_columns))


def largest_asymmetry(matrix: sp.csr_array) -> float:
    """Return the largest |w_ij - w_ji| / max(w_ij, w_ji) of a square matrix of weights >= 0.

    >>> largest_asymmetry(sp.csr_array([[0.0, 1.0], [4.0, 0.0]]))
    0.75
    """
    difference = abs(matrix - matrix.T).tocoo()
    if difference.nnz == 0:
        return 0.0
    larger = matrix.maximum(matrix.T).tocsr()[difference.row, difference.col]
    return float(np.max(difference.data / np.asarray(larger).ravel()))


@numba.njit(nogil=True, cache=True)
def _row_sums(data: Any, indptr: Any) -> Any:
    n = len(indptr) - 1
    sums = np.empty(n, np.float32)
    for i in range(n):
        total = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            total += data[p]
        sums[i] = total
    return sums
