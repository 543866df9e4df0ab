"""What a graph will cost, before any of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ssl_dask.graph.build.neighbour_graph import chosen_search
from ssl_dask.graph.build.rbf_graph import MEMORY_LIMIT, rbf_bytes, rbf_strips
from ssl_dask.graph.graph_spec import GraphSpec, OneGraphSpec
from ssl_dask.graph.knn.knn_plan import RowCost, strip_count, strips_per_link, usual_strips
from ssl_dask.graph.knn.row_kind import DENSE, SPARSE
from ssl_dask.graph.routed.routed_plan import SHOWN, plan_routed

NONZEROS_PER_ROW = 150.0
"""Stored entries of a row of hashed text, where it is not known."""
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
    """What a graph costs.

    Parameters
    ----------
    tasks
        Number of tasks.
    bytes_moved
        Between workers, at most.
    memory_per_task
        Bytes of the largest task.
    flops
        Floating point operations of the distances, which grow with the square of the rows.
    strips
        Strips of rows of the graph.
    graph_bytes
        Size of the finished graph.
    search
        "exact", "routed", "rbf", "edges", "entities", or "sum".
    disk_bytes
        Room that routed rows and the stored graph take in the run's working folder.
    seconds_per_slot
        Time of the search on one core, of a routed search only.
    """

    tasks: int
    bytes_moved: int
    memory_per_task: int
    flops: float
    strips: int
    graph_bytes: int
    search: str
    disk_bytes: int
    seconds_per_slot: float = 0.0


def estimate_graph(
    spec: GraphSpec,
    *,
    n_rows: int,
    n_columns: int,
    sparse: bool,
    n_slots: int,
    memory_per_task: int,
    n_workers: int | None = None,
    nonzeros_per_row: float = NONZEROS_PER_ROW,
    edge_rows: Sequence[int] = (),
) -> tuple[GraphEstimate, ...]:
    """Return what the graph of `spec` costs; computes none of it.

    Parameters
    ----------
    n_rows, n_columns, sparse
        N and d of the features, and whether they are sparse.
    n_slots, memory_per_task, n_workers
        Tasks that run at a time, bytes each may use, and processes; default: one a slot.
    nonzeros_per_row
        Mean number of stored entries of a sparse row.
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
    away = 1.0 - 1.0 / (n_workers or n_slots)
    edges = iter(edge_rows)
    found = []
    for part in spec.each():
        if part.kind in ("edges", "entities"):
            n_given = next(edges) if part.edges is not None else n_rows * len(part.entities or ())
            found.append(_estimate_joins(part.kind, n_rows, n_given, away, n_slots))
        else:
            found.append(
                _estimate_search(
                    part,
                    n_rows=n_rows,
                    n_columns=n_columns,
                    nonzeros_per_row=nonzeros_per_row if sparse else None,
                    n_slots=n_slots,
                    memory_per_task=memory_per_task,
                    away=away,
                )
            )
    return tuple(found) if spec.parts is None else (*found, _estimate_sum(found, away))


