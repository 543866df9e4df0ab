"""Approximate kNN of the CSR rows of one shard: cells, rare columns, then local joins.

Candidates come from an inverted index of each cell next to a row, from columns that few rows have,
and from the neighbours of neighbours (`shard_cells`). All distances are exact; the sketch of the
rows is used for cells only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float64, Int32, Int64
from ssl_dask.kernels.knn.exact_sparse import (
    pair_distance,
    row_squares,
    update_nearest_sparse,
)
from ssl_dask.kernels.knn.neighbour_lists import empty_lists, insert
from ssl_dask.kernels.knn.shard_cells import (
    CellEffort,
    Shard,
    ShardCells,
    lend_lists,
    meet,
    queries_by_cell,
    reverse_lists,
    shard_cells,
)

FEW_ROWS = 64
"""Columns of at most so many rows are always used: skipping them would save no time."""


@dataclass(frozen=True)
class SparseEffort(CellEffort):
    """Effort of the search in a shard of sparse rows."""

    n_candidates: int = 2
    """Rows proposed by rare columns that are measured, for each entry of a list."""
    column_share: float = 0.01
    """A column is rare if at most this share of the shard's rows, or 64, have it. Other columns
    propose no rows; distances use all columns."""


class _ShardRows(NamedTuple):
    """The rows of a shard by row number, without columns that only one of them has.

    Such columns are in no product of two rows. `squares` are squared lengths of the whole rows,
    `counts` the rows of each column.
    """

    csr: sp.csr_array
    squares: Float64
    counts: Int32


def search_sparse_shard(
    shard: Shard, n_neighbors: int, effort: SparseEffort, seed: int = 0
) -> tuple[Float64, Int64]:
    """Search the k neighbours of the owned rows; returns neighbour lists in their order.

    One multiply-add for each common column of two rows compared in a cell, for each other row of a
    rare column of a row, and for each entry of a row measured. 16 bytes an entry, 8 s + 16 k bytes
    a row and 16 d bytes. `seed` is the random state of the cells.
    """
    numbers, owned, cosine = shard.numbers, shard.owned, shard.metric == "cosine"
    order = np.argsort(numbers, kind="stable")
    rows = _shard_rows(shard.X, order)
    is_query = owned[order]
    findable = np.ones(len(order), dtype=bool) if shard.findable is None else shard.findable
    hidden = ~findable[order]
    distances, near = empty_lists(len(order), n_neighbors)
    cells = shard_cells(shard.Z[order], is_query, effort.cell_rows, effort.n_probes, seed)
    _search_cells(rows, cells, is_query, hidden, shard.metric, distances, near)
    _propose(rows, is_query, hidden, effort, cosine, distances, near)
    n_joined = min(effort.n_joined, n_neighbors)
    for _ in range(effort.n_rounds if n_joined else 0):
        lend_lists(distances, near, is_query)
        reverse = reverse_lists(near, n_joined)
        distances, near = _joined(
            *_parts(rows), rows.squares, distances, near, reverse, is_query, n_joined, cosine
        )
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    wanted = place[owned]
    # Rows are sorted by number, so ties by place were ties by number.
    found = near[wanted]
    return distances[wanted], np.where(found >= 0, numbers[order][found], -1)


def _parts(rows: _ShardRows) -> tuple[Any, Any, Any, int]:
    return rows.csr.data, rows.csr.indices, rows.csr.indptr, rows.csr.shape[1]


def _shard_rows(X: sp.csr_array, order: Int64) -> _ShardRows:
    *parts, counts = _without_lone_columns(X.data, X.indices, X.indptr, order, X.shape[1])
    csr = sp.csr_array(tuple(parts), shape=(X.shape[0], max(len(counts), 1)))
    return _ShardRows(csr, row_squares(X)[order], counts)


def _search_cells(
    rows: _ShardRows, cells: ShardCells, is_query: Bool, hidden: Bool, metric: str,
    distances: Float64, near: Int64,
) -> None:  # fmt: skip
    """Merge the rows of the probed cells into the lists."""
    order, starts, probes, _ = cells
    wanted = np.repeat(is_query[:, None], probes.shape[1], axis=1)
    queries, bounds = queries_by_cell(probes, wanted, len(starts) - 1)
    for cell in range(len(starts) - 1):
        own = order[starts[cell] : starts[cell + 1]]
        points = np.sort(own[~hidden[own]])
        asked = np.concatenate([own[is_query[own]], queries[bounds[cell] : bounds[cell + 1]]])
        lists = distances[asked], near[asked]
        update_nearest_sparse(
            rows.csr[asked], asked, rows.csr[points], points, *lists, metric,
            q_squares=rows.squares[asked], p_squares=rows.squares[points],
        )  # fmt: skip
        distances[asked], near[asked] = lists


def _propose(
    rows: _ShardRows, is_query: Bool, hidden: Bool, effort: SparseEffort, cosine: bool,
    distances: Float64, near: Int64,
) -> None:  # fmt: skip
    """Merge the rows with the best scores in rare columns into the lists."""
    most = max(int(effort.column_share * len(is_query)), FEW_ROWS)
    parts = _parts(rows)
    index = _rare_columns(*parts[:3], rows.counts, hidden, most)
    n_kept = effort.n_candidates * near.shape[1]
    _measure_proposed(*parts, rows.squares, *index, is_query, n_kept, cosine, distances, near)


@numba.njit(nogil=True, cache=True)
def _without_lone_columns(data: Any, indices: Any, indptr: Any, order: Any, n_columns: int) -> Any:
    """Return (data, indices, indptr) of the rows in `order`, and the number of rows of each column.

    Columns of at most one row are dropped; the others keep their order.
    """
    counts = np.zeros(n_columns, np.int32)
    for p in range(len(indices)):
        counts[indices[p]] += 1
    number = np.empty(n_columns, np.int32)
    n_kept = 0
    n_entries = 0
    for c in range(n_columns):
        number[c] = -1
        if counts[c] > 1:
            number[c] = n_kept
            counts[n_kept] = counts[c]
            n_entries += counts[c]
            n_kept += 1
    new_data = np.empty(n_entries, np.float32)
    new_indices = np.empty(n_entries, np.int32)
    new_indptr = np.zeros(len(order) + 1, np.int64)
    place = 0
    for i in range(len(order)):
        for p in range(indptr[order[i]], indptr[order[i] + 1]):
            c = number[indices[p]]
            if c >= 0:
                new_data[place] = data[p]
                new_indices[place] = c
                place += 1
        new_indptr[i + 1] = place
    return new_data, new_indices, new_indptr, counts[:n_kept].copy()


@numba.njit(nogil=True, cache=True)
def _rare_columns(data: Any, indices: Any, indptr: Any, counts: Any, hidden: Any, most: int) -> Any:
    """Return (values, rows, begins, ends) of the CSC columns of at most `most` rows."""
    ends = np.zeros(len(counts) + 1, np.int64)
    for c in range(len(counts)):
        ends[c + 1] = ends[c] + (counts[c] if counts[c] <= most else 0)
    values = np.empty(ends[-1], np.float32)
    rows = np.empty(ends[-1], np.int32)
    place = ends[:-1].copy()
    for i in range(len(indptr) - 1):
        if hidden[i]:
            continue
        for p in range(indptr[i], indptr[i + 1]):
            c = indices[p]
            if counts[c] <= most:
                values[place[c]] = data[p]
                rows[place[c]] = i
                place[c] += 1
    # `place` is the end of each column: hidden rows leave a gap behind it.
    return values, rows, ends[:-1].copy(), place


@numba.njit(nogil=True, cache=True, inline="always")
def _measure(
    point: int, row: int, data: Any, indices: Any, indptr: Any, squares: Any, scattered: Any,
    cosine: bool, distances: Any, near: Any,
) -> None:  # fmt: skip
    """Merge `point` into the list of `row`, whose values are `scattered` over the columns."""
    product = 0.0
    for p in range(indptr[point], indptr[point + 1]):
        product += np.float64(scattered[indices[p]]) * np.float64(data[p])
    distance = pair_distance(product, squares[row], squares[point], cosine)
    last = near.shape[1] - 1
    if distance < distances[row, last] or (
        distance == distances[row, last] and point < near[row, last]
    ):
        insert(distances, near, row, distance, point)


@numba.njit(nogil=True, cache=True)
def _measure_proposed(
    data: Any, indices: Any, indptr: Any, n_columns: int, squares: Any, values: Any, rows: Any,
    begins: Any, ends: Any, is_query: Any, n_kept: int, cosine: bool, distances: Any, near: Any,
) -> None:  # fmt: skip
    """Measure the `n_kept` rows nearest to each row by its rare columns alone."""
    n = len(is_query)
    sums = np.zeros(n, np.float32)
    seen = np.full(n, -1, np.int32)
    touched = np.empty(n, np.int32)
    scattered = np.zeros(n_columns, np.float32)
    scores = np.empty(n_kept, np.float32)
    best = np.empty(n_kept, np.int32)
    weight = np.empty(n, np.float32)
    for i in range(n):
        weight[i] = 0.5 * squares[i]
        if cosine:
            weight[i] = 1.0 / np.sqrt(squares[i])
    for row in range(n):
        if not is_query[row]:
            continue
        count = 0
        for p in range(indptr[row], indptr[row + 1]):
            scattered[indices[p]] = data[p]
            for e in range(begins[indices[p]], ends[indices[p]]):
                point = rows[e]
                if seen[point] != row:
                    seen[point] = row
                    sums[point] = 0.0
                    touched[count] = point
                    count += 1
                sums[point] += data[p] * values[e]
        seen[row] = n
        for t in range(near.shape[1]):
            if near[row, t] >= 0:
                seen[near[row, t]] = n
        n_best = 0
        for t in range(count):
            point = touched[t]
            if seen[point] == n:
                continue
            score = sums[point] * weight[point] if cosine else sums[point] - weight[point]
            if n_best == n_kept and score <= scores[n_kept - 1]:
                continue
            place = min(n_best, n_kept - 1)
            while place > 0 and scores[place - 1] < score:
                scores[place] = scores[place - 1]
                best[place] = best[place - 1]
                place -= 1
            scores[place] = score
            best[place] = point
            n_best = min(n_best + 1, n_kept)
        for t in range(n_best):
            _measure(
                best[t], row, data, indices, indptr, squares, scattered, cosine, distances, near
            )
        for p in range(indptr[row], indptr[row + 1]):
            scattered[indices[p]] = 0.0


@numba.njit(nogil=True, cache=True)
def _joined(
    data: Any, indices: Any, indptr: Any, n_columns: int, squares: Any, distances: Any, near: Any,
    reverse: Any, is_query: Any, n_joined: int, cosine: bool,
) -> Any:  # fmt: skip
    """Return the lists after one local join."""
    new_distances, new_near = distances.copy(), near.copy()
    met = np.full(len(near), -1, np.int32)
    candidates = np.empty(2 * n_joined * (n_joined + 1), np.int32)
    scattered = np.zeros(n_columns, np.float32)
    for row in range(len(near)):
        if not is_query[row]:
            continue
        count = meet(near, reverse, row, n_joined, met, candidates)
        for p in range(indptr[row], indptr[row + 1]):
            scattered[indices[p]] = data[p]
        for c in range(count):
            _measure(
                candidates[c], row, data, indices, indptr, squares, scattered, cosine,
                new_distances, new_near,
            )  # fmt: skip
        for p in range(indptr[row], indptr[row + 1]):
            scattered[indices[p]] = 0.0
    return new_distances, new_near
