"""What a graph will cost, before any of it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.graph.knn_plan import RowCost, strip_count, strips_per_link
from ssl_dask.graph.neighbour_graph import chosen_search
from ssl_dask.graph.rbf_graph import MEMORY_LIMIT, rbf_bytes, rbf_strips
from ssl_dask.graph.routed_plan import SHOWN, plan_routed

NONZEROS_PER_ROW = 150.0
"""Stored entries of a row of hashed text, where it is not known."""
EDGES_PER_NEIGHBOUR = 1.5
"""Stored entries of a graph over its neighbours: about half of the pairs chose each other."""

ROUTED_SECONDS = 10e-6
ROUTED_SECONDS_PER_COLUMN = 0.15e-6
"""Time of a routed search for each row, and for each of its columns, on one core."""


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
        "exact", "routed", or "rbf".
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
) -> GraphEstimate:
    """Return what the graph of `spec` costs; computes none of it.

    Parameters
    ----------
    n_rows, n_columns, sparse
        N and d of the features, and whether they are sparse.
    n_slots, memory_per_task, n_workers
        Tasks that run at a time, bytes each may use, and processes; default: one a slot.
    nonzeros_per_row
        Mean number of stored entries of a sparse row.

    Raises
    ------
    GraphError
        A task would not fit `memory_per_task`, or an rbf graph its memory limit.
    """
    dense_or_entries = nonzeros_per_row if sparse else None
    away = 1.0 - 1.0 / (n_workers or n_slots)
    if spec.kind == "rbf":
        cost = RowCost(n_columns, dense_or_entries, 1)
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
    cost = RowCost(n_columns, dense_or_entries, k)
    graph_bytes = int(8 * EDGES_PER_NEIGHBOUR * n_rows * k)
    if chosen_search(spec.search, n_rows, sparse=sparse) == "routed":
        plan = plan_routed(
            n_rows,
            n_columns,
            k,
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
            seconds_per_slot=n_rows * (ROUTED_SECONDS + ROUTED_SECONDS_PER_COLUMN * n_columns),
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
