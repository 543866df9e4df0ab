"""Exact k nearest neighbours of CSR rows: SpGEMM through an inverted index of 2,048 points a tile.

An inner product is the float64 sum over the common columns in column order; products of two float32
numbers are exact in float64. So a distance depends on the two rows alone, and d(x, y) = d(y, x)
exactly, for any blocks. Columns that many points of a tile have are dense vectors instead of lists:
the added zeros change no sum, and a vector is faster than a long list.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float64, Int64
from ssl_dask.kernels.knn.exact_distance import cosine_distance, squared_distance, squared_lengths
from ssl_dask.kernels.knn.neighbour_lists import insert

TILE_POINTS = 2048
"""Points of an index: their float64 sums, 16 KiB, stay in the first-level cache."""
DENSE_SHARE = 8
"""A column of at least one in `DENSE_SHARE` points of a tile is a dense vector."""
GROUP = 32


def update_nearest_sparse(
    Q: sp.csr_array,
    q_ids: Int64,
    P: sp.csr_array,
    p_ids: Int64,
    distances: Float64,
    indices: Int64,
    metric: str = "cosine",
    *,
    q_squares: Float64 | None = None,
    p_squares: Float64 | None = None,
) -> None:
    """Merge the CSR rows `P` into the neighbour lists of the CSR rows `Q`, in place.

    Rows of equal ids are no neighbours. With metric="cosine" rows of zeros have no neighbours and
    are none. Euclidean distances are |x|^2 + |y|^2 - 2 x y in float64, so rows that differ by less
    than 1e-8 of their length count as equal.

    Parameters
    ----------
    Q, P
        Finite csr_array float32 (n, d) and (m, d), columns sorted and distinct within a row.
    q_ids, p_ids
        int64 (n,) and (m,): row numbers; -1 in `q_ids` for rows that are not among the points.
    distances, indices
        Neighbour lists of `Q`, float64 and int64 (n, k).
    metric
        "euclidean" or "cosine".
    q_squares, p_squares
        float64 (n,) and (m,): squared lengths of the whole rows, if `Q` and `P` lack columns that
        only one row has; None: they are computed.

    Notes
    -----
    One multiply-add for each pair of rows and common column, and about 0.5 ns a pair for the scan.
    12 d bytes, and a copy of the entries of a tile.
    """
    if Q.shape[0] == 0 or P.shape[0] == 0:
        return
    q_squares = row_squares(Q) if q_squares is None else q_squares
    p_squares = row_squares(P) if p_squares is None else p_squares
    for start in range(0, P.shape[0], TILE_POINTS):
        stop = min(start + TILE_POINTS, P.shape[0])
        lists, dense_slot, dense = _inverted(P.data, P.indices, P.indptr, start, stop, P.shape[1])
        _scan_queries(
            Q.data, Q.indices, Q.indptr, *lists, dense_slot, dense, q_squares,
            p_squares[start:stop], q_ids, p_ids[start:stop], distances, indices,
            metric == "cosine",
        )  # fmt: skip


def row_squares(X: Any) -> Float64:
    """Return the squared length of each row, dense or CSR, float64 (n,), in a fixed order."""
    return _squared_lengths(X.data, X.indptr) if sp.issparse(X) else squared_lengths(X)


def squared_distances(Q: Any, P: Any) -> Float64:
    """Return |x - y|^2 of all pairs of rows, both dense or both CSR, float64 (n, m).

    A pair has the same bits in any block and both ways round; n m d flops.

    >>> rows = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    >>> squared_distances(rows, rows).tolist()
    [[0.0, 25.0], [25.0, 0.0]]
    """
    if not sp.issparse(Q):
        return _dense_distances(Q, P)
    # SciPy adds the products of a pair in column order, as `_add_products` does.
    products = (Q.astype(np.float64) @ P.astype(np.float64).T).toarray()
    sums = row_squares(Q)[:, None] + row_squares(P)[None, :]
    return np.maximum(sums - 2.0 * products, 0.0)


@numba.njit(nogil=True, cache=True)
def _dense_distances(Q: Any, P: Any) -> Any:
    squares = np.empty((Q.shape[0], P.shape[0]), np.float64)
    for i in range(Q.shape[0]):
        for j in range(P.shape[0]):
            squares[i, j] = squared_distance(Q[i], P[j])
    return squares


@numba.njit(nogil=True, cache=True)
def _squared_lengths(data: Any, indptr: Any) -> Any:
    squares = np.zeros(len(indptr) - 1, np.float64)
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            squares[i] += np.float64(data[p]) * np.float64(data[p])
    return squares


@numba.njit(nogil=True, cache=True)
def _inverted(data: Any, indices: Any, indptr: Any, start: int, stop: int, n_columns: int) -> Any:
    """Transpose the rows [start, stop): lists by column, and dense vectors of common columns."""
    counts = np.zeros(n_columns, np.int32)
    for p in range(indptr[start], indptr[stop]):
        counts[indices[p]] += 1
    n_points = stop - start
    dense_slot = np.full(n_columns, -1, np.int32)
    ends = np.empty(n_columns + 1, np.int32)
    ends[0] = 0
    n_dense = 0
    for c in range(n_columns):
        ends[c + 1] = ends[c]
        if counts[c] * DENSE_SHARE >= n_points and n_points >= GROUP:
            dense_slot[c] = n_dense
            n_dense += 1
        else:
            ends[c + 1] += counts[c]
    dense = np.zeros((n_dense, n_points), np.float32)
    values = np.empty(ends[n_columns], np.float32)
    points = np.empty(ends[n_columns], np.int32)
    place = counts
    place[:] = ends[:-1]
    for i in range(n_points):
        for p in range(indptr[start + i], indptr[start + i + 1]):
            c = indices[p]
            if dense_slot[c] >= 0:
                dense[dense_slot[c], i] = data[p]
            else:
                values[place[c]] = data[p]
                points[place[c]] = i
                place[c] += 1
    return (values, points, ends), dense_slot, dense


@numba.njit(nogil=True, cache=True)
def _add_products(
    data: Any, indices: Any, begin: int, end: int, values: Any, points: Any, ends: Any,
    dense_slot: Any, dense: Any, sums: Any,
) -> None:  # fmt: skip
    """Set `sums` to the inner products of one query with all points of the tile."""
    sums[:] = 0.0
    for p in range(begin, end):
        c = indices[p]
        value = np.float64(data[p])
        slot = dense_slot[c]
        if slot >= 0:
            vector = dense[slot]
            for j in range(len(sums)):
                sums[j] += value * np.float64(vector[j])
        else:
            for e in range(ends[c], ends[c + 1]):
                sums[points[e]] += value * np.float64(values[e])


@numba.njit(nogil=True, cache=True)
def pair_distance(product: float, x_square: float, y_square: float, cosine: bool) -> float:
    """Return the distance of two rows from their inner product and squared lengths."""
    if not cosine:
        return max((x_square + y_square) - 2.0 * product, 0.0)
    if x_square == 0 or y_square == 0:
        return np.inf
    return cosine_distance(product, x_square, y_square)


@numba.njit(nogil=True, cache=True)
def _limits(kth: float, x_square: float, cosine: bool) -> tuple[float, float]:
    """Return (scale, limit): a nearer point has scale * sum >= limit + its offset.

    Loose by a relative 1e-12, more than the rounding of the expressions.
    """
    if kth == np.inf:
        return 1.0, -np.inf
    if cosine:
        slack = 1e-12 * (1.0 + kth)
        return 1.0, (1.0 - kth - slack) * np.sqrt(x_square)
    return 2.0, x_square - kth - 1e-12 * (x_square + kth)


@numba.njit(nogil=True, cache=True)
def _scan_queries(
    data: Any, column_indices: Any, indptr: Any, values: Any, points: Any, ends: Any,
    dense_slot: Any, dense: Any, q_squares: Any, p_squares: Any, q_ids: Any, p_ids: Any,
    distances: Any, indices: Any, cosine: bool,
) -> None:  # fmt: skip
    n_points = len(p_ids)
    last = distances.shape[1] - 1
    sums = np.empty(n_points, np.float64)
    lengths = np.sqrt(p_squares)
    loose_squares = p_squares * (1.0 - 1e-12)
    smallest_id = np.min(p_ids)
    for row in range(len(indptr) - 1):
        kth = distances[row, last]
        if (cosine and q_squares[row] == 0) or (kth == 0 and smallest_id > indices[row, last]):
            continue
        _add_products(
            data, column_indices, indptr[row], indptr[row + 1],
            values, points, ends, dense_slot, dense, sums,
        )  # fmt: skip
        scale, limit = _limits(kth, q_squares[row], cosine)
        for start in range(0, n_points, GROUP):
            stop = min(start + GROUP, n_points)
            near = 0
            if cosine:
                for j in range(start, stop):
                    near |= sums[j] >= limit * lengths[j]
            else:
                for j in range(start, stop):
                    near |= scale * sums[j] >= limit + loose_squares[j]
            if near == 0:
                continue
            for j in range(start, stop):
                number = p_ids[j]
                if number == q_ids[row]:
                    continue
                distance = pair_distance(sums[j], q_squares[row], p_squares[j], cosine)
                if distance < kth or (distance == kth and number < indices[row, last]):
                    if distance == np.inf:
                        continue
                    insert(distances, indices, row, distance, number)
                    kth = distances[row, last]
                    scale, limit = _limits(kth, q_squares[row], cosine)
