"""Recall of approximate kNN: rows nearer to a query than its k-th neighbour that were not found."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.knn.cells import GROUP, group_minima
from ssl_dask.kernels.knn.exact_dense import product_tiles
from ssl_dask.kernels.knn.exact_distance import exact_distance
from ssl_dask.kernels.knn.exact_sparse import update_nearest_sparse
from ssl_dask.kernels.knn.neighbour_lists import empty_lists

SLACK = 2e-6
"""Bound of the rounding of float32 products, as a share of the squared lengths."""


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

    2 m n s flops.

    Parameters
    ----------
    Q, X
        float32 (m, d) and (n, d): queries and rows.
    Zq, Z
        float32 (m, s) and (n, s): `Routing.searchable` of them; their distances are at most the
        true ones (of unit vectors for cosine) times `scale`.
    found
        int64 (m, k + 1): nodes of the neighbours found, and last the query's own node.
    kth
        float64 (m,): distance of the last neighbour found, inf if the list is not full.
    nodes
        int64 (n,): node of each row; rows with -1 are skipped.
    metric
        "euclidean" or "cosine".
    scale
        Of the routing.
    """
    cosine = metric == "cosine"
    q_squares = np.einsum("ij,ij->i", Zq, Zq)
    squares = np.einsum("ij,ij->i", Z, Z)
    # |z_q - z|^2 / 2 <= limit, where 1 - cos is half of the squared distance of unit vectors.
    limits = (1.0 + SLACK) * (kth if cosine else 0.5 * scale**2 * kth) + SLACK * q_squares
    half_squares = (0.5 - SLACK) * squares
    half_squares[nodes < 0] = np.inf
    queries: list[Any] = []
    points: list[Any] = []
    for q, p, products in product_tiles(Zq, Z):
        part = slice(q, q + products.shape[0])
        near = limits[part] - 0.5 * q_squares[part]
        hits = _below(products, half_squares[p : p + products.shape[1]], near)
        queries.append(hits[0] + q)
        points.append(hits[1] + p)
    query, point = np.concatenate(queries), np.concatenate(points)
    distance, missed = _measured(Q, X, query, point, found, kth, nodes, cosine)
    return query[missed], distance[missed]


def missed_sparse_neighbours(
    Q: sp.csr_array, found: Int64, kth: Float64, X: sp.csr_array, nodes: Int64, metric: str
) -> tuple[Int64, Float64]:
    """Return (query, exact distance) of rows nearer than a query's k-th that were not found.

    Only the k nearest rows of `X` are returned: no others can be among the k nearest of all rows.
    Costs as much as `update_nearest_sparse`. The arguments are those of `missed_neighbours`, `Q`
    and `X` as csr_array.
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
    """Return (row, column) of all products with |y|^2 / 2 - x y at most the row's limit."""
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
