"""How many of the true neighbours a search has found, measured on sampled nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.row_strips import RowStrips
from ssl_dask.kernels.list_merge import merged_lists
from ssl_dask.kernels.nearest_neighbours import update_nearest
from ssl_dask.kernels.neighbour_lists import empty_lists
from ssl_dask.kernels.sparse_neighbours import update_nearest_sparse

SAMPLED_ROWS = 1000
ROUNDING = 1e-9
"""Relative difference of two distances that is rounding."""


@dataclass(frozen=True)
class Recall:
    """Share of the true neighbours that were found, with a 95 % interval.

    Parameters
    ----------
    estimate, low, high
        Mean over the sampled rows, and it less and plus 1.96 standard errors, within 0 and 1.
    n_sampled
        Rows whose true neighbours were looked up.
    """

    estimate: float
    low: float
    high: float
    n_sampled: int

    def as_dict(self) -> dict[str, Any]:
        """Return the same in JSON types."""
        return asdict(self)


def measured_recall(
    rows: RowStrips,
    sampled: np.ndarray[Any, Any],
    found: Any,
    nodes_of_strip: Sequence[Delayed],
    n_neighbors: int,
    metric: str,
    execution: Execution,
) -> Recall:
    """Return the recall of neighbour lists, from exact neighbours of sampled rows.

    Found is what is no farther than the true k-th neighbour: with ties there is more than one
    right list.

    Parameters
    ----------
    rows
        All rows.
    sampled
        int64 (m,), ascending: numbers of rows that are no copies.
    found
        float64 (m, k): distances in the lists of the sampled rows, inf in empty places.
    nodes_of_strip
        For each strip int64 (n_i,): node of each row, -1 for a copy, which is nobody's neighbour.

    Notes
    -----
    2 m N d flops, m d numbers to each strip.
    """
    queries = _gathered(rows, sampled, execution)
    parts = [
        dask.delayed(_nearest)(queries, start, strip, nodes, sampled, n_neighbors, metric)
        for start, strip, nodes in zip(
            np.cumsum([0, *rows.row_chunks[:-1]]).tolist(), rows.strips, nodes_of_strip, strict=True
        )
    ]
    while len(parts) > 1:
        parts = [
            dask.delayed(_merged)(parts[i : i + 8], n_neighbors) for i in range(0, len(parts), 8)
        ]
    ((distances, _),) = execution.compute(parts, "recall")
    return recall_of_lists(found, distances)


def recall_of_lists(found: Any, exact: Any) -> Recall:
    """Return the recall of lists of distances (m, k), given those of the true neighbours."""
    there = np.isfinite(exact)
    kth = np.max(np.where(there, exact, -np.inf), axis=1, initial=-np.inf)
    right = (found <= kth[:, None] * (1 + ROUNDING)).sum(axis=1)
    wanted = there.sum(axis=1)
    shares = (np.minimum(right, wanted) / np.maximum(wanted, 1))[wanted > 0]
    if len(shares) == 0:
        return Recall(1.0, 1.0, 1.0, 0)
    mean = float(shares.mean())
    error = 1.96 * float(shares.std()) / sqrt(len(shares))
    return Recall(mean, max(mean - error, 0.0), min(mean + error, 1.0), len(shares))


def _gathered(rows: RowStrips, sampled: Any, execution: Execution) -> Delayed:
    """Return a handle to the sampled rows, on one worker."""
    stops = np.cumsum(rows.row_chunks)
    strip_of = np.searchsorted(stops, sampled, side="right")
    parts = [
        dask.delayed(_rows_at)(
            rows.strips[s], sampled[strip_of == s] - (stops[s] - rows.row_chunks[s])
        )
        for s in np.unique(strip_of).tolist()
    ]
    return execution.persist([dask.delayed(_stacked)(parts)], "recall")[0]


def _rows_at(strip: Any, positions: Any) -> Any:
    return strip[positions]


def _stacked(parts: Sequence[Any]) -> Any:
    if sp.issparse(parts[0]):
        return sp.csr_array(sp.vstack(parts, format="csr"))
    return np.concatenate(parts)


def _nearest(
    queries: Any, first_row: int, strip: Any, nodes: Any, sampled: Any, k: int, metric: str
) -> Any:
    kept = np.flatnonzero(nodes >= 0)
    points = strip if len(kept) == strip.shape[0] else strip[kept]
    lists = empty_lists(queries.shape[0], k)
    update = update_nearest_sparse if sp.issparse(strip) else update_nearest
    update(queries, sampled, points, kept + first_row, *lists, metric)
    return lists


def _merged(parts: Sequence[Any], k: int) -> Any:
    return merged_lists([d for d, _ in parts], [i for _, i in parts], k)
