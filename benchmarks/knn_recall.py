"""How many of the true nearest neighbours of some rows were found, whoever found them.

The truth is computed with NumPy and SciPy, in float64 where it matters, over all rows. A row that
is as near as the k-th true neighbour is as good as that one, so ties do not count as misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from knn_data import RowFile

SAMPLED_ROWS = 1000
TRUTH_ROWS = 10_000
"""Rows that the sampled ones are compared with at a time: 40 MB of distances."""
SPARE = 16
"""Rows looked at in float64 beyond the k that float32 finds nearest."""
TIE = 1e-6
"""Relative difference of two distances that is taken for a tie, and for cosine the absolute one."""

RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """How far the k-th nearest other row of each sampled row is: float64, see `distances`."""

    sample: RowIds
    k: int
    limits: npt.NDArray[np.float64]


def sampled_rows(n_rows: int, seed: int = 0) -> RowIds:
    """Return the numbers of the rows that are judged, ascending."""
    rng = np.random.default_rng([5, seed])
    return np.sort(rng.choice(n_rows, min(SAMPLED_ROWS, n_rows), replace=False))


def distances(queries: Any, points: Any, metric: str) -> npt.NDArray[np.float64]:
    """Return the distance of each query to the point beside it: |x - y|^2, or 1 - cos."""
    if metric == "euclidean":
        difference = queries.astype(np.float64) - points
        return np.einsum("ij,ij->i", difference, difference)
    queries, points = queries.astype(np.float64), points.astype(np.float64)
    products = np.asarray(queries.multiply(points).sum(axis=1)).ravel()
    lengths = [np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel()) for X in (queries, points)]
    return 1.0 - products / (lengths[0] * lengths[1])


def find_truth(rows: RowFile, k: int) -> Truth:
    """Return how near the k nearest other rows of the sampled rows are.

    2 S N d flops for S sampled rows; one block of rows is in memory at a time.
    """
    sample = sampled_rows(rows.n_rows)
    queries = rows.take(sample)
    keep = min(k + SPARE, rows.n_rows - 1)
    best, best_ids = _nearest_roughly(rows, sample, queries, keep)
    position = np.repeat(np.arange(len(sample)), keep)
    points = rows.take(best_ids.ravel())
    exact = distances(queries[position], points, rows.metric).reshape(best.shape)
    places = min(k, keep)
    return Truth(sample, places, np.sort(exact, axis=1)[:, places - 1])


def share_found(rows: RowFile, truth: Truth, position: RowIds, found: RowIds) -> float:
    """Return the share of the true neighbours that were found.

    Parameters
    ----------
    position, found
        Pairs: the row numbered `found[e]` was found for the sampled row `sample[position[e]]`.
        Pairs that are there twice count once, a row itself and numbers below 0 not at all.
    """
    pairs = np.unique(np.stack([position, found], axis=1), axis=0)
    position, found = pairs[:, 0], pairs[:, 1]
    real = (found >= 0) & (found != truth.sample[position])
    position, found = position[real], found[real]
    queries = rows.take(truth.sample)[position]
    far = distances(queries, rows.take(found), rows.metric)
    limits = truth.limits[position]
    slack = TIE * limits if rows.metric == "euclidean" else TIE
    near = np.bincount(position[far <= limits + slack], minlength=len(truth.sample))
    return float(np.minimum(near, truth.k).mean() / truth.k)


def _nearest_roughly(
    rows: RowFile, sample: RowIds, queries: Any, keep: int
) -> tuple[npt.NDArray[np.float32], RowIds]:
    """Return distances and numbers (S, keep) of the rows that are nearest in float32."""
    best = np.full((len(sample), keep), np.inf, np.float32)
    best_ids = np.full((len(sample), keep), -1, np.int64)
    centre = None if rows.sparse else rows.read(0, min(1000, rows.n_rows)).mean(axis=0)
    for first in range(0, rows.n_rows, TRUTH_ROWS):
        points = rows.read(first, min(first + TRUTH_ROWS, rows.n_rows))
        near = _rough_distances(queries, points, centre)
        inside = (sample >= first) & (sample < first + near.shape[1])
        near[inside, sample[inside] - first] = np.inf
        if first == 0 and near.shape[1] > keep:
            limits = np.partition(near, keep - 1, axis=1)[:, keep - 1]
        else:
            limits = best.max(axis=1)
        position, column = np.nonzero(near <= limits[:, None])
        position = np.concatenate([np.repeat(np.arange(len(sample)), keep), position])
        values = np.concatenate([best.ravel(), near[position[best.size :], column]])
        numbers = np.concatenate([best_ids.ravel(), column + first])
        order = np.lexsort((values, position))
        starts = np.searchsorted(position[order], np.arange(len(sample)))
        picked = order[starts[:, None] + np.arange(keep)]
        best, best_ids = values[picked], numbers[picked]
    return best, best_ids


def _rough_distances(queries: Any, points: Any, centre: Any) -> npt.NDArray[np.float32]:
    """Return the distances of all pairs less what does not change the order within a row."""
    if centre is not None:
        points = points - centre
        near = (queries - centre) @ points.T
        near *= np.float32(-2)
        near += np.einsum("ij,ij->i", points, points)
        return near
    lengths = np.sqrt(np.asarray(points.multiply(points).sum(axis=1)).ravel())
    return -(queries @ points.T).toarray() / lengths
