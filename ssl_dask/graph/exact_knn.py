"""The exact k-nearest-neighbour graph: every row is compared with every other, on all workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed
from distributed import Client

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph, row_starts
from ssl_dask.graph.knn_plan import strip_count, strips_per_link
from ssl_dask.graph.row_strips import RowStrips, checked_rows, checked_shape, cut_rows
from ssl_dask.graph.symmetric_graph import (
    check_choice,
    check_weights,
    symmetric_graph,
    usual_symmetrize,
)
from ssl_dask.kernels.nearest_neighbours import update_nearest
from ssl_dask.kernels.neighbour_lists import METRICS, Distances, RowIds, empty_lists
from ssl_dask.kernels.sparse_neighbours import update_nearest_sparse
from ssl_dask.kernels.symmetric_strip import SYMMETRIZE

Lists = tuple[Distances, RowIds]


def knn_graph(
    X: Any,
    n_neighbors: int = 15,
    *,
    metric: str = "euclidean",
    weights: str | Sequence[str] = "gaussian",
    symmetrize: str | None = None,
    client: Client | None = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph that joins every row with its `n_neighbors` nearest other rows.

    Exact over all pairs; equal distances are decided by the smaller row number. The same bits
    for any chunks of X, workers and threads.

    Parameters
    ----------
    X
        (N, d): NumPy array, SciPy sparse array or matrix, or Dask array chunked by rows with
        dense or CSR chunks. Taken as float32.
    n_neighbors
        k >= 1. With k >= N - 1 every row is joined with every other, and `settings` says so.
    metric
        "euclidean", or "cosine": distance 1 - cos; rows of zeros are isolated.
    weights
        "gaussian": exp(-4 d^2 / d_k^2), d_k the distance to the row's last neighbour, at least
        1e-3 of the median d_k; for cosine d^2 is 2 (1 - cos). "symmetric_gaussian": the same with
        d_k(i) d_k(j) in place of d_k^2. "self_tuning": exp(-d^2 / (s_i s_j)), s the distance to
        the 7th neighbour. "fuzzy": UMAP's memberships. "uniform": 1. The formulas and papers are
        in `kernels.edge_weights`. Several names: the first are the graph's weights, the others
        its `alternatives`, from one search.
    symmetrize
        "average": (W + W^T) / 2. "union": the larger of w_ij and w_ji. "mutual": the smaller, so
        only pairs that chose each other are joined. "fuzzy_union": a + b - a b. None: "average",
        for fuzzy weights "fuzzy_union".
    client
        Runs on its cluster; default: in this process.
    execution
        Where to run instead of `client`.

    Raises
    ------
    GraphError
        X or a parameter is not usable, or a task would not fit `execution.memory_per_task`.
    ComputeError
        Workers were lost or ran out of memory.

    Notes
    -----
    2 N^2 d flops in float32 for dense rows, a multiplication for each pair of rows and column they
    share for sparse ones. `graph_estimate.estimate_graph` gives tasks, bytes moved and memory.
    """
    execution = chosen_execution(client, execution)
    check_choice("metric", metric, METRICS)
    names = check_weights(weights)
    symmetrize = symmetrize or usual_symmetrize(names[0])
    check_choice("symmetrize", symmetrize, SYMMETRIZE)
    check_n_neighbors(n_neighbors)
    places = max(min(int(n_neighbors), checked_shape(X)[0] - 1), 1)
    rows = search_strips(checked_rows(X, execution), places, execution)
    lists = nearest_lists(rows, rows, places, metric, execution, same_rows=True)
    counted = execution.compute([dask.delayed(_count_odd_rows)(part) for part in lists])
    alone, crowded = ([counts[i] for counts in counted] for i in (0, 1))
    settings: dict[str, Any] = {
        "kind": "knn",
        "n_neighbors": int(n_neighbors),
        "metric": metric,
        "weights": names[0],
        "symmetrize": symmetrize,
        "search": "exact",
        "n_without_neighbours": sum(alone),
        "n_among_copies": sum(crowded),
        "notes": [],
    }
    if n_neighbors >= rows.n_rows:
        settings["notes"].append(
            f"n_neighbors is {n_neighbors} and there are {rows.n_rows} rows: every row is joined"
            " with every other"
        )
    if metric == "cosine" and sum(alone) and rows.n_rows > 1:
        settings["notes"].append(f"{sum(alone)} rows hold only zeros and have no neighbours")
    return symmetric_graph(
        lists,
        rows.row_chunks,
        weights=names,
        symmetrize=symmetrize,
        settings=settings,
        execution=execution,
    )


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

    Parameters
    ----------
    same_rows
        Queries and points are the same rows: a row is no neighbour of itself.

    Returns
    -------
    Handles to (distances, indices), as `kernels.neighbour_lists` describes them.

    Notes
    -----
    For each query strip a chain of tasks; each brings the lists up to date with as many strips of
    points as memory allows, and hands them on.
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


def chosen_execution(client: Client | None, execution: Execution | None) -> Execution:
    """Return where to run, given one of the two at most."""
    if client is not None and execution is not None:
        raise GraphError("give client or execution, not both")
    return execution or Execution(client)


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
    update = update_nearest_sparse if sp.issparse(queries) else update_nearest
    for start, points in zip(starts, panel, strict=True):
        p_ids = np.arange(start, start + points.shape[0])
        update(queries, q_ids, points, p_ids, distances, indices, metric)
    return distances, indices


def _count_odd_rows(lists: Lists) -> tuple[int, int]:
    """Return how many rows have no neighbours, and how many have only copies of themselves."""
    distances, indices = lists
    full = indices[:, -1] >= 0
    return (
        int(np.count_nonzero(indices[:, 0] < 0)),
        int(np.count_nonzero(full & (distances[:, -1] == 0))),
    )
