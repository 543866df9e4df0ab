"""Exact k nearest neighbours of dense rows: float32 GEMM selects candidates, float64 decides.

A tile of inner products of float32 copies (centred, scaled by a power of two) gives an approximate
distance of each pair. With |x|, |y| the lengths of the copies, d columns and u = 2**-24, its error
is at most

    gamma (|x|^2 + |y|^2) + 2.1 delta (|x| + |y|) + delta^2 + tiny

where gamma = (d + 16) u / (1 - (d + 16) u) covers the product, summed in any order with or without
fused multiply-add (gamma_d: N. Higham, Accuracy and Stability of Numerical Algorithms, 2002,
section 3.1), the rounding of the copies and of the final difference (less than 9 u in all); delta,
for cosine, is the error of the float32 unit vectors of both rows; tiny is underflow. A pair whose
approximate distance less this bound is not above the k-th exact distance is measured exactly, in
float64 in an order that depends on the two rows alone. So the lists are the true first k by
(distance, row number) for any tiles, blocks, BLAS and threads. While a list is not full, the
(k + 1)-th smallest approximate distance of the tile, plus the bound, replaces the k-th exact one:
one of these rows may be the query itself.
"""

from __future__ import annotations

from collections.abc import Iterator
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
"""A tile of float32 products takes 2 MiB, so it stays in the second-level cache."""
CENTRE_SAMPLE = 255
MAX_COLUMNS = 2**20
"""With more columns the rounding bound is too wide to exclude pairs; such rows are sparse."""

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
    """Merge the rows `P` into the neighbour lists of the rows `Q`, in place.

    Rows of equal ids are no neighbours. With metric="cosine" rows of zeros have no neighbours and
    are none. 2 n m d float32 flops and about 1 ns a pair for the scan; 4 (n + m) d bytes.

    Parameters
    ----------
    Q, P
        Finite, C-contiguous float32 (n, d) and (m, d).
    q_ids, p_ids
        int64 (n,) and (m,): row numbers; -1 in `q_ids` for rows that are not among the points.
    distances, indices
        Neighbour lists of `Q`, float64 and int64 (n, k).
    metric
        "euclidean" or "cosine".
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
    for q, p, products in product_tiles(queries, points):
        p_error = float(p_errors[p : p + TILE_POINTS].max())
        _scan_tile(
            products, q, p, q_offsets, q_lengths, p_offsets, p_error, slope, bound.exact_error,
            Q, P, q_squares, p_squares, q_ids, p_ids, distances, indices, cosine,
        )  # fmt: skip


def product_tiles(Q: Float32, P: Float32) -> Iterator[tuple[int, int, Float32]]:
    """Yield (q, p, products): inner products of rows of Q from q on with rows of P from p on.

    GEMM on tiles of `TILE_QUERIES` x `TILE_POINTS`; the next tile overwrites the products.
    """
    tile = np.empty(TILE_QUERIES * TILE_POINTS, dtype=np.float32)
    for p in range(0, len(P), TILE_POINTS):
        columns = P[p : p + TILE_POINTS].T
        for q in range(0, len(Q), TILE_QUERIES):
            rows = Q[q : q + TILE_QUERIES]
            products = tile[: len(rows) * columns.shape[1]].reshape(len(rows), -1)
            np.matmul(rows, columns, out=products)
            yield q, p, products


class _Frame(NamedTuple):
    """The new origin, and the power of two that rows are scaled by."""

    scale: float
    centre: Float32


class _Bound(NamedTuple):
    """Terms of the error bound in the docstring of this module."""

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
    """Return the power of two that brings the largest magnitude into [0.5, 1)."""
    largest = max(float(np.max(np.abs(Q), initial=0)), float(np.max(np.abs(P), initial=0)))
    return 1.0 if largest == 0 else 2.0 ** -int(np.frexp(largest)[1])


def _centre(P: Float32, scale: float) -> Float32:
    """Return the median of a sample: any centre is correct, a central one gives tight bounds."""
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
    """Return what is added to a query's k-th distance to get the limit of its scan."""
    return (
        squares * (bound.gamma - 1.0)
        + 2.1 * bound.delta * np.sqrt(squares)
        + bound.delta**2
        + bound.tiny
    )


def _point_offsets(squares: Float64, bound: _Bound) -> Float32:
    """Return |y|^2 / 2 less the point's share of the bound, rounded down."""
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
    """Return half of the largest scan value of a nearer pair, rounded up to float32."""
    nearest = slope * kth
    slack = nearest * exact_error
    if cosine:
        slack += 2.0 * exact_error
    value = 0.5 * (nearest + slack + offset)
    value += abs(value) * 2.0**-22 + 2.0**-140
    return np.float32(value)


@numba.njit(nogil=True, cache=True)
def _scan_tile(
    products: Any, q: int, p: int, q_offsets: Any, q_lengths: Any, p_offsets: Any, p_error: float,
    slope: float, exact_error: float, Q: Any, P: Any, q_squares: Any, p_squares: Any, q_ids: Any,
    p_ids: Any, distances: Any, indices: Any, cosine: bool,
) -> None:  # fmt: skip
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
            continue  # the list is full of duplicates with smaller numbers than this tile's
        limit = _limit(kth, slope, exact_error, q_offsets[row], cosine)
        group_minima(products, i, p_offsets[p : p + n_points], minima)
        if kth == np.inf:
            # Twice the error: the offset is |y|^2 less it, and the true value may exceed it by it.
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
