"""The cells of a shard and the lists of its rows: what dense and sparse searches share.

A local join (Dong, Moses and Li, Efficient k-nearest neighbor graph construction, WWW 2011) brings
each row together with the neighbours of its neighbours, and with rows that it is a neighbour of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.kernels.knn.cells import (
    SKEW,
    balanced_groups,
    k_means,
    nearly_nearest_cells,
    split_cells,
)

ROWS_PER_CENTRE = 32
K_MEANS_ITERATIONS = 3
"""Less work than for routing: better cells of a shard find no more neighbours."""


@dataclass(frozen=True)
class CellEffort:
    """How hard a shard is searched: more finds more of the true neighbours.

    Parameters
    ----------
    cell_rows
        Rows a cell should have; 300 to 500 balance the products against the choice of cells.
    n_probes
        Cells that a row is compared with, its own among them.
    n_joined
        Neighbours, and rows that have it as neighbour, through which a row meets their first
        `n_joined` neighbours; 0 leaves this out.
    n_rounds
        Rounds of that.
    """

    cell_rows: int = 400
    n_probes: int = 10
    n_joined: int = 15
    n_rounds: int = 1


class ShardCells(NamedTuple):
    """The cells of a shard, near ones one after the other.

    Parameters
    ----------
    order
        int64 (n,): rows by cell, and in a cell those first that are searched for.
    starts
        int64 (m + 1,): where each cell begins in `order`.
    probes
        int32 (n, p): the cells nearest to each row, its own first; of rows that are not searched
        for only the first column.
    centres
        float32 (m, s).
    """

    order: Int64
    starts: Int64
    probes: Int32
    centres: Float32


def shard_cells(Z: Float32, owned: Bool, cell_rows: int, n_probes: int, seed: int) -> ShardCells:
    """Return cells, and those in which each row is searched for.

    Parameters
    ----------
    Z
        float32 (n, s), C-contiguous.
    owned
        bool (n,): rows that are searched for.
    cell_rows
        Rows a cell should have; crowded ones are split.
    n_probes
        Cells p that a row is searched for in, its own first.
    seed
        Of k-means.
    """
    n_cells = max(len(Z) // cell_rows, 1)
    centres = k_means(_sample(Z, n_cells), n_cells, seed, K_MEANS_ITERATIONS)
    probes = _probes(Z, owned, centres, n_probes, seed)
    if np.bincount(probes[:, 0]).max() > SKEW * cell_rows:
        centres = split_cells(Z, centres, probes[:, 0], cell_rows, seed)
        probes = _probes(Z, owned, centres, n_probes, seed)
    weights = np.bincount(probes[:, 0], minlength=len(centres)).astype(np.float64)
    ranks = balanced_groups(centres, weights, 1)[1]
    probes = ranks[probes]
    ordered = np.empty_like(centres)
    ordered[ranks] = centres
    order = np.lexsort((~owned, probes[:, 0]))
    starts = np.concatenate([[0], np.cumsum(np.bincount(probes[:, 0], minlength=len(centres)))])
    return ShardCells(order, starts, probes, ordered)


def _probes(Z: Float32, owned: Bool, centres: Float32, n_probes: int, seed: int) -> Int32:
    """Return the nearest cells, int32 (n, n_probes); of borrowed rows only the first column."""
    n_probes = min(n_probes, len(centres))
    if owned.all():
        return nearly_nearest_cells(Z, centres, n_probes, seed)
    probes = np.zeros((len(Z), n_probes), dtype=np.int32)
    probes[owned] = nearly_nearest_cells(Z[owned], centres, n_probes, seed)
    probes[~owned, :1] = nearly_nearest_cells(Z[~owned], centres, 1, seed)
    return probes


def _sample(Z: Float32, n_cells: int) -> Float32:
    return np.ascontiguousarray(Z[:: max(len(Z) // (ROWS_PER_CENTRE * n_cells), 1)])


def queries_by_cell(probes: Int32, wanted: Bool, n_cells: int) -> tuple[Int64, Int64]:
    """Return the rows that probe each cell other than their own, and where each cell's start.

    Parameters
    ----------
    probes, wanted
        int32 (n, p) of `shard_cells`, and bool (n, p): which of them; the first column is not
        looked at.
    n_cells
        Number of cells m.

    Returns
    -------
    (rows int64, bounds int64 (m + 1,))
    """
    rows, places = np.nonzero(wanted[:, 1:])
    cells = probes[rows, places + 1]
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=n_cells)
    return rows[order], np.concatenate([[0], np.cumsum(counts)])


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def cells_within(points: Any, is_query: Any, probes: Any, centres: Any, limits: Any) -> Any:
    """Return which probes have a border, half-way to the row's own centre, not beyond its limit.

    Parameters
    ----------
    points, is_query
        float32 (n, s), and bool (n,): rows that are searched for; of others nothing is wanted.
    probes, centres
        int32 (n, p) and float32 (m, s) of `shard_cells`.
    limits
        float32 (n,): largest distance from the row to the plane between both cells.

    Returns
    -------
    bool (n, p)
    """
    wanted = np.zeros(probes.shape, np.bool_)
    for row in range(len(points)):
        if not is_query[row]:
            continue
        own = centres[probes[row, 0]]
        for p in range(1, probes.shape[1]):
            other = centres[probes[row, p]]
            square = np.float32(0.0)
            ahead = np.float32(0.0)
            for c in range(points.shape[1]):
                step = other[c] - own[c]
                square += step * step
                ahead += step * (np.float32(0.5) * (other[c] + own[c]) - points[row, c])
            wanted[row, p] = ahead <= limits[row] * np.sqrt(square)
    return wanted


@numba.njit(nogil=True, cache=True)
def offer(values: Any, near: Any, row: int, value: Any, point: int) -> None:
    """Put (value, point), known to be before the last of list `row`, in its place."""
    place = values.shape[1] - 1
    while place > 0 and values[row, place - 1] > value:
        values[row, place] = values[row, place - 1]
        near[row, place] = near[row, place - 1]
        place -= 1
    values[row, place] = value
    near[row, place] = point


@numba.njit(nogil=True, cache=True)
def lend_lists(values: Any, near: Any, is_query: Any) -> None:
    """Give borrowed rows, which are not searched for, the owned rows that found them."""
    n, k = near.shape
    for row in range(n):
        if not is_query[row]:
            near[row] = -1
            values[row] = np.inf
    for row in range(n):
        if not is_query[row]:
            continue
        for t in range(k):
            point = near[row, t]
            if point >= 0 and not is_query[point] and values[row, t] < values[point, k - 1]:
                offer(values, near, point, values[row, t], row)


@numba.njit(nogil=True, cache=True)
def reverse_lists(near: Any, n_kept: int) -> Any:
    """Return for each row the first rows whose list it is in, the nearest ranks first."""
    n, k = near.shape
    reverse = np.full((n, n_kept), -1, np.int32)
    counts = np.zeros(n, np.int32)
    for t in range(k):
        for row in range(n):
            point = near[row, t]
            if point >= 0 and counts[point] < n_kept:
                reverse[point, counts[point]] = row
                counts[point] += 1
    return reverse


@numba.njit(nogil=True, cache=True)
def meet(near: Any, reverse: Any, row: int, n_joined: int, met: Any, candidates: Any) -> int:
    """Write the neighbours of a row's neighbours that it has not met; return how many they are.

    Parameters
    ----------
    near, reverse
        (n, k) and (n, n_joined): lists, and for each row the rows whose list it is in.
    row
        Whose they are.
    n_joined
        Neighbours that a row meets others through, and that it meets of each.
    met
        (n,): the last row that each row has met.
    candidates
        Room for 2 n_joined (n_joined + 1) rows.
    """
    met[row] = row
    for t in range(near.shape[1]):
        if near[row, t] >= 0:
            met[near[row, t]] = row
    count = 0
    for s in range(2 * n_joined):
        through = near[row, s] if s < n_joined else reverse[row, s - n_joined]
        if through < 0:
            continue
        if met[through] != row:
            met[through] = row
            candidates[count] = through
            count += 1
        for t in range(n_joined):
            point = near[through, t]
            if point >= 0 and met[point] != row:
                met[point] = row
                candidates[count] = point
                count += 1
    return count
