"""The tasks of one shard of a routed search: look among its rows, give back what others own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ssl_dask.graph.knn.row_kind import kind_of
from ssl_dask.graph.routed.routed_index import write_shard
from ssl_dask.graph.routed.row_exchange import open_piece
from ssl_dask.kernels.arithmetic.sparse_rows import stacked_rows
from ssl_dask.kernels.knn.exact_sparse import row_squares
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds, add_edges, empty_lists
from ssl_dask.kernels.knn.routing import Routing
from ssl_dask.kernels.knn.shard_cells import Shard
from ssl_dask.kernels.knn.shard_dense import SearchEffort
from ssl_dask.kernels.knn.shard_sparse import SparseEffort

SEED = 20_002
"""Of the first shard's cells; each shard has its own."""


class FoundLists(NamedTuple):
    """What the search of a shard found."""

    distances: Distances
    indices: RowIds
    """Lists (m, k) of its own nodes, in their order; indices are node numbers."""
    points: RowIds
    rows: RowIds
    values: Distances
    """Edges (e,) that lead to nodes of other shards, sorted by the node they lead to."""
    bounds: npt.NDArray[np.int64]
    """int64 (P + 1,): where the edges to each shard begin."""
    n_shown: int
    """Rows in the shard."""

    def shards_reached(self) -> RowIds:
        """Return the shards that edges lead to."""
        return np.flatnonzero(np.diff(self.bounds))

    def edges_to(self, shard: int) -> tuple[RowIds, RowIds, Distances]:
        """Return the edges (points, rows, values) that lead to the nodes of another shard."""
        part = slice(self.bounds[shard], self.bounds[shard + 1])
        return self.points[part], self.rows[part], self.values[part]


def searched_shard(
    shard: int,
    pieces: Sequence[Any],
    routing: Routing,
    bases: RowIds,
    node_starts: RowIds,
    n_neighbors: int,
    effort: SearchEffort | SparseEffort,
    metric: str,
) -> FoundLists:
    """Return what a shard finds among the rows in `pieces`, one a strip, of which it owns some.

    Parameters
    ----------
    pieces
        What `row_exchange.open_piece` opens.
    routing
        Makes rows searchable.
    bases
        int64 (strips, cells): number of the first node of each cell in each strip.
    node_starts
        int64 (P + 1,): the first node of each shard, and the number of nodes.
    """
    X, numbers = _gathered_shard(pieces, bases, metric)
    n_shown = X.shape[0]
    first, stop = node_starts[shard], node_starts[shard + 1]
    distances, indices = empty_lists(int(stop - first), n_neighbors)
    owned = (numbers >= first) & (numbers < stop)
    if owned.any():
        rows = Shard(X, routing.searchable(X), owned, numbers, metric)
        found = kind_of(X).search(rows, n_neighbors, effort, SEED + shard)
        place = numbers[owned] - first
        distances[place], indices[place] = found
    return _with_edges_out(distances, indices, int(first), node_starts, n_shown)


def _gathered_shard(pieces: Sequence[Any], bases: RowIds, metric: str) -> tuple[Any, RowIds]:
    """Return the rows of a shard and their nodes; for cosine without rows of zeros.

    A row of zeros has no direction: it has no neighbours and is nobody's neighbour.
    """
    opened = [open_piece(piece) for piece in pieces]
    numbers = np.concatenate(
        [base[cell] + place for base, (_, cell, place) in zip(bases, opened, strict=True)]
    )
    X = stacked_rows([rows for rows, _, _ in opened])
    if metric == "cosine":
        full = row_squares(X) > 0
        if not full.all():
            X, numbers = X[full], numbers[full]
    return X, numbers


def kept_shard(shard: int, pieces: Sequence[Any], bases: RowIds, metric: str, folder: str) -> None:
    """Write the rows of a shard and their nodes into the index in `folder`."""
    write_shard(folder, shard, *_gathered_shard(pieces, bases, metric))


def _with_edges_out(
    distances: Distances, indices: RowIds, first: int, node_starts: RowIds, n_shown: int
) -> FoundLists:
    """Return the lists with the edges that leave the shard, turned round, beside them."""
    stop = first + len(indices)
    leaves = (indices >= 0) & ((indices < first) | (indices >= stop))
    rows, _ = np.nonzero(leaves)
    points, values = indices[leaves], distances[leaves]
    order = np.lexsort((rows, points))
    points, values, rows = points[order], values[order], rows[order] + first
    bounds = np.searchsorted(points, node_starts)
    return FoundLists(distances, indices, points, rows, values, bounds, n_shown)


def completed_lists(
    found: FoundLists, first: int, returned: Sequence[tuple[RowIds, RowIds, Distances]]
) -> tuple[Distances, RowIds]:
    """Return the lists of a shard with what other shards found for its rows."""
    distances, indices = found.distances.copy(), found.indices.copy()
    for points, rows, values in returned:
        add_edges(points - first, rows, values, distances, indices)
    return distances, indices
