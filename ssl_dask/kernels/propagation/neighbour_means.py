"""Out-of-sample extension: weighted means of the distributions of training rows for new rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.graph.edge_weights import edge_weights
from ssl_dask.kernels.knn.exact_sparse import squared_distances

BATCH_BYTES = 2**24
TINY = np.finfo(np.float32).tiny


def nearest_means(squares: Float64, indices: Int64, F: Float32, weights: str) -> Float32:
    """Return the weighted mean distribution of each row's nearest training rows, float32 (m, C).

    Training rows without evidence are skipped; a row without any other neighbours is zero.

    Parameters
    ----------
    squares
        float64 (m, k): squared distances (or 1 - cos), ascending.
    indices
        int64 (m, k): row numbers; -1 in empty entries.
    F
        float32 (N, C): distributions of the training rows.
    weights
        One of `edge_weights.WEIGHTS`, as in the graph. A scale of a training row is taken to be
        that of the new row.
    """
    w = edge_weights(squares, indices, weights)
    return normalise_rows(_add_chosen(w, indices, np.ascontiguousarray(F)))


def radial_means(X_new: Any, X: Any, F: Float32, gamma: float) -> Float32:
    """Return the mean of F over all training rows, weighted by exp(-gamma d^2), float32 (m, C).

    A row without a training row with evidence that an edge of the rbf graph would join it with is
    zero: all weights are below the smallest normal float32. m N d flops in float64; the bits of a
    row do not depend on the others.

    Parameters
    ----------
    X_new, X
        float32 (m, d) and (N, d), both dense and C-contiguous, or both csr_array.
    F
        float32 (N, C): distributions of the training rows.
    """
    some = np.flatnonzero(F.any(axis=1))
    if len(some) == 0:
        return np.zeros((X_new.shape[0], F.shape[1]), dtype=np.float32)
    X, F = X[some], np.ascontiguousarray(F[some])
    n_batch = max(BATCH_BYTES // (8 * len(some)), 1)
    parts = [
        _add_radial(squared_distances(X_new[first : first + n_batch], X), F, gamma)
        for first in range(0, X_new.shape[0], n_batch)
    ]
    return normalise_rows(np.concatenate(parts))


@numba.njit(nogil=True, cache=True)
def _add_radial(squares: Any, F: Any, gamma: float) -> Any:
    sums = np.zeros((squares.shape[0], F.shape[1]), np.float64)
    for i in range(squares.shape[0]):
        nearest = squares[i].min()
        if np.float32(np.exp(-gamma * nearest)) < TINY:
            continue
        # Relative to the nearest one: no sum of tiny weights loses digits.
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
