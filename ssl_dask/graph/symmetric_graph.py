"""Neighbour lists -> a symmetric graph: weighed, turned round, exchanged between strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph, row_starts
from ssl_dask.graph.node_order import NodeOrder
from ssl_dask.kernels.edge_weights import (
    MEDIAN_ROWS,
    Edges,
    distance_floor,
    edge_weights,
    edges_by_strip,
    last_distances,
    symmetric_strip,
)
from ssl_dask.kernels.neighbour_lists import Distances, RowIds

Lists = tuple[Distances, RowIds]


def symmetric_graph(
    lists: Sequence[Delayed],
    node_chunks: Sequence[int],
    *,
    weights: str,
    symmetrize: str,
    settings: Mapping[str, Any],
    execution: Execution,
    order: NodeOrder | None = None,
) -> BlockGraph:
    """Return the graph of neighbour lists, the same bits for any strips.

    Parameters
    ----------
    lists
        One a strip: (distances float64 (m_i, k), indices int64 (m_i, k)) as
        `kernels.neighbour_lists` describes them; indices are node numbers.
    node_chunks
        Nodes m_i of each strip, none 0.
    weights, symmetrize
        As in `knn_graph`.
    settings
        What the graph says of itself.
    order
        The node of each row; None: node i is row i.

    Notes
    -----
    One task a pair of strips; about 12 bytes move a neighbour. For the median d_k, the last
    distances of 2**20 nodes at most (8 MiB) come together on one worker.
    """
    node_chunks = tuple(node_chunks)
    n_nodes, starts = sum(node_chunks), row_starts(node_chunks)
    n_strips = len(node_chunks)
    floor: Any = 0.0
    if weights == "gaussian":
        every = -(-n_nodes // MEDIAN_ROWS)
        last = [
            dask.delayed(_last)(part, start, every)
            for part, start in zip(lists, starts, strict=True)
        ]
        floor = dask.delayed(distance_floor)(last)
    weighed = [dask.delayed(_weighed)(part, weights, floor) for part in lists]
    pieces = [
        dask.delayed(_turned, nout=n_strips)(part, start, np.array(starts), n_nodes)
        for part, start in zip(weighed, starts, strict=True)
    ]
    strips = execution.persist(
        [
            dask.delayed(_strip)(
                part, n_nodes, symmetrize, *(pieces[i][number] for i in range(n_strips))
            )
            for number, part in enumerate(weighed)
        ],
        "edges",
    )
    n_edges = sum(execution.compute([dask.delayed(_n_entries)(strip) for strip in strips]))
    return BlockGraph(tuple(strips), node_chunks, n_edges, dict(settings), order)


def _last(lists: Lists, first_row: int, every: int) -> Distances:
    return last_distances(lists[0], first_row, every)


def _weighed(lists: Lists, weights: str, floor: float) -> tuple[RowIds, Any]:
    distances, indices = lists
    return indices, edge_weights(distances, indices, weights, floor)


def _turned(
    weighed: tuple[RowIds, Any], first_row: int, starts: Any, n_rows: int
) -> tuple[Edges, ...]:
    return edges_by_strip(*weighed, first_row, starts, n_rows)


def _strip(
    weighed: tuple[RowIds, Any], n_rows: int, symmetrize: str, *incoming: Edges
) -> sp.csr_array:
    return symmetric_strip(*weighed, list(incoming), n_rows, symmetrize)


def _n_entries(strip: sp.csr_array) -> int:
    return int(strip.nnz)
