"""Exact k nearest neighbours of CSR rows: SpGEMM through an inverted index of 2,048 points a tile.

An inner product is the float64 sum over the common columns in column order; products of two float32
numbers are exact in float64. So a distance depends on the two rows alone, and d(x, y) = d(y, x)
exactly, for any blocks.

Columns that many points of a tile have are dense vectors instead of lists: the added zeros change
no sum, and a vector is faster than a long list. Of long rows a float32 GEMM adds up the products of
the dense columns, and lists those of the others. Such a sum is off by at most gamma |x| |y| with
gamma = (m + 4) u / (1 - (m + 4) u), m dense columns and u = 2**-24 (N. Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1; the lists are added in float64). A pair that
is not excluded by the sum and this bound is measured exactly. So the lists are the true first k by
(distance, row number) for any tiles, blocks, BLAS and threads.
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
"""Points of an index, of long rows half as many: their sums stay in the first-level cache."""
TILE_QUERIES = 128
DENSE_SHARE = 8
"""A column of at least one in `DENSE_SHARE` points of a tile is dense."""
LEAST, MOST = 1e-15, 1e15
"""With other magnitudes float32 products could underflow or overflow: no GEMM selects."""
LONG_ROWS = 256
"""Mean entries of a row from which GEMM selects: rows of 1,500 take half the time then, rows of 300
.85 of it, and rows of 80 twice."""
NO_SUMS = np.empty((0, 0), np.float32)
GROUP = 32
_U = 2.0**-24


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
    For each pair of rows a multiply-add for each common column, of long rows in float32 for each
    dense column, and about 0.5 ns for the scan: 4 ns a pair of rows of 80 entries, 150 of 1,500.
    16 d bytes, and a copy of the entries of a tile.
    """
    if Q.shape[0] == 0 or P.shape[0] == 0:
        return
    q_squares = row_squares(Q) if q_squares is None else q_squares
    p_squares = row_squares(P) if p_squares is None else p_squares
    is_long = len(P.data) >= LONG_ROWS * P.shape[0]
    selects = is_long and all(_is_usual(one.data) for one in (Q, P))
    row = np.zeros(P.shape[1], np.float32)
    size = max(TILE_POINTS // 2, 1) if selects else TILE_POINTS
    for start in range(0, P.shape[0], size):
        stop = min(start + size, P.shape[0])
        tile = P.indices, P.data, P.indptr[start : stop + 1]
        *lists, dense = _inverted(*tile, P.shape[1])
        near = p_squares[start:stop], p_ids[start:stop]
        for first in range(0, Q.shape[0], TILE_QUERIES):
            last = min(first + TILE_QUERIES, Q.shape[0])
            queries = Q.indices, Q.data, Q.indptr[first : last + 1]
            sums = _dense_part(*queries, lists[-1], len(dense)) @ dense if selects else NO_SUMS
            _scan_queries(
                *queries, *tile, *lists, dense, sums, selects, q_squares[first:last],
                q_ids[first:last], *near, distances[first:last], indices[first:last], row,
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
def _is_usual(data: Any) -> bool:
    """Return whether products of values can neither overflow nor vanish in float32."""
    for value in data:
        size = abs(value)
        if size > MOST or 0.0 < size < LEAST:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _inverted(columns: Any, data: Any, indptr: Any, n_columns: int) -> Any:
    """Transpose the rows of a tile: lists by column, and vectors of the columns that are dense."""
    n_points = len(indptr) - 1
    counts = np.zeros(n_columns, np.int32)
    for p in range(indptr[0], indptr[n_points]):
        counts[columns[p]] += 1
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
        for p in range(indptr[i], indptr[i + 1]):
            c = columns[p]
            if dense_slot[c] >= 0:
                dense[dense_slot[c], i] = data[p]
            else:
                values[place[c]] = data[p]
                points[place[c]] = i
                place[c] += 1
    return values, points, ends, dense_slot, dense


@numba.njit(nogil=True, cache=True)
def _dense_part(columns: Any, data: Any, indptr: Any, dense_slot: Any, n_dense: int) -> Any:
    """Return the dense columns of CSR rows, float32 (n, m)."""
    found = np.zeros((len(indptr) - 1, n_dense), np.float32)
    for i in range(len(found)):
        for p in range(indptr[i], indptr[i + 1]):
            slot = dense_slot[columns[p]]
            if slot >= 0:
                found[i, slot] = data[p]
    return found


@numba.njit(nogil=True, cache=True)
def _add_products(
    columns: Any, data: Any, begin: int, end: int, values: Any, points: Any, ends: Any,
    dense_slot: Any, dense: Any, selects: bool, sums: Any,
) -> None:  # fmt: skip
    """Add the products of one query in column order, those of dense columns unless GEMM selects."""
    for p in range(begin, end):
        c = columns[p]
        value = np.float64(data[p])
        # The lists of dense columns are empty.
        for e in range(ends[c], ends[c + 1]):
            sums[points[e]] += value * np.float64(values[e])
        if not selects and dense_slot[c] >= 0:
            vector = dense[dense_slot[c]]
            for j in range(len(sums)):
                sums[j] += value * np.float64(vector[j])


@numba.njit(nogil=True, cache=True)
def _product(row: Any, columns: Any, data: Any, begin: int, end: int) -> float:
    """Return the inner product of a row, spread over all columns, and a CSR row, in order."""
    # Zeros of columns that are not common change no sum.
    product = 0.0
    for p in range(begin, end):
        product += np.float64(row[columns[p]]) * np.float64(data[p])
    return product


@numba.njit(nogil=True, cache=True)
def pair_distance(product: float, x_square: float, y_square: float, cosine: bool) -> float:
    """Return the distance of two rows from their inner product and squared lengths."""
    if not cosine:
        return max((x_square + y_square) - 2.0 * product, 0.0)
    if x_square == 0 or y_square == 0:
        return np.inf
    return cosine_distance(product, x_square, y_square)


@numba.njit(nogil=True, cache=True)
def _limits(kth: float, x_square: float, gamma: float, cosine: bool) -> tuple[float, float, float]:
    """Return (scale, limit, loose): a nearer point y, of length |y|, has

    scale * sum + loose |y| >= limit + |y|^2 (1 - 1e-12)     (euclidean)
    scale * sum + loose |y| >= limit |y|                     (cosine)

    Loose by gamma, and by a relative 1e-12, more than the rounding of the expressions.
    """
    length = np.sqrt(x_square)
    if kth == np.inf:
        return 1.0, -np.inf, 0.0
    if cosine:
        slack = 1e-12 * (1.0 + kth)
        return 1.0, (1.0 - kth - slack) * length, gamma * length
    return 2.0, x_square - kth - 1e-12 * (x_square + kth), 2.0 * gamma * length


@numba.njit(nogil=True, cache=True)
def _scan_queries(
    columns: Any, data: Any, indptr: Any, p_columns: Any, p_data: Any, p_indptr: Any, values: Any,
    points: Any, ends: Any, dense_slot: Any, dense: Any, tile: Any, selects: bool, q_squares: Any,
    q_ids: Any, p_squares: Any, p_ids: Any, distances: Any, indices: Any, spread: Any, cosine: bool,
) -> None:  # fmt: skip
    n_points = len(p_ids)
    last = distances.shape[1] - 1
    sums = np.empty(n_points, np.float64)
    lengths = np.sqrt(p_squares)
    least_squares = p_squares * (1.0 - 1e-12)
    smallest_id = np.min(p_ids)
    off = (len(dense) + 4) * _U
    gamma = off / (1.0 - off) if selects else 0.0
    for row in range(len(indptr) - 1):
        kth = distances[row, last]
        if (cosine and q_squares[row] == 0) or (kth == 0 and smallest_id > indices[row, last]):
            continue
        begin, end = indptr[row], indptr[row + 1]
        if selects:
            for j in range(n_points):
                sums[j] = tile[row, j]
        else:
            sums[:] = 0.0
        _add_products(
            columns, data, begin, end, values, points, ends, dense_slot, dense, selects, sums
        )
        is_spread = False
        scale, limit, loose = _limits(kth, q_squares[row], gamma, cosine)
        for start in range(0, n_points, GROUP):
            stop = min(start + GROUP, n_points)
            near = 0
            if cosine:
                for j in range(start, stop):
                    near |= sums[j] >= (limit - loose) * lengths[j]
            else:
                for j in range(start, stop):
                    near |= scale * sums[j] + loose * lengths[j] >= limit + least_squares[j]
            if near == 0:
                continue
            for j in range(start, stop):
                number = p_ids[j]
                above = limit * lengths[j] if cosine else limit + least_squares[j]
                if number == q_ids[row] or not scale * sums[j] + loose * lengths[j] >= above:
                    continue
                product = sums[j]
                if selects:
                    if not is_spread:
                        for p in range(begin, end):
                            spread[columns[p]] = data[p]
                        is_spread = True
                    product = _product(spread, p_columns, p_data, p_indptr[j], p_indptr[j + 1])
                distance = pair_distance(product, q_squares[row], p_squares[j], cosine)
                if distance < kth or (distance == kth and number < indices[row, last]):
                    if distance == np.inf:
                        continue
                    insert(distances, indices, row, distance, number)
                    kth = distances[row, last]
                    scale, limit, loose = _limits(kth, q_squares[row], gamma, cosine)
        if is_spread:
            for p in range(begin, end):
                spread[columns[p]] = 0.0
