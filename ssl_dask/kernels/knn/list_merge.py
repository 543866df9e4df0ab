"""Neighbours found elsewhere enter a row's list."""

from __future__ import annotations

from typing import Any

import numba

from ssl_dask.array_types import Float64, Int64
from ssl_dask.kernels.knn.neighbour_lists import insert


def add_edges(
    rows: Int64, points: Int64, values: Float64, distances: Float64, indices: Int64
) -> None:
    """Offer edges to lists, in place; a point that is in the list already is passed over.

    Parameters
    ----------
    rows
        int64 (e,): places in the lists.
    points, values
        int64 (e,) and float64 (e,): neighbours and their distances.
    distances, indices
        Lists (n, k).
    """
    _add_edges(rows, points, values, distances, indices)


@numba.njit(nogil=True, cache=True)
def _add_edges(rows: Any, points: Any, values: Any, distances: Any, indices: Any) -> None:
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
