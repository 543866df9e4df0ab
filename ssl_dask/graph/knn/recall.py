"""How many of the true neighbours a search has found, measured on sampled nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks, gathered_rows, row_starts
from ssl_dask.execution import Execution
from ssl_dask.graph.knn.row_kind import kind_of
from ssl_dask.graph.knn.row_strips import RowStrips
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds
from ssl_dask.kernels.knn.routing import Routing

SAMPLED_ROWS = 1000
ROUNDING = 1e-9
"""Relative difference of two distances that is rounding."""


@dataclass(frozen=True)
class Recall:
    """Share of the true neighbours that were found, with a 95 % interval."""

    estimate: float
    low: float
    high: float
    """Mean over the sampled rows, and it less and plus 1.96 standard errors, within 0 and 1."""
    n_sampled: int
    """Rows whose true neighbours were looked up."""

    def as_dict(self) -> dict[str, Any]:
        """Return the same in JSON types."""
        return asdict(self)


def measured_recall(
    rows: RowStrips,
    sampled: RowIds,
    lists: tuple[Distances, RowIds],
    own_nodes: RowIds,
    nodes_of_strip: Sequence[Delayed],
    routing: Delayed,
    metric: str,
    execution: Execution,
) -> Recall:
    """Return the recall of neighbour lists: all rows are looked through for what they miss.

    Found is what is no farther than the true k-th neighbour: with ties there is more than one
    right list.

    Parameters
    ----------
    rows
        All rows.
    sampled
        int64 (m,), ascending: numbers of rows that are no copies.
    lists
        (distances float64 (m, k), nodes int64 (m, k)) of the sampled rows.
    own_nodes
        int64 (m,): their own nodes.
    nodes_of_strip
        For each strip int64 (n_i,): node of each row, -1 for a copy, which is nobody's neighbour.
    routing
        What makes rows searchable.

    Notes
    -----
    2 m N s flops for s columns that are searched (for sparse rows an exact search), m rows to each
    strip.
    """
    distances, nodes = lists
    known = np.concatenate([nodes, own_nodes[:, None]], axis=1)
    chosen = gathered_rows(rows.strips, row_starts(rows.row_chunks), sampled)
    (queries,) = execution.persist([chosen], "recall")
    columns = [rows.strips, nodes_of_strip]
    tasks = block_tasks(_missed, columns, queries, known, distances[:, -1], routing, metric)
    parts = zip(*execution.compute(tasks, "recall"), strict=True)
    query, missed = (np.concatenate(column) for column in parts)
    return recall_of_lists(distances, query, missed)


def recall_of_lists(found: Distances, query: RowIds, missed: Distances) -> Recall:
    """Return the recall of lists (m, k), given what they miss.

    Parameters
    ----------
    found
        float64 (m, k): distances in the lists, inf in empty places.
    query, missed
        int64 (e,) and float64 (e,): distances of rows that are nearer than the last of a list and
        not in it.
    """
    k = found.shape[1]
    shares = []
    for i, row in enumerate(found):
        there = row[np.isfinite(row)]
        both = np.sort(np.concatenate([there, missed[query == i]]))[:k]
        if len(both):
            shares.append(np.count_nonzero(there <= both[-1] * (1 + ROUNDING)) / len(both))
    if not shares:
        return Recall(1.0, 1.0, 1.0, 0)
    mean = float(np.mean(shares))
    error = 1.96 * float(np.std(shares)) / sqrt(len(shares))
    return Recall(mean, max(mean - error, 0.0), min(mean + error, 1.0), len(shares))


def _missed(
    strip: Any,
    nodes: RowIds,
    queries: Any,
    known: RowIds,
    kth: Distances,
    routing: Routing,
    metric: str,
) -> tuple[RowIds, Distances]:
    return kind_of(strip).missed(queries, known, kth, strip, nodes, routing, metric)
