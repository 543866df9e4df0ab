"""Neighbour lists -> weighted edges -> rows of a symmetric weight matrix."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.kernels.neighbour_lists import Distances, RowIds
from ssl_dask.kernels.sparse_rows import index_dtype, with_index_dtype

WEIGHTS = ("gaussian", "uniform")
SYMMETRIZE = ("average", "union")
FLOOR_SHARE = 1e-3
"""Least d_k, as a share of the median d_k."""
MEDIAN_ROWS = 2**20
"""The median d_k is that of at most so many rows, evenly spread by row number."""


class Edges(NamedTuple):
    """Edges from the rows of a strip to rows of another: int row and column, float32 weight."""

    rows: npt.NDArray[Any]
    columns: npt.NDArray[Any]
    weights: npt.NDArray[np.float32]


def last_distances(distances: Distances, first_row: int, every: int) -> Distances:
    """Return the distance to the last neighbour of rows 0, `every`, 2 `every`, ... of the graph.

    Parameters
    ----------
    distances
        float64 (n, k) lists of the rows `first_row`, `first_row + 1`, ...

    Returns
    -------
    float64 array: one a chosen row that has a neighbour.
    """
    chosen = distances[-first_row % every :: every]
    last = np.where(np.isfinite(chosen), chosen, -1.0).max(axis=1, initial=-1.0)
    return last[last >= 0]


def distance_floor(last: list[Distances]) -> float:
    """Return the least d_k^2 that a gaussian weight is scaled by: (1e-3 median d_k)^2.

    The median is an element (the lower of the two middle ones), so it does not depend on the
    order of the parts; 0 if no row has a neighbour.
    """
    together = np.concatenate(last)
    if len(together) == 0:
        return 0.0
    middle = (len(together) - 1) // 2
    return float(np.partition(together, middle)[middle]) * FLOOR_SHARE**2


def edge_weights(
    distances: Distances, indices: RowIds, weights: str, floor: float
) -> npt.NDArray[np.float32]:
    """Return the weight of each place of the lists, float32 (n, k); 0 where there is nobody.

    "gaussian" is exp(-4 d^2 / d_k^2) with d_k the distance to the row's last neighbour, at least
    the square root of `floor` (Calder, Cook, Thorpe and Slepcev, Poisson Learning, ICML 2020); it
    is 1 at distance 0. "uniform" is 1.

    Parameters
    ----------
    distances
        float64 (n, k) lists of d^2; for cosine (1 - cos) = d^2 / 2 of the unit vectors, which has
        the same ratio.
    floor
        As `distance_floor` gives it.
    """
    if weights == "uniform":
        return (indices >= 0).astype(np.float32)
    return _gaussian(distances, indices, floor)


def edges_by_strip(
    indices: RowIds,
    weights: npt.NDArray[np.float32],
    first_row: int,
    starts: npt.NDArray[np.int64],
    n_rows: int,
) -> tuple[Edges, ...]:
    """Return the edges of the lists turned round, for each strip those that end in it.

    Parameters
    ----------
    indices, weights
        Lists (n, k) of the rows `first_row`, `first_row + 1`, ... and the weight of each place.
    starts
        int64 array: the first row of each strip, ascending.
    n_rows
        Rows N of the graph.

    Returns
    -------
    One `Edges` a strip; `rows` count from the strip's first row, `columns` are row numbers.
    """
    ends = indices.ravel()
    there = ends >= 0
    owners = np.repeat(np.arange(len(indices), dtype=np.int64) + first_row, indices.shape[1])[there]
    ends, w = ends[there], weights.ravel()[there]
    strip = np.searchsorted(starts, ends, side="right") - 1
    order = np.argsort(strip, kind="stable")
    ends, owners, w, strip = ends[order], owners[order], w[order], strip[order]
    bounds = np.searchsorted(strip, np.arange(len(starts) + 1))
    dtype = index_dtype(n_rows)
    return tuple(
        Edges(
            (ends[a:b] - starts[number]).astype(dtype),
            owners[a:b].astype(dtype),
            w[a:b].copy(),
        )
        for number, (a, b) in enumerate(pairwise(bounds))
    )


def symmetric_strip(
    indices: RowIds,
    weights: npt.NDArray[np.float32],
    incoming: list[Edges],
    n_rows: int,
    symmetrize: str,
) -> sp.csr_array:
    """Return the rows of (W + W^T) / 2 ("average") or max(W, W^T) ("union") of one strip.

    Both are the same for w_ij and w_ji, bit for bit, whatever the strips.

    Parameters
    ----------
    indices, weights
        Lists (n, k) of the strip's rows and the weight of each place: its rows of W.
    incoming
        From every strip, the edges that end in this one: its rows of W^T.

    Returns
    -------
    csr_array float32 (n, N), columns sorted.
    """
    shape = (len(indices), n_rows)
    own = _canonical(
        np.repeat(np.arange(len(indices), dtype=index_dtype(n_rows)), indices.shape[1]),
        indices.ravel().astype(index_dtype(n_rows)),
        weights.ravel(),
        shape,
    )
    turned = _canonical(
        np.concatenate([edges.rows for edges in incoming]),
        np.concatenate([edges.columns for edges in incoming]),
        np.concatenate([edges.weights for edges in incoming]),
        shape,
    )
    if symmetrize == "union":
        strip = own.maximum(turned)
    else:
        strip = own + turned
        strip.data *= np.float32(0.5)
    strip = sp.csr_array(strip)
    strip.sort_indices()
    return with_index_dtype(strip)


def _canonical(
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    weights: npt.NDArray[np.float32],
    shape: tuple[int, int],
) -> sp.csr_array:
    there = columns >= 0
    matrix = sp.coo_array((weights[there], (rows[there], columns[there])), shape=shape).tocsr()
    matrix.sort_indices()
    return matrix


@numba.njit(nogil=True, cache=True)
def _gaussian(distances: Any, indices: Any, floor: float) -> Any:
    n, k = distances.shape
    weights = np.zeros((n, k), np.float32)
    for i in range(n):
        last = 0.0
        for j in range(k):
            if indices[i, j] >= 0:
                last = distances[i, j]
        scale = max(last, floor)
        for j in range(k):
            if indices[i, j] >= 0:
                weights[i, j] = 1.0 if scale == 0 else np.exp(-4.0 * distances[i, j] / scale)
    return weights
