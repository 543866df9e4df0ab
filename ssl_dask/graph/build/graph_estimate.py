"""What a graph will cost, before any of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from ssl_dask.graph.build.neighbour_graph import chosen_search
from ssl_dask.graph.build.rbf_graph import MEMORY_LIMIT, rbf_bytes, rbf_strips
from ssl_dask.graph.graph_spec import GraphSpec, OneGraphSpec
from ssl_dask.graph.knn.knn_plan import RowCost, strip_count, strips_per_link, usual_strips
from ssl_dask.graph.knn.row_kind import DENSE, SPARSE
from ssl_dask.graph.routed.routed_plan import SHOWN, plan_routed

NONZEROS_PER_ROW = 150.0
"""Stored entries of a row of hashed text, where their number is not known."""
EDGES_PER_NEIGHBOUR = 1.5
"""Stored entries of a graph over its neighbours: about half of the pairs chose each other."""

ENTRY_BYTES = 24
"""What an entry of an edge or of a part takes while it is exchanged."""
ROUTED_SECONDS = 10e-6
ROUTED_SECONDS_PER_COLUMN = 0.15e-6
"""Time of a routed search for each row, and for each of its columns, on one core."""
SPARSE_SECONDS = 40e-6
SPARSE_SECONDS_PER_ENTRY = 2e-6
"""The same for sparse rows, for each row and each of its stored entries."""


@dataclass(frozen=True)
class GraphEstimate:
    """What a graph costs."""

    tasks: int
    """Number of tasks."""
    bytes_moved: int
    """Between workers, at most."""
    memory_per_task: int
    """Bytes of the largest task."""
    flops: float
    """Floating point operations of the distances, which grow with the square of the rows."""
    strips: int
    """Strips of rows of the graph."""
    graph_bytes: int
    """Size of the finished graph."""
    search: str
    """"exact", "routed", "rbf", "edges", "entities", or "sum"."""
    disk_bytes: int
    """Room that routed rows and the stored graph take in the run's working folder."""
    seconds_per_slot: float = 0.0
    """Time of the search on one core, of a routed search only."""


class RowsToJoin(NamedTuple):
    """Rows that a graph joins: N, d, and the mean number of stored entries; None: dense rows."""

    n_rows: int
    n_columns: int
    nonzeros_per_row: float | None

    def cost(self, n_neighbors: int) -> RowCost:
        """Return what a row costs that looks for so many neighbours."""
        return RowCost(self.n_columns, self.nonzeros_per_row, n_neighbors)


class Slots(NamedTuple):
    """Tasks that run at a time, the bytes each may use, and the number of processes."""

    n_slots: int
    memory_per_task: int
    n_workers: int

    @property
    def away(self) -> float:
        """Share of the values that lie on another worker than the task that needs them."""
        return 1.0 - 1.0 / self.n_workers


def estimate_graph(
    spec: GraphSpec, rows: RowsToJoin, slots: Slots, edge_rows: Sequence[int] = ()
) -> tuple[GraphEstimate, ...]:
    """Return what the graph of `spec` costs; computes none of it.

    Parameters
    ----------
    rows, slots
        What it joins, and what computes it.
    edge_rows
        Edges in each of the files of `spec.edge_lists()`.

    Returns
    -------
    One estimate for each part of a sum, and then one for the addition; else a single one.

    Raises
    ------
    GraphError
        A task would not fit `memory_per_task`, or an rbf graph its memory limit.
    """
    edges = iter(edge_rows)
    found = []
    for part in spec.each():
        if part.kind in ("edges", "entities"):
            per_row = len(part.entities or ())
            n_given = next(edges) if part.edges is not None else rows.n_rows * per_row
            found.append(_estimate_joins(part.kind, rows.n_rows, n_given, slots))
        elif part.kind == "rbf":
            found.append(_estimate_rbf(rows, slots))
        else:
            k = max(min(part.n_neighbors, rows.n_rows - 1), 1)
            kind = DENSE if rows.nonzeros_per_row is None else SPARSE
            if chosen_search(part.search, rows.n_rows, kind) == "routed":
                found.append(_estimate_routed(part, rows, k, slots))
            else:
                found.append(_estimate_exact(rows, k, slots))
    return tuple(found) if spec.parts is None else (*found, _estimate_sum(found, slots))


