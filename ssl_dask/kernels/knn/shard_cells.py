"""Cells of a shard, and the local join of NN-descent: what dense and sparse searches share.

The local join (W. Dong, C. Moses, K. Li, Efficient k-nearest neighbor graph construction, WWW 2011)
compares each row with the neighbours of its neighbours, and with rows that it is a neighbour of.
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
"""Fewer than for routing: better cells within a shard do not find more neighbours."""


@dataclass(frozen=True)
class Shard:
    """The rows of a shard, owned and borrowed."""

    X: Any
    """float32 (n, d), C-contiguous or CSR with sorted, distinct columns: distinct rows; for cosine
    none is zero."""
    Z: Float32
    """float32 (n, s), C-contiguous: `Routing.searchable` of X."""
    owned: Bool
    """bool (n,): rows whose neighbours are searched."""
    numbers: Int64
    """int64 (n,): row numbers; ties go to the smaller number."""
    metric: str
    """"euclidean" or "cosine"."""
    findable: Bool | None = None
    """bool (n,): rows that may be found; None: all."""


@dataclass(frozen=True)
class CellEffort:
    """Effort of the search in a shard; more effort gives a higher recall."""

    cell_rows: int = 400
    """Wanted rows of a cell; 300 to 500 balance products against the choice of cells."""
    n_probes: int = 10
    """Cells that a row is compared with, with its own."""
    n_joined: int = 15
    """Neighbours, and reverse neighbours, whose first `n_joined` neighbours a row is compared with;
    0: no local join."""
    n_rounds: int = 1
    """Rounds of the local join."""


class ShardCells(NamedTuple):
    """Cells of a shard, numbered so that near cells adjoin."""

    order: Int64
    """int64 (n,): rows by cell, in a cell the owned rows first."""
    starts: Int64
    """int64 (m + 1,): cell c has the rows order[starts[c]:starts[c + 1]]."""
    probes: Int32
    """int32 (n, p): nearest cells of each row, its own first; of borrowed rows only the first
    column is set."""
    centres: Float32
    """float32 (m, s)."""


def shard_cells(Z: Float32, owned: Bool, cell_rows: int, n_probes: int, seed: int) -> ShardCells:
    """Return the cells of a shard, and the cells that each row is compared with.

    Parameters
    ----------
    Z
        float32 (n, s), C-contiguous.
    owned
        bool (n,): rows whose neighbours are searched.
    cell_rows
        Wanted rows of a cell; crowded cells are split.
    n_probes
        Cells p that an owned row is compared with.
    seed
        Random state of k-means.
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
    """Return the rows that probe each cell but their own: cell c has rows[bounds[c]:bounds[c + 1]].

    Parameters
    ----------
    probes, wanted
        int32 (n, p) of `shard_cells`, and bool (n, p): which probes; column 0 is ignored.
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
    """Return which probes, bool (n, p), have their bisecting plane within a row's limit.

    Parameters
    ----------
    points, is_query
        float32 (n, s) and bool (n,); other rows probe nothing.
    probes, centres
        int32 (n, p) and float32 (m, s) of `shard_cells`.
    limits
        float32 (n,): largest distance from the row to the plane between both centres.
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
    """Insert (value, point), which must precede the last entry of list `row`."""
    place = values.shape[1] - 1
    while place > 0 and values[row, place - 1] > value:
        values[row, place] = values[row, place - 1]
        near[row, place] = near[row, place - 1]
        place -= 1
    values[row, place] = value
    near[row, place] = point


@numba.njit(nogil=True, cache=True)
def lend_lists(values: Any, near: Any, is_query: Any) -> None:
    """Fill the lists of borrowed rows with the owned rows that found them."""
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
    """Return the first `n_kept` reverse neighbours of each row, by rank, int32 (n, n_kept)."""
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
    """Write the neighbours of a row's neighbours that it has not met; return their number.

    Parameters
    ----------
    near, reverse
        (n, k) and (n, n_joined): neighbours and reverse neighbours.
    n_joined
        Neighbours that are visited, and neighbours that are taken of each.
    met
        (n,): the last row that each row has met.
    candidates
        Output of 2 n_joined (n_joined + 1) rows.
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
