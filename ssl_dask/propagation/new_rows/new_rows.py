"""Distributions of new rows from a stored graph: searched where the graph was, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Float32
from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.knn.exact_knn import check_n_neighbors
from ssl_dask.graph.knn.row_strips import checked_rows
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds
from ssl_dask.kernels.propagation.neighbour_means import nearest_means

WHAT = "new rows"


def new_row_distributions(
    X_new: Any,
    graph: BlockGraph,
    index: RoutedIndex,
    F: Any,
    *,
    n_neighbors: int = 15,
    weights: str = "gaussian",
    client: AnyClient = None,
    execution: Execution | None = None,
) -> Any:
    """Return the mean distribution of the nearest nodes of each new row; the graph stays as it is.

    What a new row gets depends on that row alone (Delalleau, Bengio and Le Roux 2005, eq. 7).

    Parameters
    ----------
    X_new
        (m, d): NumPy array, CSR or Dask array chunked by rows, described as the graph's rows were.
    graph, index
        What a routed search made and `BlockGraph.save` and `RoutedIndex` kept.
    F
        float32 (N, C), NumPy or Dask array: distributions of the rows of the graph. Rows that are
        copies of each other share a node, which has those of the first.
    n_neighbors, weights
        As of the graph.
    client
        Of the cluster that computes; "local": this process. Default: the open client, if any.
    execution
        Where to run instead of `client`.

    Returns
    -------
    float32 (m, C): rows sum to 1, or to 0 where no neighbour has evidence. A Dask array, chunked as
    `X_new`, if that is one.

    Raises
    ------
    GraphError
        New rows are not dense or sparse as those of the graph, have other columns, or values that
        are not finite; a shard cannot be read.
    ValueError
        `F`, `graph` and `index` are not of the same rows.

    Notes
    -----
    A task holds one block of new rows with its lists, and one shard or one block of F. At most
    4 m k C bytes of F move. A task for each pair of a block of new rows and a strip of the graph.
    """
    execution = Execution.of(client, execution)
    check_n_neighbors(n_neighbors)
    if F.shape[0] != graph.n_rows or index.n_nodes != graph.n_nodes:
        raise ValueError(
            f"F has {F.shape[0]} rows and the index {index.n_nodes} nodes; the graph has"
            f" {graph.n_rows} and {graph.n_nodes}: take all three from one run"
        )
    X_new = as_dask_array(X_new)
    rows = checked_rows(X_new, execution)
    at_nodes = _nodes_of_rows(F, graph, execution)
    cuts = [*graph.node_starts, graph.n_nodes]
    take, mean = delayed(_taken, pure=False), delayed(_means, pure=False)
    parts = [
        mean(
            lists,
            weights,
            index.metric,
            *(
                take(block, lists, a, b)
                for block, (a, b) in zip(at_nodes, pairwise(cuts), strict=True)
            ),
        )
        for lists in index.nearest_lists(rows, n_neighbors, execution)
    ]
    if not isinstance(X_new, da.Array):
        return np.concatenate(execution.compute(parts, WHAT))
    blocks = [
        da.from_delayed(part, (n, F.shape[1]), dtype=np.float32)
        for part, n in zip(execution.persist(parts, WHAT), rows.row_chunks, strict=True)
    ]
    return da.concatenate(blocks).rechunk({0: X_new.chunks[0]})


def _nodes_of_rows(F: Any, graph: BlockGraph, execution: Execution) -> Sequence[Delayed]:
    """Return F at the nodes, one block a strip."""
    chunks = graph.node_chunks if graph.order is None else graph.order.row_chunks
    array = F if isinstance(F, da.Array) else da.from_array(np.asarray(F), chunks=(chunks, -1))
    array = array.rechunk({0: tuple(chunks), 1: -1}).astype(np.float32)
    blocks = list(array.to_delayed(optimize_graph=False).ravel())
    if graph.order is None:
        return execution.persist(blocks, WHAT)
    return graph.order.first_rows_of_nodes(blocks, graph.node_chunks, execution)


def _taken(block: Float32, lists: tuple[Distances, RowIds], start: int, stop: int) -> Float32:
    """Return the rows of the nodes from `start` to `stop` that are in the lists, by node."""
    wanted = np.unique(lists[1])
    return block[wanted[(wanted >= start) & (wanted < stop)] - start]


def _means(lists: tuple[Distances, RowIds], weights: str, metric: str, *pieces: Float32) -> Float32:
    squares, nodes = lists
    wanted = np.unique(nodes[nodes >= 0])
    local = np.where(nodes >= 0, np.searchsorted(wanted, nodes), -1)
    return nearest_means(squares, local, np.concatenate(pieces), weights)
