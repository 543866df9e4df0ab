"""Several graphs over the same rows -> one: their weights added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph, even_chunks
from ssl_dask.graph.block.entry_exchange import exchanged_weightings, strip_entries
from ssl_dask.graph.block.node_order import NodeOrder, ranked, row_blocks
from ssl_dask.kernels.graph.coo_strips import Entries, both_ways

COPY_WEIGHT = 1.0
"""Weight of a row with the node of its copies: that of two rows at distance 0."""

Nodes = Int64


def sum_graphs(
    parts: Sequence[tuple[BlockGraph, float]],
    *,
    ranks: NodeOrder | None = None,
    client: AnyClient = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph whose weights are the weighted sum of those of several graphs.

    Parameters
    ----------
    parts
        (graph, factor > 0): all over the same rows.
    ranks
        By which copies are ordered; None: by row number.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Returns
    -------
    BlockGraph over the rows and the entities of all parts. If a part keeps copies of a row in one
    node, each of the rows becomes a node here, joined with that node by the weight 1: other parts
    may tell copies apart. Rows are numbered as in the part with an order of its own that has most
    edges; all other nodes come behind them, part by part.

    Raises
    ------
    GraphError
        No parts, different numbers of rows, a factor that is no finite number > 0, or weights that
        add up to more than a float32 can hold.

    Notes
    -----
    Every entry moves once, 24 bytes. Where a part has an order, each worker holds 8 bytes a node,
    and one worker some 40 bytes a row for a moment.

    Examples
    --------
    >>> graph = BlockGraph.from_edges([0], [1], n_rows=2)
    >>> sum_graphs([(graph, 1.0), (graph, 0.5)]).to_scipy().toarray().tolist()
    [[0.0, 1.5], [1.5, 0.0]]
    """
    execution = Execution.of(client, execution)
    _check(parts)
    graphs = [graph for graph, _ in parts]
    joint = _joint_order(graphs, ranks)
    maps, copies, n_nodes = _numbered_nodes(parts, joint, execution)
    chunks = even_chunks(n_nodes, min(max(len(graph.strips) for graph in graphs), n_nodes))

    def entries(name: str | None) -> list[Delayed]:
        blocks = []
        for (graph, factor), mapping in zip(parts, maps, strict=True):
            columns = [graph.strips_weighted(name), graph.node_starts]
            blocks += block_tasks(strip_entries, columns, float(factor), mapping)
        return blocks + copies

    names = dict.fromkeys(name for graph in graphs for name in graph.alternatives)
    strips, n_edges, more = exchanged_weightings(entries, names, chunks, execution)
    order = None if joint is None else _order(joint, graphs, n_nodes, execution)
    return BlockGraph(strips, chunks, n_edges, _settings(parts), order, more)


def _check(parts: Sequence[tuple[BlockGraph, float]]) -> None:
    if not parts:
        raise GraphError("there are no graphs to add up; give at least one")
    rows = [graph.n_rows for graph, _ in parts]
    if len(set(rows)) > 1:
        raise GraphError(f"the graphs have {rows} rows; they must be over the same rows")
    for _, factor in parts:
        if not 0 < factor < np.inf:
            raise GraphError(f"a graph is weighed by {factor}; give a finite number > 0")


def _joint_order(graphs: Sequence[BlockGraph], ranks: NodeOrder | None) -> Delayed | None:
    """Return the joint number of each row, int64 (N,) on a worker; None if it is its own."""
    ordered = [graph for graph in graphs if graph.order is not None]
    if not ordered:
        return None
    leading = max(ordered, key=lambda graph: graph.n_edges).order
    assert leading is not None
    ties = None if ranks is None else list(ranks.blocks)
    return dask.delayed(ranked)(list(leading.blocks), ties)


def _numbered_nodes(
    parts: Sequence[tuple[BlockGraph, float]], joint: Delayed | None, execution: Execution
) -> tuple[list[Delayed | None], list[Delayed], int]:
    """Return the map of each part's nodes, the edges of nodes of copies, and the number of nodes.

    The nodes of a part that are not one row each come behind the rows and the parts before it.
    """
    n_nodes = parts[0][0].n_rows
    if joint is None:
        return [None] * len(parts), [], n_nodes
    maps: list[Delayed | None] = []
    copies: list[Delayed] = []
    for graph, factor in parts:
        nodes = (
            None if graph.order is None else dask.delayed(np.concatenate)(list(graph.order.blocks))
        )
        (n_more,) = execution.compute([dask.delayed(_n_without_own_row)(nodes, graph.n_nodes)])
        maps.append(dask.delayed(_map)(nodes, joint, graph.n_nodes, n_nodes))
        if n_more and graph.order is not None:
            copies.append(dask.delayed(_copies)(nodes, joint, maps[-1], factor))
        n_nodes += n_more
    return maps, copies, n_nodes


def _order(
    joint: Delayed, graphs: Sequence[BlockGraph], n_nodes: int, execution: Execution
) -> NodeOrder:
    chunks = next(graph.order.row_chunks for graph in graphs if graph.order is not None)
    blocks = execution.persist(row_blocks(joint, chunks), "edges")
    return NodeOrder(tuple(blocks), chunks, n_nodes)


def _settings(parts: Sequence[tuple[BlockGraph, float]]) -> dict[str, Any]:
    about = [{**graph.settings, "weight": float(factor)} for graph, factor in parts]
    notes = [note for part in about for note in part.get("notes", ())]
    copies = max(int(part.get("n_among_copies", 0)) for part in about)
    return {"kind": "sum", "parts": about, "n_among_copies": copies, "notes": notes}


def _n_without_own_row(nodes: Nodes | None, n_nodes: int) -> int:
    if nodes is None:
        return 0
    return int(np.count_nonzero(np.bincount(nodes, minlength=n_nodes) != 1))


def _map(nodes: Nodes | None, joint: Nodes, n_nodes: int, first_new: int) -> Nodes:
    """Return the joint number of each node of a part, int64 (M,).

    A node with one row is that row; others, of entities and of copies, are new nodes.
    """
    if nodes is None:
        return joint
    counts = np.bincount(nodes, minlength=n_nodes)
    mapping = np.empty(n_nodes, dtype=np.int64)
    single = counts[nodes] == 1
    mapping[nodes[single]] = joint[single]
    others = np.flatnonzero(counts != 1)
    mapping[others] = first_new + np.arange(len(others))
    return mapping


def _copies(nodes: Nodes, joint: Nodes, mapping: Nodes, factor: float) -> Entries:
    """Return the edges of rows that share a node with the new node that stands for it."""
    shared = np.bincount(nodes)[nodes] > 1
    u, v = joint[shared], mapping[nodes[shared]]
    return both_ways(u, v, np.full(len(u), COPY_WEIGHT * factor), directed=False)
