"""Exact nearest neighbours of dense rows: float32 matrix products decide whom to look at, float64
differences decide who is near.

A tile of inner products of float32 copies (moved near the origin, scaled by a power of two) gives
an approximate distance of each pair. With |x|, |y| the lengths of the moved copies, d columns and
u = 2**-24, its distance from the true one is at most

    gamma (|x|^2 + |y|^2) + 2.1 delta (|x| + |y|) + delta^2 + tiny

where gamma = (d + 16) u / (1 - (d + 16) u) covers the product, summed in any order with or without
fused multiply-add (gamma_d: Higham, Accuracy and Stability of Numerical Algorithms, 2002, section
3.1), the rounding of the moved copies and of the final difference (less than 9 u in all); delta,
for cosine, is what the float32 unit vectors of both rows are off; and tiny is underflow. A pair
whose approximate distance less this bound is not above the k-th exact distance is measured
exactly, in float64 in an order that depends on nothing but the two rows. So the lists are the true
first k by (distance, row number), whatever the tiles, the blocks, the BLAS and the threads. Where a
list is still empty, the (k + 1)-th smallest approximate distance in the tile, plus the bound, takes
the place of the k-th exact one: one of those rows may be the query itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.knn.cells import GROUP, group_minima, kth_smallest
from ssl_dask.kernels.knn.exact_distance import (
    cosine_distance,
    inner_product,
    squared_distance,
    squared_lengths,
)
from ssl_dask.kernels.knn.neighbour_lists import insert

TILE_QUERIES = 256
TILE_POINTS = 2048
"""A tile of float32 products is 2 MiB: it stays in the second-level cache."""
CENTRE_SAMPLE = 255
MAX_COLUMNS = 2**20
"""Above this the rounding bound gets too wide to be of use; such rows are sparse ones."""

_U = 2.0**-24
_UNIT_VECTOR_ERROR = 2.5 * _U
_TINY = 2.0**-126


def update_nearest(
    Q: Float32,
    q_ids: Int64,
    P: Float32,
    p_ids: Int64,
    distances: Float64,
    indices: Int64,
    metric: str = "euclidean",
) -> None:
    """Bring the neighbour lists of the rows `Q` up to date with the rows `P`, in place.

    A row is no neighbour of itself (equal ids). With metric="cosine" a row of zeros has no
    neighbours and is nobody's neighbour.

    Parameters
    ----------
    Q, P
        float32 arrays (n, d) and (m, d), C-contiguous and finite.
    q_ids, p_ids
        int64 arrays (n,) and (m,): row numbers; -1 in `q_ids` for rows that are not among the
        points.
    distances, indices
        Lists of the rows `Q`; see `neighbour_lists`.
    metric
        "euclidean" or "cosine".

    Notes
    -----
    2 n m d flops in float32, about 1 ns a pair for the scan; 4 (n + m) d bytes beside the
    arguments.
    """
    if len(Q) == 0 or len(P) == 0:
        return
    cosine = metric == "cosine"
    q_squares, p_squares = squared_lengths(Q), squared_lengths(P)
    if cosine:
        Q_near, P_near = _unit_rows(Q, q_squares), _unit_rows(P, p_squares)
        frame = _Frame(1.0, _centre(P_near, 1.0))
    else:
        Q_near, P_near = Q, P
        scale = _scale(Q, P)
        frame = _Frame(scale, _centre(P, scale))
    d = Q.shape[1]
    bound = _Bound.of(d, cosine)
    points = _moved(P_near, frame)
    queries = points if Q is P else _moved(Q_near, frame)
    q_lengths = squared_lengths(queries)
    q_offsets = _query_offsets(q_lengths, bound)
    lengths = squared_lengths(points)
    p_offsets = _point_offsets(lengths, bound)
    p_errors = bound.gamma * lengths + 2.1 * bound.delta * np.sqrt(lengths) + _U * lengths
    if cosine:
        p_offsets[p_squares == 0] = np.inf
    slope = 2.0 if cosine else frame.scale**2
    tile = np.empty(TILE_QUERIES * TILE_POINTS, dtype=np.float32)
    for p in range(0, len(P), TILE_POINTS):
        columns = points[p : p + TILE_POINTS].T
        p_error = float(p_errors[p : p + TILE_POINTS].max())
        for q in range(0, len(Q), TILE_QUERIES):
            rows = queries[q : q + TILE_QUERIES]
            shape = (len(rows), columns.shape[1])
            products = tile[: shape[0] * shape[1]].reshape(shape)
            np.matmul(rows, columns, out=products)
            _scan_tile(
                products,
                q,
                p,
                q_offsets,
                q_lengths,
                p_offsets,
                p_error,
                slope,
                bound.exact_error,
                Q,
                P,
                q_squares,
                p_squares,
                q_ids,
                p_ids,
                distances,
                indices,
                cosine,
            )


class _Frame(NamedTuple):
    """Where the origin is put and by which power of two rows are scaled."""

    scale: float
    centre: Float32


class _Bound(NamedTuple):
    """The parts of the error bound of this module's docstring."""

    gamma: float
    delta: float
    tiny: float
    exact_error: float

    @classmethod
    def of(cls, d: int, cosine: bool) -> _Bound:
        relative = (d + 16) * _U
        return cls(
            gamma=relative / (1.0 - relative),
            delta=_UNIT_VECTOR_ERROR if cosine else 0.0,
            tiny=16.0 * (d + 1) * _TINY,
            exact_error=(d + 16) * 2.0**-52,
        )


