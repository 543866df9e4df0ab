"""Neighbour graphs the plain way: all distances in float64, sorted by (distance, row number)."""

from __future__ import annotations

import numpy as np


def squared_distances(X, Y):
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    return np.array([[float(np.sum((x - y) ** 2)) for y in Y] for x in X]).reshape(len(X), len(Y))


def cosine_distances(X, Y):
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    out = np.full((len(X), len(Y)), np.inf)
    for i, x in enumerate(X):
        for j, y in enumerate(Y):
            scale = np.sqrt(np.sum(x * x) * np.sum(y * y))
            if scale > 0:
                out[i, j] = max(0.0, 1.0 - float(np.sum(x * y)) / scale)
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
