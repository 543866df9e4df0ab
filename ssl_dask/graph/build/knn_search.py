"""The nearest training rows of new rows."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np

from ssl_dask.array_types import Float64, Int64
from ssl_dask.dask_arrays import array_of_blocks, as_dask_array
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.symmetric_graph import check_choice
from ssl_dask.graph.knn.exact_knn import Lists, check_n_neighbors, nearest_lists, search_strips
from ssl_dask.graph.knn.row_strips import RowStrips, checked_rows, checked_shape, of_kind
from ssl_dask.kernels.knn.neighbour_lists import METRICS

Found = tuple[Float64, Int64] | tuple[da.Array, da.Array]


def knn_search(
    X_new: Any,
    X_train: Any,
    n_neighbors: int,
    *,
    metric: str = "euclidean",
    client: AnyClient = None,
    execution: Execution | None = None,
) -> Found:
    """Return the `n_neighbors` training rows nearest to each new row: distances and row numbers.

    Exact, equal distances by row number; the same bits for any chunks, workers and threads.

    Parameters
    ----------
    X_new
        (m, d): NumPy array, SciPy sparse array or matrix, or Dask array chunked by rows.
    X_train
        (N, d): likewise. New rows are made dense or sparse as these are.
    n_neighbors
        k >= 1; with k > N the last places are empty.
    metric
        "euclidean", or "cosine": distance 1 - cos; a row of zeros has no neighbours.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Returns
    -------
    (distances float64 (m, k), indices int64 (m, k)), by distance; inf and -1 in empty places. As
    Dask arrays, chunked as `X_new`, if that is one.

    Raises
    ------
    GraphError
        The rows do not fit together, or a parameter is not usable.

    Examples
    --------
    >>> distances, indices = knn_search([[1.0]], [[0.0], [3.0], [1.5]], 2)
    >>> distances.tolist(), indices.tolist()
    ([[0.5, 1.0]], [[2, 0]])
    """
    execution = Execution.of(client, execution)
    check_choice("metric", metric, METRICS)
    check_n_neighbors(n_neighbors)
    k, X_new = int(n_neighbors), as_dask_array(X_new)
    points = checked_rows(X_train, execution, centred=metric == "euclidean")
    queries = _rows_like(points, X_new, execution)
    queries, points = (search_strips(rows, k, execution) for rows in (queries, points))
    lists = nearest_lists(queries, points, k, metric, execution, same_rows=False)
    found = [dask.delayed(_as_distances, nout=2)(part, metric) for part in lists]
    if not isinstance(X_new, da.Array):
        parts = execution.compute(found, "neighbours")
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])
    both = [
        array_of_blocks([pair[i] for pair in found], queries.row_chunks, (k,), dtype)
        for i, dtype in enumerate((np.float64, np.int64))
    ]
    return both[0].rechunk({0: X_new.chunks[0]}), both[1].rechunk({0: X_new.chunks[0]})


def _rows_like(points: RowStrips, X_new: da.Array, execution: Execution) -> RowStrips:
    n_columns = checked_shape(X_new)[1]
    if n_columns != points.n_columns:
        raise GraphError(
            f"the new rows have {n_columns} columns, the training rows {points.n_columns}"
        )
    rows = checked_rows(X_new, execution, offsets=points.offsets)
    return of_kind(rows, points.kind, execution)


def _as_distances(lists: Lists, metric: str) -> Lists:
    distances, indices = lists
    return (distances if metric == "cosine" else np.sqrt(distances)), indices