def _scale(Q: Float32, P: Float32) -> float:
    """Return the power of two that brings the largest absolute value to between 0.5 and 1."""
    largest = max(float(np.max(np.abs(Q), initial=0)), float(np.max(np.abs(P), initial=0)))
    return 1.0 if largest == 0 else 2.0 ** -int(np.frexp(largest)[1])


def _centre(P: Float32, scale: float) -> Float32:
    """Return the median of some rows: any centre is right, one amid the rows is the fastest."""
    sample = P[:: max(len(P) // CENTRE_SAMPLE, 1)].astype(np.float64) * scale
    return np.median(sample, axis=0).astype(np.float32)


def _moved(X: Float32, frame: _Frame) -> Float32:
    # In float64 the scaling cannot overflow or underflow; one rounding to float32 remains.
    moved = np.empty_like(X)
    step = max(2**16 // max(X.shape[1], 1), 1)
    for start in range(0, len(X), step):
        part = slice(start, start + step)
        moved[part] = X[part].astype(np.float64) * frame.scale - frame.centre
    return moved


def _query_offsets(squares: Float64, bound: _Bound) -> Float64:
    """Return what is added to a row's k-th distance to get the limit of its scan."""
    return (
        squares * (bound.gamma - 1.0)
        + 2.1 * bound.delta * np.sqrt(squares)
        + bound.delta**2
        + bound.tiny
    )


def _point_offsets(squares: Float64, bound: _Bound) -> Float32:
    """Return half of |y|^2 less the point's share of the bound, rounded down."""
    lower = squares * (0.5 - 0.5 * bound.gamma) - 1.05 * bound.delta * np.sqrt(squares)
    return np.nextafter(lower.astype(np.float32), np.float32(-np.inf))


@numba.njit(nogil=True, cache=True)
def _unit_rows(X: Any, squares: Any) -> Any:
    unit = np.zeros(X.shape, np.float32)
    for i in range(X.shape[0]):
        if squares[i] > 0:
            length = np.sqrt(squares[i])
            for c in range(X.shape[1]):
                unit[i, c] = X[i, c] / length
    return unit


@numba.njit(nogil=True, cache=True)
def _limit(kth: float, slope: float, exact_error: float, offset: float, cosine: bool) -> Any:
    """Return half of the largest scan value a nearer pair can have, rounded up to float32."""
    nearest = slope * kth
    slack = nearest * exact_error
    if cosine:
        slack += 2.0 * exact_error
    value = 0.5 * (nearest + slack + offset)
    value += abs(value) * 2.0**-22 + 2.0**-140
    return np.float32(value)


@numba.njit(nogil=True, cache=True)
def _scan_tile(
    products: Any,
    q: int,
    p: int,
    q_offsets: Any,
    q_lengths: Any,
    p_offsets: Any,
    p_error: float,
    slope: float,
    exact_error: float,
    Q: Any,
    P: Any,
    q_squares: Any,
    p_squares: Any,
    q_ids: Any,
    p_ids: Any,
    distances: Any,
    indices: Any,
    cosine: bool,
) -> None:
    n_points = products.shape[1]
    last = distances.shape[1] - 1
    minima = np.empty(-(-n_points // GROUP), np.float32)
    best = np.empty(last + 2, np.float32)
    smallest_id = np.min(p_ids[p : p + n_points])
    for i in range(products.shape[0]):
        row = q + i
        if cosine and q_squares[row] == 0:
            continue
        kth = distances[row, last]
        if kth == 0 and smallest_id > indices[row, last]:
            continue  # a list full of duplicates: nobody in this tile comes before them
        limit = _limit(kth, slope, exact_error, q_offsets[row], cosine)
        group_minima(products, i, p_offsets[p : p + n_points], minima)
        if kth == np.inf:
            # Twice the error: an offset is |y|^2 less it, and the true value may be above by it.
            lower = np.float64(kth_smallest(minima, last + 2, best))
            error = q_offsets[row] + q_lengths[row] + 2.0 * p_error
            found = (2.0 * lower + q_lengths[row] + error) / slope
            limit = min(limit, _limit(found, slope, exact_error, q_offsets[row], cosine))
        for g in range(len(minima)):
            if minima[g] > limit:
                continue
            for j in range(g * GROUP, min(g * GROUP + GROUP, n_points)):
                if p_offsets[p + j] - products[i, j] > limit:
                    continue
                point = p + j
                number = p_ids[point]
                if number == q_ids[row]:
                    continue
                if kth == 0 and number > indices[row, last]:
                    continue
                if cosine:
                    if p_squares[point] == 0:
                        continue
                    product = inner_product(Q[row], P[point])
                    distance = cosine_distance(product, q_squares[row], p_squares[point])
                else:
                    distance = squared_distance(Q[row], P[point])
                if distance < kth or (distance == kth and number < indices[row, last]):
                    insert(distances, indices, row, distance, number)
                    kth = distances[row, last]
                    closer = _limit(kth, slope, exact_error, q_offsets[row], cosine)
                    limit = min(limit, closer)
