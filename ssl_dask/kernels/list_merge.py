"""Neighbour lists of the same rows from several places -> one list a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba

from ssl_dask.kernels.neighbour_lists import Distances, RowIds, empty_lists, insert


def merged_lists(
    distances: Sequence[Distances], indices: Sequence[RowIds], n_neighbors: int
) -> tuple[Distances, RowIds]:
    """Return the first k of several lists a row, by (distance, number); lists share no point.

    Parameters
    ----------
    distances, indices
        Lists of the same n rows, as `neighbour_lists` describes them.
    """
    merged = empty_lists(len(distances[0]), n_neighbors)
    for more_distances, more_indices in zip(distances, indices, strict=True):
        _add_lists(more_distances, more_indices, *merged)
    return merged


def add_edges(
    rows: RowIds, points: RowIds, values: Distances, distances: Distances, indices: RowIds
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
def _add_lists(more_distances: Any, more_indices: Any, distances: Any, indices: Any) -> None:
    last = distances.shape[1] - 1
    for i in range(len(distances)):
        for t in range(more_distances.shape[1]):
            distance, number = more_distances[i, t], more_indices[i, t]
            if number < 0 or distance > distances[i, last]:
                break
            if distance < distances[i, last] or number < indices[i, last]:
                insert(distances, indices, i, distance, number)


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
