"""Approximate kNN of the dense rows of one shard: GEMM a cell, then one local join.

Each owned row is compared with its own cell and the cells next to it, then with the neighbours of
its neighbours (`shard_cells`). Borrowed rows can be found, but are not searched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.kernels.knn.cells import GROUP, TILE_ROWS, group_minima, kth_smallest
from ssl_dask.kernels.knn.exact_distance import cosine_distance, inner_product, squared_distance
from ssl_dask.kernels.knn.neighbour_lists import empty_lists, insert
from ssl_dask.kernels.knn.shard_cells import (
    CellEffort,
    Shard,
    ShardCells,
    cells_within,
    lend_lists,
    meet,
    offer,
    queries_by_cell,
    reverse_lists,
    shard_cells,
)

TILE_POINTS = 2048
TINY = np.finfo(np.float32).tiny
FAR = 100.0
"""A cell is far if its squared distance from the origin exceeds `FAR` squared radii."""


@dataclass(frozen=True)
class SearchEffort(CellEffort):
    """Effort of the search in a shard of dense rows."""

    reach: float = 0.4
    """A cell is skipped if its border is farther from the row than `reach` times the k-th neighbour
    in the row's own cell. With .4 six of ten cells are left, which hold as many true neighbours as
    the nearest nine."""
    n_candidates: int = 1
    """Candidates kept for each entry of a list before exact distances: 1, or 2 for a search in
    fewer columns than the rows have."""


def search_shard(
    shard: Shard, n_neighbors: int, effort: SearchEffort, seed: int = 0
) -> tuple[Float64, Int64]:
    """Search the k neighbours of the owned rows; returns neighbour lists in their order.

    About 2 s n_owned cell_rows n_probes flops, and (8 s + 12 k n_candidates) n bytes. `seed` is the
    random state of the cells.
    """
    X, owned = shard.X, shard.owned
    n_kept = min(n_neighbors * effort.n_candidates, max(len(X) - 1, 1))
    cells = shard_cells(shard.Z, owned, effort.cell_rows, effort.n_probes, seed)
    order = cells.order
    points, is_query = shard.Z[order], owned[order]
    hidden = None if shard.findable is None else ~shard.findable[order]
    values, near = _search_cells(points, is_query, cells, n_kept, hidden, effort.reach)
    for _ in range(effort.n_rounds if effort.n_joined else 0):
        lend_lists(values, near, is_query)
        n_joined = min(effort.n_joined, n_kept)
        reverse = reverse_lists(near, n_joined)
        values, near = _join(points, values, near, reverse, is_query, n_joined)
    found = np.full((len(X), n_kept), -1, dtype=np.int32)
    found[order] = np.where(near >= 0, order.astype(np.int32)[near], -1)
    rows = np.flatnonzero(owned)
    distances, indices = empty_lists(len(rows), n_neighbors)
    # By cell: rows of a cell share neighbours, which are then still in the cache.
    places = np.searchsorted(rows, order[is_query])
    _exact_lists(
        X, rows, places, found, shard.numbers, distances, indices, shard.metric == "cosine"
    )
    return distances, indices


def _search_cells(
    points: Float32, is_query: Bool, cells: ShardCells, n_kept: int, hidden: Bool | None,
    reach: float,
) -> tuple[Float32, Int32]:  # fmt: skip
    """Return lists (n, n_kept) of squared distances and points, in the order of the cells."""
    starts, probes = cells.starts, cells.probes[cells.order]
    n, n_cells = len(points), len(starts) - 1
    values = np.full((n, n_kept), np.inf, dtype=np.float32)
    near = np.full((n, n_kept), -1, dtype=np.int32)
    half_squares = _half_squares(points)
    tile = np.empty(TILE_ROWS * min(int(np.diff(starts).max()), TILE_POINTS), dtype=np.float32)
    # The row's own cell first: a near k-th neighbour excludes most points of other cells.
    for own in (True, False):
        if not own:
            # Rounding may leave a square of 0 or less, whose root, or product with inf, is NaN.
            limits = reach * np.sqrt(np.maximum(2.0 * values[:, -1], TINY))
            wanted = cells_within(points, is_query, probes, cells.centres, limits)
            queries, bounds = queries_by_cell(probes, wanted, n_cells)
        for cell in range(n_cells):
            first, stop = int(starts[cell]), int(starts[cell + 1])
            if first == stop:
                continue
            if own:
                rows = np.arange(first, first + int(np.count_nonzero(is_query[first:stop])))
            else:
                rows = queries[bounds[cell] : bounds[cell + 1]]
            centre = _centre_of_far(points[first:stop], half_squares[first:stop])
            for p in range(first, stop, TILE_POINTS):
                part = slice(p, min(p + TILE_POINTS, stop))
                panel, squares = _seen_from(centre, points[part], half_squares[part])
                if hidden is not None:
                    squares = np.where(hidden[part], np.float32(np.inf), squares)
                for q in range(0, len(rows), TILE_ROWS):
                    asked = rows[q : q + TILE_ROWS]
                    taken = slice(asked[0], asked[-1] + 1) if own else asked
                    block, lengths = _seen_from(centre, points[taken], half_squares[taken])
                    products = tile[: len(asked) * len(panel)].reshape(len(asked), -1)
                    np.matmul(block, panel.T, out=products)
                    _scan_points(products, squares, lengths, p, asked, values, near, own)
    values *= 2.0
    return values, near


def _centre_of_far(cell: Float32, half_squares: Float32) -> Float32 | None:
    """Return a point of a cell that is far from the origin for its size, else None.

    Relative to this point numbers are small, so float32 products keep their digits.
    """
    centre = cell[len(cell) // 2]
    radius = float(_half_squares(cell - centre).max())
    return centre if float(half_squares[len(cell) // 2]) > FAR * radius else None


def _seen_from(
    centre: Float32 | None, X: Float32, half_squares: Float32
) -> tuple[Float32, Float32]:
    """Return the rows less `centre`, and half their squared lengths."""
    if centre is None:
        return X, half_squares
    moved = X - centre
    return moved, _half_squares(moved)


def _half_squares(X: Float32) -> Float32:
    return 0.5 * np.einsum("ij,ij->i", X, X)


@numba.njit(nogil=True, cache=True)
def _scan_points(
    products: Any, half_squares: Any, lengths: Any, first: int, rows: Any, values: Any, near: Any,
    own: bool,
) -> None:  # fmt: skip
    """Merge the points from `first` on into lists of |x - y|^2 / 2.

    `half_squares` are |y|^2 / 2 of the points, `lengths` |x|^2 / 2 of the rows.
    """
    n_points = products.shape[1]
    k = values.shape[1]
    minima = np.empty(-(-n_points // GROUP), np.float32)
    best = np.empty(k + 1, np.float32)
    for i in range(len(rows)):
        row = rows[i]
        group_minima(products, i, half_squares, minima)
        limit = values[row, k - 1] - lengths[i]
        if own:
            # k + 1: the row itself is among the points.
            limit = min(limit, kth_smallest(minima, k + 1, best))
        for g in range(len(minima)):
            if minima[g] > limit:
                continue
            for j in range(g * GROUP, min(g * GROUP + GROUP, n_points)):
                value = half_squares[j] - products[i, j]
                if value > limit or first + j == row:
                    continue
                value += lengths[i]
                if value < values[row, k - 1]:
                    offer(values, near, row, value, first + j)
                    limit = min(limit, values[row, k - 1] - lengths[i])


@numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def _squared(x: Any, y: Any) -> Any:
    total = np.float32(0.0)
    for c in range(len(x)):
        step = x[c] - y[c]
        total += step * step
    return total


@numba.njit(nogil=True, cache=True)
def _join(points: Any, values: Any, near: Any, reverse: Any, is_query: Any, n_joined: int) -> Any:
    """Return the lists after one local join."""
    n = len(points)
    k = near.shape[1]
    new_values, new_near = values.copy(), near.copy()
    met = np.full(n, -1, np.int32)
    candidates = np.empty(2 * n_joined * (n_joined + 1), np.int32)
    for row in range(n):
        if not is_query[row]:
            continue
        count = meet(near, reverse, row, n_joined, met, candidates)
        for c in range(count):
            value = _squared(points[row], points[candidates[c]])
            if value < new_values[row, k - 1]:
                offer(new_values, new_near, row, value, candidates[c])
    return new_values, new_near


@numba.njit(nogil=True, cache=True)
def _exact_lists(
    X: Any, rows: Any, places: Any, found: Any, numbers: Any, distances: Any, indices: Any,
    cosine: bool,
) -> None:  # fmt: skip
    """Compute exact distances of the candidates and keep the first k by (distance, number)."""
    last = distances.shape[1] - 1
    for i in places:
        x = X[rows[i]]
        x_square = inner_product(x, x) if cosine else 0.0
        for t in range(found.shape[1]):
            point = found[rows[i], t]
            if point < 0:
                continue
            y = X[point]
            if cosine:
                distance = cosine_distance(inner_product(x, y), x_square, inner_product(y, y))
            else:
                distance = squared_distance(x, y)
            number = numbers[point]
            if distance < distances[i, last] or (
                distance == distances[i, last] and number < indices[i, last]
            ):
                insert(distances, indices, i, distance, number)
