"""The k-nearest-neighbour graph of rows: exact for few of them, routed for many.

metric
    "cosine" is the distance 1 - cos; rows of zeros are isolated. Equal distances are decided by the
    smaller row number, or rank (exact), or node number (routed).
weights
    "gaussian": exp(-4 d^2 / d_k^2), d_k the distance to the row's last neighbour, at least 1e-3 of
    the median d_k; for cosine d^2 is 2 (1 - cos). "symmetric_gaussian": the same with d_k(i) d_k(j)
    in place of d_k^2, "steep_gaussian" with 8 for 4 too. "self_tuning": exp(-d^2 / (s_i s_j)), s
    the distance to the 7th neighbour. "fuzzy": UMAP's memberships. "uniform": 1. The papers are in
    `kernels.graph.edge_weights`. Several names: the first are the graph's weights, the others its
    `alternatives`, from one search.
symmetrize
    "average": (W + W^T) / 2. "union": the larger of w_ij and w_ji. "mutual": the smaller, so only
    pairs that chose each other are joined. "fuzzy_union": a + b - a b. None: "average", for fuzzy
    weights "fuzzy_union".
search
    "exact": all pairs of rows; 2 N^2 d flops in float32 for dense rows, a multiplication for each
    pair of rows and column they share for sparse ones. "routed": rows that lie near each other are
    brought together in shards and compared there; copies of a row are one node; 15 to 25
    microseconds a row on one core at d = 64, for sparse rows about 40 and 2 for each entry; about
    2.3 times the rows move once. "auto": routed from 30,000 rows on, of sparse rows from 60,000.
    `graph_estimate.estimate_graph` gives tasks, bytes moved and memory.
target_recall
    Share of the true neighbours that must be found, measured on about 1,000 sampled rows; the
    search looks harder until it is met. `graph.recall` is what was reached.
shard_memory
    Bytes of the task of one shard. It decides how rows are cut into shards, so that the graph does
    not depend on the cluster; larger shards borrow fewer rows.
scratch, index_folder
    Existing, empty folders that all workers see. Rows move through files in the one instead of
    memory. The shards are kept in the other, so that `RoutedIndex.load` finds the neighbours of new
    rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks, fetch_rows, row_starts
from ssl_dask.dask_arrays import as_dask_array, row_handles
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder, row_numbers
from ssl_dask.graph.block.symmetric_graph import (
    check_choice,
    check_weights,
    symmetric_graph,
    usual_symmetrize,
)
from ssl_dask.graph.knn.distinct_rows import distinct_rows
from ssl_dask.graph.knn.exact_knn import (
    Lists,
    check_n_neighbors,
    nearest_lists,
    search_strips,
)
from ssl_dask.graph.knn.row_kind import RowKind
from ssl_dask.graph.knn.row_strips import RowStrips, checked_rows
from ssl_dask.graph.routed.routed_knn import RoutedLists, routed_lists
from ssl_dask.graph.routed.routed_plan import SHARD_MEMORY, RoutedOptions
from ssl_dask.kernels.arithmetic.offsets import loses_digits
from ssl_dask.kernels.graph.symmetric_strip import SYMMETRIZE
from ssl_dask.kernels.knn.exact_sparse import row_squares
from ssl_dask.kernels.knn.neighbour_lists import METRICS

COPIES_LOOKED_AT = 1000
SEARCHES = ("auto", "exact", "routed")


def knn_graph(  # noqa: PLR0913 - users name each choice in one call
    X: Any,
    n_neighbors: int = 15,
    *,
    metric: str = "euclidean",
    weights: str | Sequence[str] = "gaussian",
    symmetrize: str | None = None,
    search: str = "auto",
    target_recall: float = 0.98,
    shard_memory: int = SHARD_MEMORY,
    scratch: str | Path | None = None,
    index_folder: str | Path | None = None,
    ranks: NodeOrder | None = None,
    client: AnyClient = None,
    execution: Execution | None = None,
) -> BlockGraph:
    """Return the graph of every row and its nearest rows, the same for any chunks and workers.

    What each choice means and costs stands at the top of this module.

    Parameters
    ----------
    X
        (N, d): NumPy array, SciPy sparse array or matrix, or Dask array of dense or CSR chunks, as
        float32; columns far from zero lose their offset before, but for cosine and kept indexes.
    n_neighbors
        k >= 1. With k >= N - 1 every row is joined with every other, and `settings` says so.
    metric, weights, symmetrize, search
        "euclidean" or "cosine"; one weight or several; how two weights become one; "exact",
        "routed" or "auto".
    target_recall, shard_memory, scratch, index_folder
        Of a routed search.
    ranks
        By which ties and samples go in place of row numbers; in the chunks of X.
    client, execution
        Where to run: a client, "local" (this process), or an `Execution`; default: the open client.

    Raises
    ------
    GraphError
        X or a parameter is not usable, or a task would not fit `execution.memory_per_task`.
    QualityError
        The hardest search does not reach `target_recall`.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> knn_graph(X, 1, weights="uniform", symmetrize="union").to_scipy().toarray().tolist()
    [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    execution = Execution.of(client, execution)
    check_choice("metric", metric, METRICS)
    check_choice("search", search, SEARCHES)
    names = check_weights(weights)
    symmetrize = symmetrize or usual_symmetrize(names[0])
    check_choice("symmetrize", symmetrize, SYMMETRIZE)
    check_n_neighbors(n_neighbors)
    options = RoutedOptions(target_recall, shard_memory, scratch, index_folder)
    found = _searched(X, ranks, int(n_neighbors), metric, search, options, execution)
    return _joined(_in_order(found, X, ranks, execution), names, symmetrize, execution)


def _in_order(
    found: RoutedLists, X: Any, ranks: NodeOrder | None, execution: Execution
) -> RoutedLists:
    """Return what was found with the order of its nodes, of rows as they stand in X."""
    if ranks is None:
        return found
    order = ranks if found.order is None else found.order.after(ranks, execution)
    return replace(found, order=order)


def _searched(
    X: Any,
    ranks: NodeOrder | None,
    n_neighbors: int,
    metric: str,
    search: str,
    options: RoutedOptions,
    execution: Execution,
) -> RoutedLists:
    """Return the neighbour lists, and what the graph says of them; the rows are let go here."""
    # An index gets new rows as they are: what was subtracted here would be missing there.
    centred = metric == "euclidean" and options.index_folder is None
    rows = replace(checked_rows(X, execution, centred=centred), ranks=ranks)
    places = max(min(n_neighbors, rows.n_rows - 1), 1)
    if chosen_search(search, rows.n_rows, rows.kind) == "exact":
        found = _exact_lists(rows, X, places, metric, execution)
    else:
        found = routed_lists(rows, places, metric, options, execution)
    settings = {"n_neighbors": n_neighbors, "metric": metric, "notes": [], **found.facts}
    _note_odd_rows(settings, found.lists, rows, execution)
    return replace(found, facts=settings)


def _exact_lists(
    rows: RowStrips, X: Any, n_neighbors: int, metric: str, execution: Execution
) -> RoutedLists:
    """Return the lists of rows that are no copies of an earlier one: copies share a node."""
    ranks = rows.ranks
    rows = search_strips(rows, n_neighbors, execution)
    copies = distinct_rows(rows, execution)
    facts: dict[str, Any] = {"search": "exact", "n_copies": copies.n_copies, "notes": []}
    order = None
    if copies.n_copies:
        numbered = copies.numbered(rows.row_chunks, execution)
        order = NodeOrder(tuple(numbered), rows.row_chunks, rows.n_rows - copies.n_copies)
        pairs = copies.some_pairs(rows.row_chunks, COPIES_LOOKED_AT, execution)
        _note_rounded_rows(facts, pairs, X, ranks, rows.row_chunks, execution)
        rows = copies.without_copies(rows, execution)
        n_neighbors = max(min(n_neighbors, rows.n_rows - 1), 1)
    lists = nearest_lists(rows, rows, n_neighbors, metric, execution, same_rows=True)
    return RoutedLists(lists, rows.row_chunks, order, facts)


def _joined(
    found: RoutedLists, names: tuple[str, ...], symmetrize: str, execution: Execution
) -> BlockGraph:
    """Return the graph of neighbour lists."""
    began = time.perf_counter()
    graph = symmetric_graph(
        found.lists,
        found.node_chunks,
        weights=names,
        symmetrize=symmetrize,
        settings={"kind": "knn", "weights": names[0], "symmetrize": symmetrize, **found.facts},
        execution=execution,
        order=found.order,
    )
    if "seconds" in graph.settings:
        graph.settings["seconds"]["edges"] = round(time.perf_counter() - began, 4)
    return graph


def chosen_search(search: str, n_rows: int, kind: RowKind) -> str:
    """Return "exact" or "routed" for what was asked for."""
    if search == "auto":
        return "exact" if n_rows < kind.exact_rows else "routed"
    return search


def _note_odd_rows(
    settings: dict[str, Any], lists: list[Any], rows: RowStrips, execution: Execution
) -> None:
    counted = execution.compute(block_tasks(_count_odd_rows, [lists]))
    alone, crowded = (sum(column) for column in zip(*counted, strict=True))
    settings |= {"n_without_neighbours": alone, "n_among_copies": crowded}
    if settings["n_neighbors"] >= rows.n_rows:
        settings["notes"].append(
            f"n_neighbors is {settings['n_neighbors']} and there are {rows.n_rows} rows: every row"
            " is joined with every other"
        )
    if settings["metric"] == "cosine" and alone and rows.n_rows > 1:
        n_zero = sum(execution.compute(block_tasks(_count_zeros, [rows.strips])))
        if n_zero:
            settings["notes"].append(f"{n_zero} rows hold only zeros and have no neighbours")


def _note_rounded_rows(
    facts: dict[str, Any],
    pairs: Int64,
    X: Any,
    ranks: NodeOrder | None,
    row_chunks: tuple[int, ...],
    execution: Execution,
) -> None:
    """Say how many copies, of `pairs` with their first rows, differ from these in X."""
    X = as_dask_array(X)
    if not (isinstance(X, da.Array) or sp.issparse(X)):
        X = np.asarray(X)
    if sp.issparse(X) or not loses_digits(X.dtype):
        return
    rows, place = np.unique(pairs, return_inverse=True)
    if ranks is not None:
        numbers = row_numbers(ranks.row_chunks)
        numbers = ranks.first_rows_of_nodes(numbers, row_chunks, execution)
        rows = fetch_rows(numbers, row_starts(row_chunks), rows, execution)
    values = X[rows]
    if isinstance(values, da.Array):
        values = np.concatenate(execution.compute(row_handles(values.rechunk({1: -1}))))
    first, second = place.reshape(pairs.shape).T
    rounded = int((values[first] != values[second]).any(axis=1).sum())
    if rounded:
        facts["n_equal_by_rounding"] = rounded
        facts["notes"].append(
            f"{rounded} of {len(pairs)} rows that were looked at became equal to another row by"
            " rounding: float32 does not hold how they differ, beside the range of the columns;"
            " take logarithms, or leave out or cut off the values that are far from all others"
        )


def _count_zeros(rows: Any) -> int:
    return int(np.count_nonzero(row_squares(rows) == 0))


def _count_odd_rows(lists: Lists) -> tuple[int, int]:
    """Return how many rows have no neighbours, and how many have only copies of themselves."""
    distances, indices = lists
    full = indices[:, -1] >= 0
    return (
        int(np.count_nonzero(indices[:, 0] < 0)),
        int(np.count_nonzero(full & (distances[:, -1] == 0))),
    )
