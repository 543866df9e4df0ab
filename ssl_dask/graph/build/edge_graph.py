"""The graph of edges that lie on the workers, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Float64, Int64
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph, even_chunks
from ssl_dask.graph.block.edge_list import edge_settings, kept_edges
from ssl_dask.graph.block.entry_exchange import exchanged_strips
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.block.symmetric_graph import check_choice
from ssl_dask.graph.knn.knn_plan import usual_strips
from ssl_dask.kernels.graph.coo_strips import COMBINE, Entries

EdgeBlock = tuple[Int64, Int64, Float64]


def _notes(given: int, unknown: int) -> list[str]:
    text = f"{unknown:,} of {given:,} edges name an id that no row has, and were left out"
    return [text] if unknown else []


def edge_graph(
    blocks: Sequence[Delayed],
    n_rows: int,
    *,
    directed: bool = False,
    duplicates: str = "sum",
    settings: Mapping[str, Any] | None = None,
    ranks: NodeOrder | None = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the undirected graph of edges that lie in blocks; the same bits for any blocks.

    Edges that join a row with itself are dropped, as are those with an unknown end; `settings`
    says how many.

    Parameters
    ----------
    blocks
        Each (source int64 (E,), target int64 (E,), weight float64 (E,)): row numbers, negative
        where the end is unknown, and finite weights >= 0.
    n_rows
        Number of rows N.
    directed
        Whether an edge and its reverse are two edges, whose weights are averaged.
    duplicates
        What an edge weighs that comes more than once: the "sum" of its weights or their "max".
    settings
        What the graph says of itself besides.
    ranks
        Number of the node of each row; None: its row number.
    execution
        Where to run; default: in this process.

    Raises
    ------
    GraphError
        `duplicates` is unknown, or weights add up to more than a float32 can hold.

    Notes
    -----
    Each edge is moved twice, 24 bytes each time; in 1,024 pieces or one a strip. With `ranks` each
    worker holds 8 bytes a row.
    """
    execution = execution or Execution()
    check_choice("duplicates", duplicates, COMBINE)
    nodes = None if ranks is None else dask.delayed(np.concatenate)(list(ranks.blocks))
    checked = execution.persist(
        [dask.delayed(_entries, nout=2)(block, directed, nodes) for block in blocks], "edges"
    )
    counts = execution.compute([part[1] for part in checked])
    counts = np.sum(counts, axis=0).tolist()
    chunks = even_chunks(n_rows, usual_strips(n_rows, execution.n_slots))
    strips, n_entries = exchanged_strips(
        [part[0] for part in checked], chunks, execution, combine=duplicates
    )
    about = {"kind": "edges", **(settings or {})}
    about |= edge_settings(counts, duplicates=duplicates, directed=directed)
    about["notes"] = _notes(*counts[:2])
    return BlockGraph(strips, chunks, n_entries, about, ranks)


def _entries(
    block: EdgeBlock, directed: bool, nodes: Int64 | None
) -> tuple[Entries, tuple[int, int, int]]:
    source, target, weight = block
    if nodes is not None:
        source, target = (np.where(end < 0, end, nodes[end]) for end in (source, target))
    return kept_edges(source, target, weight, directed=directed)
