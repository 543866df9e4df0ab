"""New rows join a stored graph: as nodes behind all others, with edges to their neighbours.

A new row is joined with the nearest of all rows, old and new. Lists of old rows stay as they were,
so that the edges between old rows keep their weights, and a new row costs the same whatever the
graph's size; where new rows become many, the graph is to be built again. A pair weighs the mean of
its two weights, of which a list that has no place for the other gives 0.

m^2 d flops among m new rows, and one shard's search for each block of them. 24 bytes move an entry,
those of the old graph too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.entry_exchange import exchanged_weightings, strip_entries
from ssl_dask.graph.block.node_order import NodeOrder, row_numbers
from ssl_dask.graph.block.symmetric_graph import check_weights
from ssl_dask.graph.knn.exact_knn import (
    check_n_neighbors,
    nearest_lists,
    search_strips,
)
from ssl_dask.graph.knn.row_strips import RowStrips, checked_rows
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.kernels.graph.coo_strips import Entries, both_ways
from ssl_dask.kernels.graph.edge_weights import edge_weights
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds

Lists = tuple[Distances, RowIds]


def attach_rows(
    graph: BlockGraph,
    index: RoutedIndex,
    X_new: Any,
    *,
    n_neighbors: int = 15,
    weights: str = "gaussian",
    client: AnyClient = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph of the old rows and the new ones, for a propagation over both.

    Parameters
    ----------
    graph, index
        What a routed search over the old rows made.
    X_new
        (m, d): NumPy array, CSR or Dask array chunked by rows, described as the old rows were.
    n_neighbors, weights
        As of the graph.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Returns
    -------
    BlockGraph of N + m rows: new row i is row N + i. It has the alternatives of `graph`.

    Raises
    ------
    GraphError
        `graph` and `index` are not of one search, the new rows do not fit them, or `weights` is
        unknown.
    """
    execution = Execution.of(client, execution)
    check_n_neighbors(n_neighbors)
    check_weights(weights)
    if index.n_nodes != graph.n_nodes:
        raise GraphError(
            f"the index has {index.n_nodes} nodes and the graph {graph.n_nodes}: take both from one"
            " search"
        )
    rows = search_strips(checked_rows(X_new, execution), n_neighbors, execution)
    lists = _lists_of_new_rows(rows, graph, index, n_neighbors, execution)
    new = row_numbers(rows.row_chunks, first=graph.n_nodes)
    numbers = execution.persist(new, "edges")
    chunks = (*graph.node_chunks, *rows.row_chunks)

    def entries(name: str | None) -> list[Delayed]:
        strips = graph.strips_weighted(name)
        old = block_tasks(strip_entries, [strips, graph.node_starts])
        return old + block_tasks(_entries_of_lists, [lists, numbers], name or weights)

    strips, n_edges, more = exchanged_weightings(entries, graph.alternatives, chunks, execution)
    order = graph.order
    if order is not None:
        blocks, row_chunks = (*order.blocks, *numbers), (*order.row_chunks, *rows.row_chunks)
        order = NodeOrder(blocks, row_chunks, sum(chunks))
    settings = {**graph.settings, "n_attached": rows.n_rows + graph.settings.get("n_attached", 0)}
    return BlockGraph(strips, chunks, n_edges, settings, order, more)


def _lists_of_new_rows(
    rows: RowStrips, graph: BlockGraph, index: RoutedIndex, n_neighbors: int, execution: Execution
) -> list[Delayed]:
    """Return the nearest nodes of each new row, old and new, on workers."""
    near = index.nearest_lists(rows, n_neighbors, execution)
    among = nearest_lists(rows, rows, n_neighbors, index.metric, execution, same_rows=True)
    return execution.persist(block_tasks(_merged, [near, among], graph.n_nodes), "new rows")


def _merged(old: Lists, new: Lists, n_nodes: int) -> Lists:
    """Return the nearest of both lists, (n, k), by (distance, node); new rows come after nodes."""
    k = old[0].shape[1]
    indices = np.concatenate([old[1], np.where(new[1] >= 0, new[1] + n_nodes, -1)], axis=1)
    distances = np.concatenate([old[0], new[0]], axis=1)
    by_node = np.where(indices >= 0, indices, np.iinfo(np.int64).max)
    best = np.lexsort((by_node, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, best, axis=1), np.take_along_axis(indices, best, axis=1)


def _entries_of_lists(lists: Lists, own: RowIds, weights: str) -> Entries:
    distances, indices = lists
    w = edge_weights(distances, indices, weights).astype(np.float64)
    place = np.nonzero(indices >= 0)
    return both_ways(own[place[0]], indices[place], 0.5 * w[place], directed=False)
