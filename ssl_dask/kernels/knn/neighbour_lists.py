"""The k nearest rows found so far of each of n rows: two arrays, sorted by (distance, row number).

`distances` is float64 (n, k), ascending; `indices` int64 (n, k). Places not taken are inf and -1,
last. What is called a distance here is the squared Euclidean distance, or for metric="cosine"
1 - cos, which is half of the squared distance of the rows scaled to unit length.
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
    """Return lists (n_rows, n_neighbors) without any neighbour yet."""
    shape = (n_rows, n_neighbors)
    return np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)


@numba.njit(nogil=True, cache=True)
def insert(distances: Any, indices: Any, row: int, distance: float, number: int) -> None:
    """Put (distance, number), known to be before the last of list `row`, in its place."""
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
