"""New rows join a stored graph: as nodes behind all others, with edges to their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import row_starts
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.entry_exchange import exchanged_strips, strip_entries
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.block.symmetric_graph import check_weights
from ssl_dask.graph.knn.exact_knn import (
    check_n_neighbors,
    nearest_lists,
    search_strips,
)
from ssl_dask.graph.knn.row_strips import checked_rows
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

    A new row is joined with the nearest of all rows, old and new. Lists of old rows stay as they
    were, so that the edges between old rows keep their weights, and a new row costs the same
    whatever the graph's size; where new rows become many, the graph is to be built again. A pair
    weighs the mean of its two weights, of which a list that has no place for the other gives 0.

    Parameters
    ----------
    graph, index
        What a routed search over the old rows made.
    X_new
        (m, d): NumPy array, CSR or Dask array chunked by rows, described as the old rows were.
    n_neighbors, weights
        As of the graph.
    client
        Of the cluster that computes; "local": this process. Default: the open client, if any.
    execution
        Where to run instead of `client`.

    Returns
    -------
    BlockGraph of N + m rows: new row i is row N + i. It has the alternatives of `graph`.

    Raises
    ------
    GraphError
        `graph` and `index` are not of one search, the new rows do not fit them, or `weights` is
        unknown.

    Notes
    -----
    m^2 d flops among the new rows, and one shard's search for each block of them. 24 bytes move an
    entry, those of the old graph too.
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
    near = index.nearest_lists(rows, n_neighbors, execution)
    among = nearest_lists(rows, rows, n_neighbors, index.metric, execution, same_rows=True)
    merge = dask.delayed(_merged, pure=False)
    lists = execution.persist(
        [merge(old, new, graph.n_nodes) for old, new in zip(near, among, strict=True)], "new rows"
    )
    chunks = (*graph.node_chunks, *rows.row_chunks)

    def joined(strips: Sequence[Delayed], name: str) -> tuple[tuple[Delayed, ...], int]:
        entries = [
            dask.delayed(strip_entries, pure=False)(strip, start)
            for strip, start in zip(strips, graph.node_starts, strict=True)
        ]
        entries += [
            dask.delayed(_entries_of_lists, pure=False)(part, graph.n_nodes + start, name)
            for part, start in zip(lists, row_starts(rows.row_chunks), strict=True)
        ]
        return exchanged_strips(entries, chunks, execution)

    strips, n_edges = joined(graph.strips, weights)
    alternatives = {}
    for name in graph.alternatives:
        more, _ = joined(graph.weighted(name).strips, name)
        data = [strip.data for strip in more]
        alternatives[name] = tuple(execution.persist(data, "edges"))
    settings = {**graph.settings, "n_attached": rows.n_rows + graph.settings.get("n_attached", 0)}
    return BlockGraph(
        strips, chunks, n_edges, settings, _order(graph, rows.row_chunks, execution), alternatives
    )


def _order(
    graph: BlockGraph, row_chunks: tuple[int, ...], execution: Execution
) -> NodeOrder | None:
    """Return the order in which each new row is a node of its own; None: node i is row i."""
    if graph.order is None:
        return None
    starts = [graph.n_nodes + start for start in row_starts(row_chunks)]
    count = dask.delayed(np.arange, pure=False)
    blocks = [count(start, start + n) for start, n in zip(starts, row_chunks, strict=True)]
    return NodeOrder(
        (*graph.order.blocks, *execution.persist(blocks, "edges")),
        (*graph.order.row_chunks, *row_chunks),
        graph.n_nodes + sum(row_chunks),
    )


def _merged(old: Lists, new: Lists, n_nodes: int) -> Lists:
    """Return the nearest of both lists, (n, k), by (distance, node); new rows come after nodes."""
    k = old[0].shape[1]
    indices = np.concatenate([old[1], np.where(new[1] >= 0, new[1] + n_nodes, -1)], axis=1)
    distances = np.concatenate([old[0], new[0]], axis=1)
    by_node = np.where(indices >= 0, indices, np.iinfo(np.int64).max)
    best = np.lexsort((by_node, distances), axis=1)[:, :k]
    return np.take_along_axis(distances, best, axis=1), np.take_along_axis(indices, best, axis=1)


def _entries_of_lists(lists: Lists, first: int, weights: str) -> Entries:
    distances, indices = lists
    w = edge_weights(distances, indices, weights).astype(np.float64)
    place = np.nonzero(indices >= 0)
    return both_ways(first + place[0], indices[place], 0.5 * w[place], directed=False)
