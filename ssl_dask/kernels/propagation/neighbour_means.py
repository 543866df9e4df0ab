"""Weighted means of the distributions of training rows, for rows that came later."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.graph.edge_weights import edge_weights
from ssl_dask.kernels.knn.exact_distance import squared_distance
from ssl_dask.kernels.knn.exact_sparse import squared_lengths_sparse

BATCH_BYTES = 2**24


def nearest_means(squares: Float64, indices: Int64, F: Float32, weights: str) -> Float32:
    """Return the mean distribution of each row's nearest training rows, float32 (m, C).

    Training rows are weighed as the edges of the graph are. A training row without evidence says
    nothing; a row all of whose neighbours say nothing is zero.

    Parameters
    ----------
    squares
        float64 (m, k): squared distances (or 1 - cos), ascending.
    indices
        int64 (m, k): row numbers; -1 in empty places.
    F
        float32 (N, C): distributions of the training rows.
    weights
        As for the graph; where they depend on the scales of both ends, the training row is taken
        to have that of the new row.
    """
    w = edge_weights(squares, indices, weights)
    return normalise_rows(_add_chosen(w, indices, np.ascontiguousarray(F)))


def radial_means(X_new: Any, X: Any, F: Float32, gamma: float) -> Float32:
    """Return the mean of F over all training rows, weighed by exp(-gamma d^2), float32 (m, C).

    The weights are taken relative to that of the nearest training row that has evidence, so that
    a row far from all others still gets an answer.

    Parameters
    ----------
    X_new, X
        float32 (m, d) and (N, d), both dense and C-contiguous, or both csr_array.
    F
        float32 (N, C): distributions of the training rows.

    Notes
    -----
    m N d multiplications in float64, in an order that does not depend on m.
    """
    some = np.flatnonzero(F.any(axis=1))
    if len(some) == 0:
        return np.zeros((X_new.shape[0], F.shape[1]), dtype=np.float32)
    X, F = X[some], np.ascontiguousarray(F[some])
    n_batch = max(BATCH_BYTES // (8 * len(some)), 1)
    parts = [
        _add_radial(_squares(X_new[first : first + n_batch], X), F, gamma)
        for first in range(0, X_new.shape[0], n_batch)
    ]
    return normalise_rows(np.concatenate(parts))


def _squares(Q: Any, P: Any) -> Float64:
    if not sp.issparse(Q):
        return _dense_squares(Q, P)
    products = (Q.astype(np.float64) @ P.astype(np.float64).T).toarray()
    sums = squared_lengths_sparse(Q)[:, None] + squared_lengths_sparse(P)[None, :]
    return np.maximum(sums - 2.0 * products, 0.0)


@numba.njit(nogil=True, cache=True)
def _dense_squares(Q: Any, P: Any) -> Any:
    squares = np.empty((Q.shape[0], P.shape[0]), np.float64)
    for i in range(Q.shape[0]):
        for j in range(P.shape[0]):
            squares[i, j] = squared_distance(Q[i], P[j])
    return squares


@numba.njit(nogil=True, cache=True)
def _add_radial(squares: Any, F: Any, gamma: float) -> Any:
    sums = np.zeros((squares.shape[0], F.shape[1]), np.float64)
    for i in range(squares.shape[0]):
        nearest = squares[i].min()
        for j in range(squares.shape[1]):
            weight = np.exp(-gamma * (squares[i, j] - nearest))
            for c in range(F.shape[1]):
                sums[i, c] += weight * F[j, c]
    return sums


@numba.njit(nogil=True, cache=True)
def _add_chosen(weights: Any, indices: Any, F: Any) -> Any:
    sums = np.zeros((indices.shape[0], F.shape[1]), np.float64)
    for i in range(indices.shape[0]):
        for k in range(indices.shape[1]):
            if indices[i, k] >= 0:
                for c in range(F.shape[1]):
                    sums[i, c] += np.float64(weights[i, k]) * F[indices[i, k], c]
    return sums
