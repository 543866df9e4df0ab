"""Distributions of new rows from a stored graph: searched where the graph was, block by block.

What a new row gets depends on that row alone (Delalleau, Bengio and Le Roux 2005, eq. 7). A task
holds one block of new rows with its lists, and one shard or one block of F. At most 4 m k C bytes
of F move, in a task for each pair of a block of new rows and a strip of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Float32
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, as_dask_array, rows_in_blocks
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

    Parameters
    ----------
    X_new
        (m, d): NumPy array, CSR or Dask array chunked by rows, described as the graph's rows were.
    graph, index, n_neighbors, weights
        Of one routed search.
    F
        float32 (N, C), NumPy or Dask array: distributions of the rows of the graph, of copies those
        of the first.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Returns
    -------
    float32 (m, C): rows sum to 1, or to 0 where no neighbour has evidence. A Dask array, chunked as
    `X_new`, if that is one.

    Raises
    ------
    GraphError
        New rows are of another kind or width than the graph's, or not finite; a shard is missing.
    ValueError
        `F`, `graph` and `index` are not of the same rows.

    Examples
    --------
    >>> import tempfile
    >>> from ssl_dask.graphs import knn_graph
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> F = np.eye(2, dtype=np.float32)[(X[:, 0] > 0).astype(int)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph = knn_graph(X, 3, search="routed", index_folder=folder)
    ...     new_row_distributions([[9.0, 0, 0]], graph, RoutedIndex.load(folder), F, n_neighbors=3)
    array([[0., 1.]], dtype=float32)
    """
    execution = Execution.of(client, execution)
    check_n_neighbors(n_neighbors)
    _check_one_run(graph, index, F)
    X_new = as_dask_array(X_new)
    rows = checked_rows(X_new, execution)
    lists = index.nearest_lists(rows, n_neighbors, execution)
    parts = _mean_tasks(F, graph, lists, weights, execution)
    if not isinstance(X_new, da.Array):
        return np.concatenate(execution.compute(parts, WHAT))
    held = execution.persist(parts, WHAT)
    found = array_of_blocks(held, rows.row_chunks, (F.shape[1],), np.float32)
    return found.rechunk({0: X_new.chunks[0]})


def _check_one_run(graph: BlockGraph, index: RoutedIndex, F: Any) -> None:
    """Raise ValueError unless the three are of the same rows."""
    if F.shape[0] != graph.n_rows or index.n_nodes != graph.n_nodes:
        raise ValueError(
            f"F has {F.shape[0]} rows and the index {index.n_nodes} nodes; the graph has"
            f" {graph.n_rows} and {graph.n_nodes}: take all three from one run"
        )


def _mean_tasks(
    F: Any,
    graph: BlockGraph,
    lists: Sequence[Delayed],
    weights: str,
    execution: Execution,
) -> list[Delayed]:
    """Return a task for each block of new rows, of what the strips have at its nearest nodes."""
    rows = rows_in_blocks(F.astype(np.float32), graph.row_chunks, execution.place)
    at_nodes = graph.at_nodes(execution.persist(rows, WHAT), execution)
    columns, mean = [at_nodes, graph.node_starts, graph.node_chunks], delayed(_means, pure=False)
    return [mean(one, weights, *block_tasks(_taken, columns, one)) for one in lists]


def _taken(block: Float32, start: int, n: int, lists: tuple[Distances, RowIds]) -> Float32:
    """Return the rows of the `n` nodes from `start` on that are in the lists, by node."""
    wanted = np.unique(lists[1])
    return block[wanted[(wanted >= start) & (wanted < start + n)] - start]


def _means(lists: tuple[Distances, RowIds], weights: str, *pieces: Float32) -> Float32:
    squares, nodes = lists
    wanted = np.unique(nodes[nodes >= 0])
    local = np.where(nodes >= 0, np.searchsorted(wanted, nodes), -1)
    return nearest_means(squares, local, np.concatenate(pieces), weights)