def _estimate_joins(kind: str, n_rows: int, n_given: int, slots: Slots) -> GraphEstimate:
    """Return what a graph of `n_given` edges, or of as many rows with an entity, costs."""
    # At most half as many entities as rows that have one.
    n_nodes = n_rows + (n_given // 2 if kind == "entities" else 0)
    strips = usual_strips(n_nodes, slots.n_slots)
    size = 16 * n_given
    return GraphEstimate(
        tasks=4 * strips + strips**2,
        bytes_moved=int(slots.away * (2 * ENTRY_BYTES * n_given + 16 * n_rows)),
        memory_per_task=int(4 * ENTRY_BYTES * 2 * n_given / strips + 8 * n_rows),
        flops=0.0,
        strips=strips,
        graph_bytes=size,
        search=kind,
        disk_bytes=size,
    )


def _estimate_sum(parts: Sequence[GraphEstimate], slots: Slots) -> GraphEstimate:
    """Return what the addition of graphs costs, the parts not included."""
    strips = max(part.strips for part in parts)
    size = sum(part.graph_bytes for part in parts)
    n_entries = size // 8
    return GraphEstimate(
        tasks=sum(part.strips for part in parts) * (strips + 1) + 2 * strips,
        bytes_moved=int(slots.away * ENTRY_BYTES * n_entries),
        memory_per_task=int(4 * ENTRY_BYTES * n_entries / strips),
        flops=0.0,
        strips=strips,
        graph_bytes=size,
        search="sum",
        disk_bytes=size,
    )


def _estimate_rbf(rows: RowsToJoin, slots: Slots) -> GraphEstimate:
    """Return what a graph of all pairs of rows costs."""
    cost = rows.cost(1)
    size = rbf_bytes(rows.n_rows, MEMORY_LIMIT)
    strips = rbf_strips(rows.n_rows, cost, slots.n_slots, slots.memory_per_task)
    return GraphEstimate(
        tasks=4 * strips,
        bytes_moved=int(slots.away * strips * rows.n_rows * cost.stored),
        memory_per_task=int(2 * size / strips + rows.n_rows * cost.stored),
        flops=cost.flops_per_pair * float(rows.n_rows) ** 2,
        strips=strips,
        graph_bytes=size,
        search="rbf",
        disk_bytes=size,
    )


def _estimate_routed(
    spec: OneGraphSpec, rows: RowsToJoin, n_neighbors: int, slots: Slots
) -> GraphEstimate:
    """Return what a routed search and its graph cost."""
    n_rows, cost = rows.n_rows, rows.cost(n_neighbors)
    plan = plan_routed(
        n_rows,
        cost,
        shard_memory=spec.shard_bytes,
        memory_per_task=slots.memory_per_task,
        n_slots=slots.n_slots,
    )
    routed = int(SHOWN * n_rows * cost.stored)
    graph_bytes = _graph_bytes(n_rows, n_neighbors)
    return GraphEstimate(
        tasks=8 * plan.n_strips + 6 * plan.n_shards + plan.n_shards**2,
        bytes_moved=int(slots.away * (routed + 30.0 * n_rows * n_neighbors)),
        memory_per_task=plan.task_bytes,
        flops=0.0,
        strips=plan.n_shards,
        graph_bytes=graph_bytes,
        search="routed",
        disk_bytes=routed + graph_bytes,
        seconds_per_slot=n_rows * _routed_seconds(rows.n_columns, rows.nonzeros_per_row),
    )


def _estimate_exact(rows: RowsToJoin, n_neighbors: int, slots: Slots) -> GraphEstimate:
    """Return what an exact search and its graph cost."""
    n_rows, cost, memory = rows.n_rows, rows.cost(n_neighbors), slots.memory_per_task
    strips = strip_count(n_rows, cost, slots.n_slots, memory)
    strip_rows = ceil(n_rows / strips)
    per_link = min(strips_per_link(strip_rows, strip_rows, cost, memory), strips)
    links = ceil(strips / per_link)
    moved = n_rows * (strips * cost.stored + links * cost.lists / 2 + 12.0 * n_neighbors)
    per_row = cost.query + cost.working + per_link * cost.stored
    graph_bytes = _graph_bytes(n_rows, n_neighbors)
    return GraphEstimate(
        tasks=strips * (links + 7) + 2 * strips**2,
        bytes_moved=int(slots.away * moved),
        memory_per_task=int(cost.fixed + strip_rows * per_row),
        flops=cost.flops_per_pair * float(n_rows) ** 2,
        strips=strips,
        graph_bytes=graph_bytes,
        search="exact",
        disk_bytes=graph_bytes,
    )


def _graph_bytes(n_rows: int, n_neighbors: int) -> int:
    return int(8 * EDGES_PER_NEIGHBOUR * n_rows * n_neighbors)


def _routed_seconds(n_columns: int, nonzeros_per_row: float | None) -> float:
    if nonzeros_per_row is None:
        return ROUTED_SECONDS + ROUTED_SECONDS_PER_COLUMN * n_columns
    return SPARSE_SECONDS + SPARSE_SECONDS_PER_ENTRY * nonzeros_per_row