def _estimate_joins(
    kind: str, n_rows: int, n_given: int, away: float, n_slots: int
) -> GraphEstimate:
    """Return what a graph of `n_given` edges, or of as many rows with an entity, costs."""
    # At most half as many entities as rows that have one.
    n_nodes = n_rows + (n_given // 2 if kind == "entities" else 0)
    strips = usual_strips(n_nodes, n_slots)
    size = 16 * n_given
    return GraphEstimate(
        tasks=4 * strips + strips**2,
        bytes_moved=int(away * (2 * ENTRY_BYTES * n_given + 16 * n_rows)),
        memory_per_task=int(4 * ENTRY_BYTES * 2 * n_given / strips + 8 * n_rows),
        flops=0.0,
        strips=strips,
        graph_bytes=size,
        search=kind,
        disk_bytes=size,
    )


def _estimate_sum(parts: Sequence[GraphEstimate], away: float) -> GraphEstimate:
    """Return what the addition of graphs costs, the parts not included."""
    strips = max(part.strips for part in parts)
    size = sum(part.graph_bytes for part in parts)
    n_entries = size // 8
    return GraphEstimate(
        tasks=sum(part.strips for part in parts) * (strips + 1) + 2 * strips,
        bytes_moved=int(away * ENTRY_BYTES * n_entries),
        memory_per_task=int(4 * ENTRY_BYTES * n_entries / strips),
        flops=0.0,
        strips=strips,
        graph_bytes=size,
        search="sum",
        disk_bytes=size,
    )


def _routed_seconds(n_columns: int, nonzeros_per_row: float | None) -> float:
    if nonzeros_per_row is None:
        return ROUTED_SECONDS + ROUTED_SECONDS_PER_COLUMN * n_columns
    return SPARSE_SECONDS + SPARSE_SECONDS_PER_ENTRY * nonzeros_per_row


def _estimate_search(
    spec: OneGraphSpec,
    *,
    n_rows: int,
    n_columns: int,
    nonzeros_per_row: float | None,
    n_slots: int,
    memory_per_task: int,
    away: float,
) -> GraphEstimate:
    """Return what a graph of neighbours by features costs."""
    if spec.kind == "rbf":
        cost = RowCost(n_columns, nonzeros_per_row, 1)
        size = rbf_bytes(n_rows, MEMORY_LIMIT)
        strips = rbf_strips(n_rows, cost, n_slots, memory_per_task)
        return GraphEstimate(
            tasks=4 * strips,
            bytes_moved=int(away * strips * n_rows * cost.stored),
            memory_per_task=int(2 * size / strips + n_rows * cost.stored),
            flops=cost.flops_per_pair * float(n_rows) ** 2,
            strips=strips,
            graph_bytes=size,
            search="rbf",
            disk_bytes=size,
        )
    k = max(min(spec.n_neighbors, n_rows - 1), 1)
    cost = RowCost(n_columns, nonzeros_per_row, k)
    graph_bytes = int(8 * EDGES_PER_NEIGHBOUR * n_rows * k)
    kind = DENSE if nonzeros_per_row is None else SPARSE
    if chosen_search(spec.search, n_rows, kind) == "routed":
        plan = plan_routed(
            n_rows,
            n_columns,
            k,
            nonzeros_per_row=nonzeros_per_row,
            shard_memory=spec.shard_bytes,
            memory_per_task=memory_per_task,
            n_slots=n_slots,
        )
        routed = int(SHOWN * n_rows * cost.stored)
        return GraphEstimate(
            tasks=8 * plan.n_strips + 6 * plan.n_shards + plan.n_shards**2,
            bytes_moved=int(away * (routed + 30.0 * n_rows * k)),
            memory_per_task=plan.task_bytes,
            flops=0.0,
            strips=plan.n_shards,
            graph_bytes=graph_bytes,
            search="routed",
            disk_bytes=routed + graph_bytes,
            seconds_per_slot=n_rows * _routed_seconds(n_columns, nonzeros_per_row),
        )
    strips = strip_count(n_rows, cost, n_slots, memory_per_task)
    rows = ceil(n_rows / strips)
    per_link = min(strips_per_link(rows, rows, cost, memory_per_task), strips)
    links = ceil(strips / per_link)
    moved = n_rows * (strips * cost.stored + links * cost.lists / 2 + 12.0 * k)
    return GraphEstimate(
        tasks=strips * (links + 7) + 2 * strips**2,
        bytes_moved=int(away * moved),
        memory_per_task=int(
            cost.fixed + rows * (cost.query + cost.working + per_link * cost.stored)
        ),
        flops=cost.flops_per_pair * float(n_rows) ** 2,
        strips=strips,
        graph_bytes=graph_bytes,
        search="exact",
        disk_bytes=graph_bytes,
    )
