"""Neighbour graphs the plain way: all distances in float64, sorted by (distance, row number)."""

from __future__ import annotations

import numpy as np


def squared_distances(X, Y):
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    return np.stack([((x - Y) ** 2).sum(axis=1) for x in X])


def cosine_distances(X, Y):
    """Return 1 - cos, inf where a row is zero."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    scale = np.sqrt((X * X).sum(axis=1)[:, None] * (Y * Y).sum(axis=1)[None, :])
    products = np.stack([(x * Y).sum(axis=1) for x in X])
    out = np.full(scale.shape, np.inf)
    out[scale > 0] = np.maximum(1.0 - products[scale > 0] / scale[scale > 0], 0.0)
    return out


def nearest(distances, k, *, without_self=True):
    """Return (distances, indices) of the k nearest columns of each row; inf and -1 if fewer."""
    n, m = distances.shape
    best = np.full((n, k), np.inf)
    index = np.full((n, k), -1)
    for i in range(n):
        row = [
            (distances[i, j], j)
            for j in range(m)
            if np.isfinite(distances[i, j]) and not (without_self and i == j)
        ]
        for place, (distance, j) in enumerate(sorted(row)[:k]):
            best[i, place], index[i, place] = distance, j
    return best, index


def weight_matrix(best, index, n, *, weights="gaussian", symmetrize="average"):
    """Return the dense symmetric weights of neighbour lists of squared distances."""
    last = np.array(
        [row[ids >= 0].max() for row, ids in zip(best, index, strict=True) if (ids >= 0).any()]
    )
    floor = 1e-6 * np.sort(last)[(len(last) - 1) // 2] if len(last) else 0.0
    W = np.zeros((n, n))
    for i in range(len(best)):
        there = index[i] >= 0
        if not there.any():
            continue
        scale = max(best[i][there].max(), floor)
        for distance, j in zip(best[i][there], index[i][there], strict=True):
            W[i, j] = 1.0
            if weights == "gaussian" and scale > 0:
                W[i, j] = np.exp(-4.0 * distance / scale)
    return np.maximum(W, W.T) if symmetrize == "union" else (W + W.T) / 2
