"""Weights of all pairs of rows of two blocks: exp(-gamma |x - y|^2)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float64
from ssl_dask.kernels.arithmetic.sparse_rows import stack_strips, with_index_dtype
from ssl_dask.kernels.knn.exact_distance import squared_distance
from ssl_dask.kernels.knn.exact_sparse import squared_lengths_sparse

BATCH_BYTES = 2**24


def radial_strip(rows: Any, first_row: int, panels: list[Any], gamma: float) -> sp.csr_array:
    """Return exp(-gamma |x - y|^2) of some rows with all rows, csr_array float32 (n, N).

    The diagonal is left out, and so are weights below the smallest normal float32, 1.2e-38.
    Distances are float64 in a fixed order: the weight of a pair is the same both ways round.

    Parameters
    ----------
    rows
        float32 array (n, d) or csr_array: the rows `first_row`, `first_row + 1`, ...
    panels
        All rows, in runs.
    """
    n, n_all = rows.shape[0], sum(panel.shape[0] for panel in panels)
    batch = max(BATCH_BYTES // (16 * n_all), 1)
    parts = []
    for start in range(0, n, batch):
        some = rows[start : start + batch]
        squares = np.concatenate([_squared_distances(some, panel) for panel in panels], axis=1)
        weights = np.exp(-gamma * squares).astype(np.float32)
        weights[weights < np.finfo(np.float32).tiny] = 0
        own = np.arange(weights.shape[0])
        weights[own, first_row + start + own] = 0
        parts.append(with_index_dtype(sp.csr_array(weights)))
    return stack_strips(parts)


def _squared_distances(Q: Any, P: Any) -> Float64:
    if not sp.issparse(Q):
        return _dense_distances(Q, P)
    # SciPy adds the products of a pair in column order, as `sparse_neighbours` does.
    products = (Q.astype(np.float64) @ P.astype(np.float64).T).toarray()
    sums = squared_lengths_sparse(Q)[:, None] + squared_lengths_sparse(P)[None, :]
    return np.maximum(sums - 2.0 * products, 0.0)


@numba.njit(nogil=True, cache=True)
def _dense_distances(Q: Any, P: Any) -> Any:
    squares = np.empty((Q.shape[0], P.shape[0]), np.float64)
    for i in range(Q.shape[0]):
        for j in range(P.shape[0]):
            squares[i, j] = squared_distance(Q[i], P[j])
    return squares
