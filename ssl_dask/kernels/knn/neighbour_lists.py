"""Neighbour lists: the k nearest rows found so far of n rows, sorted by (distance, row number).

`distances` is float64 (n, k), ascending; `indices` int64 (n, k). Empty entries, inf and -1, come
last. A distance is the squared Euclidean distance, or for metric="cosine" 1 - cos, which is half
the squared distance of the rows scaled to unit length.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Float64, Int64

METRICS = ("euclidean", "cosine")

Distances = Float64
RowIds = Int64


def empty_lists(n_rows: int, n_neighbors: int) -> tuple[Float64, Int64]:
    """Return empty lists, (distances, indices) of shape (n_rows, n_neighbors)."""
    shape = (n_rows, n_neighbors)
    return np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)


@numba.njit(nogil=True, cache=True)
def insert(distances: Any, indices: Any, row: int, distance: float, number: int) -> None:
    """Insert (distance, number), which must precede the last entry of list `row`."""
    place = distances.shape[1] - 1
    while place > 0 and (
        distances[row, place - 1] > distance
        or (distances[row, place - 1] == distance and indices[row, place - 1] > number)
    ):
        distances[row, place] = distances[row, place - 1]
        indices[row, place] = indices[row, place - 1]
        place -= 1
    distances[row, place] = distance
    indices[row, place] = number


@numba.njit(nogil=True, cache=True)
def add_edges(rows: Any, points: Any, values: Any, distances: Any, indices: Any) -> None:
    """Merge edges into lists in place; a neighbour that a list already has is skipped. Costs e k.

    Parameters
    ----------
    rows
        int64 (e,): which list.
    points, values
        int64 (e,) and float64 (e,): neighbours and their distances.
    distances, indices
        Lists (n, k).

    Examples
    --------
    >>> distances, indices = empty_lists(1, 2)
    >>> add_edges(np.array([0, 0, 0]), np.array([5, 4, 6]), np.array([2.0, 1.0, 9.0]),
    ...           distances, indices)
    >>> distances.tolist(), indices.tolist()
    ([[1.0, 2.0]], [[4, 5]])
    """
    k = distances.shape[1]
    for e in range(len(rows)):
        row, point, value = rows[e], points[e], values[e]
        kth, last = distances[row, k - 1], indices[row, k - 1]
        if value > kth or (value == kth and point >= last and last >= 0):
            continue
        known = False
        for t in range(k):
            known = known or indices[row, t] == point
        if not known:
            insert(distances, indices, row, value, point)
