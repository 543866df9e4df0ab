"""The graph that joins every row with every other: for few rows."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp

from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.dask_arrays import as_dask_array
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.knn.knn_plan import TASK_SHARE, RowCost, usual_strips
from ssl_dask.graph.knn.row_strips import checked_rows, checked_shape, cut_rows
from ssl_dask.kernels.graph.edge_weights import radial_strip

MEMORY_LIMIT = 2 * 2**30


def rbf_graph(
    X: Any,
    gamma: float = 20.0,
    *,
    memory_limit: int = MEMORY_LIMIT,
    ranks: NodeOrder | None = None,
    client: AnyClient = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph with weight exp(-gamma |x - y|^2) between any two rows.

    scikit-learn's kernel="rbf" without the diagonal: a self-edge changes neither the clamped
    (harmonic) solution nor scikit-learn's spreading, which sets it to 0.

    Parameters
    ----------
    X
        (N, d): NumPy array, SciPy sparse array or matrix, or Dask array chunked by rows with
        dense or CSR chunks. Taken as float32, without the offset of columns that are far from
        zero; distances are float64.
    gamma
        A number > 0. Pairs whose weight is below the smallest normal float32, 1.2e-38, are not
        joined (gamma |x - y|^2 above 87); `settings` says how many.
    memory_limit
        Most bytes of the graph, 8 N (N - 1), over all workers.
    ranks
        Number of the node of each row, in the chunks of X; None: its row number.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Raises
    ------
    GraphError
        The graph is larger than `memory_limit`, all rows do not fit a task, or X or gamma is wrong.

    Notes
    -----
    N^2 d multiplications in float64. Each task holds all rows of X and its strip of the graph.

    Examples
    --------
    >>> W = rbf_graph(np.array([[0.0], [1.0], [9.0]]), gamma=0.5).to_scipy()
    >>> W.nnz, f"{W[0, 1]:.3f}"
    (6, '0.607')
    """
    execution = Execution.of(client, execution)
    _check_gamma(gamma)
    rbf_bytes(checked_shape(as_dask_array(X))[0], memory_limit)
    chunks = replace(checked_rows(X, execution, centred=True), ranks=ranks)
    slots, memory = execution.n_slots, execution.memory_per_task
    n_strips = rbf_strips(chunks.n_rows, chunks.cost(1), slots, memory)
    rows = cut_rows(chunks, n_strips, execution)
    starts = row_starts(rows.row_chunks)
    tasks = block_tasks(_strip, [rows.strips, starts], float(gamma), *rows.strips)
    strips = execution.persist(tasks, "neighbours")
    counts = execution.compute(block_tasks(_counts, [strips]))
    n_edges, n_alone = (sum(column) for column in zip(*counts, strict=True))
    about = _settings(float(gamma), rows.n_rows, n_edges, n_alone)
    return BlockGraph(tuple(strips), rows.row_chunks, n_edges, about, ranks)


def rbf_bytes(n_rows: int, memory_limit: int) -> int:
    """Return the bytes of the graph of `n_rows` rows.

    Raises
    ------
    GraphError
        They are more than `memory_limit`.
    """
    size = 8 * n_rows * (n_rows - 1)
    if size > memory_limit:
        raise GraphError(
            f"an rbf graph joins all pairs of {n_rows} rows: {size / 2**30:.1f} GiB; the limit is"
            f" {memory_limit / 2**30:.1f} GiB",
            hint="use kind knn (kernel='knn'), which grows with the rows, not with their square",
        )
    return size


def rbf_strips(n_rows: int, cost: RowCost, n_slots: int, memory_per_task: int) -> int:
    """Return into how many strips an rbf graph is cut, so that a task can hold its strip twice.

    Raises
    ------
    GraphError
        All rows of X, which each task holds, do not fit `memory_per_task`.
    """
    room = memory_per_task * TASK_SHARE - n_rows * cost.stored - 2**26
    if room < 16 * n_rows:
        needed = (n_rows * (cost.stored + 16) + 2**26) / TASK_SHARE
        raise GraphError(
            f"an rbf graph of {n_rows} rows needs {needed / 2**20:.0f} MiB a task; there are"
            f" {memory_per_task / 2**20:.0f} MiB",
            hint="give workers more memory (cluster.memory of a job), or use kind knn",
        )
    return min(max(usual_strips(n_rows, n_slots), ceil(16 * n_rows * n_rows / room)), n_rows)


def _check_gamma(gamma: Any) -> None:
    if not (isinstance(gamma, (int, float, np.number)) and 0 < gamma < np.inf):
        raise GraphError(f"gamma is {gamma!r}; it must be a number > 0")


def _settings(gamma: float, n_rows: int, n_edges: int, n_alone: int) -> dict[str, Any]:
    """Return what the graph says of itself; `n_alone` rows have no edge."""
    settings: dict[str, Any] = {
        "kind": "rbf",
        "gamma": gamma,
        "pairs_of_no_weight": (n_rows * (n_rows - 1) - n_edges) // 2,
        "n_without_neighbours": n_alone,
        "notes": [],
    }
    if n_alone and n_rows > 1:
        settings["notes"].append(
            f"{n_alone} rows have no weight above 1.2e-38 with any other: gamma {gamma:g} is large"
            " for these features; scale them, or use a smaller gamma or kind knn"
        )
    return settings


def _strip(rows: Any, first_row: int, gamma: float, *panels: Any) -> sp.csr_array:
    return radial_strip(rows, first_row, list(panels), gamma)


def _counts(strip: sp.csr_array) -> tuple[int, int]:
    return int(strip.nnz), int(np.count_nonzero(np.diff(strip.indptr) == 0))
