"""Exact neighbour lists: every row is compared with every other, on all workers."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import row_starts
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.knn.knn_plan import strip_count, strips_per_link
from ssl_dask.graph.knn.row_kind import kind_of
from ssl_dask.graph.knn.row_strips import RowStrips, cut_rows
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds, empty_lists

Lists = tuple[Distances, RowIds]


def nearest_lists(
    queries: RowStrips,
    points: RowStrips,
    n_neighbors: int,
    metric: str,
    execution: Execution,
    *,
    same_rows: bool,
) -> list[Delayed]:
    """Return the nearest points of each query, on workers: one pair of lists a query strip.

    Handles to (distances, indices), as `kernels.neighbour_lists` describes them. For each query
    strip a chain of tasks; each brings the lists up to date with as many strips of points as memory
    allows, and hands them on. `same_rows`: queries and points are the same rows, and a row is no
    neighbour of itself.
    """
    starts = row_starts(points.row_chunks)
    per_link = strips_per_link(
        max(queries.row_chunks),
        max(points.row_chunks),
        queries.cost(n_neighbors),
        execution.memory_per_task,
    )
    panels = range(0, len(points.strips), per_link)
    ends = []
    for strip, start in zip(queries.strips, row_starts(queries.row_chunks), strict=True):
        lists: Delayed | None = None
        for first in panels:
            lists = dask.delayed(_link)(
                lists,
                strip,
                start if same_rows else None,
                n_neighbors,
                metric,
                starts[first : first + per_link],
                *points.strips[first : first + per_link],
            )
        ends.append(lists)
    return execution.persist(ends, "neighbours")


def search_strips(rows: RowStrips, n_neighbors: int, execution: Execution) -> RowStrips:
    """Return `rows` in strips that a search task can hold.

    Raises
    ------
    GraphError
        The rows are too many for `execution.memory_per_task`.
    """
    cost = rows.cost(n_neighbors)
    count = strip_count(rows.n_rows, cost, execution.n_slots, execution.memory_per_task)
    return cut_rows(rows, count, execution)


def check_n_neighbors(n_neighbors: Any) -> None:
    """Raise GraphError if `n_neighbors` is no whole number >= 1."""
    if isinstance(n_neighbors, bool) or not isinstance(n_neighbors, (int, np.integer)):
        raise GraphError(f"n_neighbors is {n_neighbors!r}; it must be a whole number")
    if n_neighbors < 1:
        raise GraphError(f"n_neighbors is {n_neighbors}; it must be at least 1")


def _link(
    lists: Lists | None,
    queries: Any,
    first_query: int | None,
    n_neighbors: int,
    metric: str,
    starts: tuple[int, ...],
    *panel: Any,
) -> Lists:
    """Return the lists brought up to date with the strips of `panel`."""
    n = queries.shape[0]
    q_ids = np.full(n, -1) if first_query is None else np.arange(first_query, first_query + n)
    if lists is None:
        distances, indices = empty_lists(n, n_neighbors)
    else:
        distances, indices = lists[0].copy(), lists[1].copy()
    update = kind_of(queries).update
    for start, points in zip(starts, panel, strict=True):
        p_ids = np.arange(start, start + points.shape[0])
        update(queries, q_ids, points, p_ids, distances, indices, metric)
    return distances, indices
