"""Which rows are nearer to some queries than the neighbours that were found of them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.knn.cells import GROUP, group_minima
from ssl_dask.kernels.knn.exact_distance import exact_distance
from ssl_dask.kernels.knn.exact_sparse import update_nearest_sparse
from ssl_dask.kernels.knn.neighbour_lists import empty_lists

TILE_QUERIES = 256
TILE_POINTS = 2048
SLACK = 2e-6
"""Share of the squared lengths that rounding of float32 products may hide."""


def missed_neighbours(
    Q: Float32,
    Zq: Float32,
    found: Int64,
    kth: Float64,
    X: Float32,
    Z: Float32,
    nodes: Int64,
    metric: str,
    scale: float = 1.0,
) -> tuple[Int64, Float64]:
    """Return (query, exact distance) of each row nearer than a query's k-th that was not found.

    Parameters
    ----------
    Q, X
        float32 (m, d) and (n, d): queries and rows.
    Zq, Z
        float32 (m, s) and (n, s): the same as they are searched; distances in them are no larger
        than true ones (of unit vectors for cosine) times `scale`.
    found
        int64 (m, k): nodes in the queries' lists, and the query's own node in a further column.
    kth
        float64 (m,): distance of the last neighbour found, inf if the list is not full.
    nodes
        int64 (n,): node of each row; -1: nobody's neighbour.
    metric
        "euclidean" or "cosine".
    scale
        `Routing.scale`.

    Notes
    -----
    2 m n s flops.
    """
    cosine = metric == "cosine"
    q_squares = np.einsum("ij,ij->i", Zq, Zq)
    squares = np.einsum("ij,ij->i", Z, Z)
    # |z_q - z|^2 / 2 <= limit, where 1 - cos is half of the squared distance of unit vectors.
    limits = (1.0 + SLACK) * (kth if cosine else 0.5 * scale**2 * kth) + SLACK * q_squares
    half_squares = (0.5 - SLACK) * squares
    half_squares[nodes < 0] = np.inf
    tile = np.empty(TILE_QUERIES * TILE_POINTS, dtype=np.float32)
    queries: list[Any] = []
    points: list[Any] = []
    for p in range(0, len(Z), TILE_POINTS):
        columns = Z[p : p + TILE_POINTS].T
        for q in range(0, len(Zq), TILE_QUERIES):
            rows = Zq[q : q + TILE_QUERIES]
            products = tile[: len(rows) * columns.shape[1]].reshape(len(rows), -1)
            np.matmul(rows, columns, out=products)
            part = slice(q, q + len(rows))
            near = limits[part] - 0.5 * q_squares[part]
            hits = _below(products, half_squares[p : p + columns.shape[1]], near)
            queries.append(hits[0] + q)
            points.append(hits[1] + p)
    query, point = np.concatenate(queries), np.concatenate(points)
    distance, missed = _measured(Q, X, query, point, found, kth, nodes, cosine)
    return query[missed], distance[missed]


def missed_sparse_neighbours(
    Q: sp.csr_array, found: Int64, kth: Float64, X: sp.csr_array, nodes: Int64, metric: str
) -> tuple[Int64, Float64]:
    """Return (query, exact distance) of rows nearer than a query's k-th that were not found.

    Those among the k nearest rows of `X`: more cannot be among the k nearest of all.

    Parameters
    ----------
    Q, X
        csr_array float32 (m, d) and (n, d): queries and rows.
    found
        int64 (m, k + 1): nodes in the queries' lists, and the query's own node last.
    kth
        float64 (m,): distance of the last neighbour found, inf if the list is not full.
    nodes
        int64 (n,): node of each row; -1: nobody's neighbour.
    metric
        "euclidean" or "cosine".

    Notes
    -----
    The cost of `update_nearest_sparse`.
    """
    kept = np.flatnonzero(nodes >= 0)
    distances, near = empty_lists(Q.shape[0], found.shape[1] - 1)
    update_nearest_sparse(Q, found[:, -1], X[kept], nodes[kept], distances, near, metric)
    missed = (near >= 0) & (distances < kth[:, None])
    for column in found.T:
        missed &= near != column[:, None]
    query, place = np.nonzero(missed)
    return query, distances[query, place]


@numba.njit(nogil=True, cache=True)
def _below(products: Any, half_squares: Any, limits: Any) -> Any:
    """Return (rows, columns) of products with |y|^2 / 2 - x y at most the row's limit."""
    n, m = products.shape
    rows = np.empty(1024, np.int64)
    columns = np.empty(1024, np.int64)
    count = 0
    minima = np.empty(-(-m // GROUP), np.float32)
    for i in range(n):
        group_minima(products, i, half_squares, minima)
        for g in range(len(minima)):
            if minima[g] > limits[i]:
                continue
            for j in range(g * GROUP, min(g * GROUP + GROUP, m)):
                if half_squares[j] - products[i, j] > limits[i] or half_squares[j] == np.inf:
                    continue
                if count == len(rows):
                    rows = np.concatenate((rows, rows))
                    columns = np.concatenate((columns, columns))
                rows[count] = i
                columns[count] = j
                count += 1
    return rows[:count], columns[:count]


@numba.njit(nogil=True, cache=True)
def _measured(
    Q: Any, X: Any, query: Any, point: Any, found: Any, kth: Any, nodes: Any, cosine: bool
) -> Any:
    distances = np.empty(len(query), np.float64)
    missed = np.zeros(len(query), np.bool_)
    for e in range(len(query)):
        q = query[e]
        known = False
        for t in range(found.shape[1]):
            known = known or found[q, t] == nodes[point[e]]
        if known:
            continue
        distances[e] = exact_distance(Q[q], X[point[e]], cosine)
        missed[e] = distances[e] < kth[q]
    return distances, missed
