"""Edge weights: kernels of neighbour distances, and the Gaussian (RBF) kernel of all pairs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Float64, Int64
from ssl_dask.kernels.arithmetic.sparse_rows import stack_strips, with_index_dtype
from ssl_dask.kernels.knn.exact_sparse import squared_distances

WEIGHTS = (
    "gaussian", "uniform", "self_tuning", "symmetric_gaussian", "steep_gaussian", "fuzzy",
)  # fmt: skip
SCALE_PLACE = {
    "gaussian": None,
    "symmetric_gaussian": None,
    "steep_gaussian": None,
    "self_tuning": 7,
}
"""Weights with a scale -> which neighbour's distance it is, counted from 1; None: the last's."""
BY_BOTH_ENDS = {"self_tuning": 1.0, "symmetric_gaussian": 4.0, "steep_gaussian": 8.0}
"""Weights that also depend on the neighbour's scale -> factor of the exponent."""
FLOOR_SHARE = 1e-3
"""Least scale of a row, as a share of the median scale."""
MEDIAN_ROWS = 2**20
"""The median scale is taken over at most so many rows, evenly spaced by row number."""
LEAST_WEIGHT = 2.0**-125
"""Least weight of an edge, so that neighbours stay joined; its half is a normal float32."""
SIGMA_SHARE = 1e-3
"""Least sigma of fuzzy weights, as a share of the row's mean distance."""
BATCH_BYTES = 2**24
"""Size of the float64 distances that `radial_strip` holds at a time, twice."""


def scale_squares(distances: Float64, indices: Int64, place: int | None) -> Float64:
    """Return d^2 to the neighbour at `place` of each row, float64 (n,); -1 without neighbours.

    Parameters
    ----------
    distances, indices
        Neighbour lists, float64 and int64 (n, k), of d^2.
    place
        Counted from 1; a row with fewer neighbours uses its last one. None: always the last.
    """
    return _scale_squares(distances, indices, place or indices.shape[1])


def sampled_scales(
    distances: Float64, indices: Int64, place: int | None, first_row: int, every: int
) -> Float64:
    """Return `scale_squares` of those rows that have neighbours and a number divisible by `every`.

    The lists belong to the rows `first_row`, `first_row + 1`, ... of the graph.
    """
    chosen = slice(-first_row % every, None, every)
    squares = scale_squares(distances[chosen], indices[chosen], place)
    return squares[squares >= 0]


def distance_floor(squares: list[Float64]) -> float:
    """Return the lower bound of squared scales, (1e-3 median d)^2; 0 if no row has a neighbour.

    The median is an element (the lower of two middle ones), so the order of the parts is
    irrelevant.
    """
    together = np.concatenate(squares)
    if len(together) == 0:
        return 0.0
    middle = (len(together) - 1) // 2
    return float(np.partition(together, middle)[middle]) * FLOOR_SHARE**2


def node_scales(distances: Float64, indices: Int64, weights: str, floor: float) -> Float32:
    """Return the scale of each row for weights `BY_BOTH_ENDS`, a distance, float32 (n,)."""
    squares = scale_squares(distances, indices, SCALE_PLACE[weights])
    return np.sqrt(np.maximum(squares, floor)).astype(np.float32)


def edge_weights(
    distances: Float64,
    indices: Int64,
    weights: str,
    floor: float = 0.0,
    own_scales: Float32 | None = None,
    scales: Float32 | None = None,
) -> Float32:
    """Return the weight of each entry of neighbour lists, float32 (n, k); 0 for empty entries.

    "uniform"
        1.
    "gaussian"
        exp(-4 d^2 / d_k^2), d_k the distance to the row's last neighbour (Calder, Cook, Thorpe and
        Slepcev, Poisson Learning, ICML 2020).
    "symmetric_gaussian"
        exp(-4 d^2 / (d_k(i) d_k(j))): the same with the scales of both ends.
    "steep_gaussian"
        exp(-8 d^2 / (d_k(i) d_k(j))): favours the nearest more. Better than the former on images,
        worse on text; the ensemble uses it beside "gaussian".
    "self_tuning"
        exp(-d^2 / (s_i s_j)), s the distance to the 7th neighbour (Zelnik-Manor and Perona,
        Self-Tuning Spectral Clustering, NIPS 2004, section 2).
    "fuzzy"
        min(1, exp(-(d - rho) / sigma)). rho is the smallest positive distance; sigma makes the
        weights of the k neighbours sum to log2(k + 1), and is at least 1e-3 of the mean distance
        (McInnes, Healy and Melville, UMAP, 2018, section 3.1, whose k counts the row itself).

    Parameters
    ----------
    distances, indices
        float64 and int64 (n, k): d^2, or 1 - cos, which is d^2 / 2 of unit vectors. No weight
        depends on the unit of the distances.
    floor
        Least squared scale, of `distance_floor`; only for weights in `SCALE_PLACE`.
    own_scales, scales
        `node_scales` of these rows, (n,), and of all nodes, (M,); only for `BY_BOTH_ENDS`. None:
        the scale of a neighbour is taken to be the row's, for rows that are not in the graph.

    Examples
    --------
    >>> weights = edge_weights(np.array([[0.0, 1.0, 4.0]]), np.array([[7, 3, 9]]), "gaussian")
    >>> weights.round(2).tolist() == np.exp([[0.0, -1.0, -4.0]]).astype("f").round(2).tolist()
    True
    """
    if weights == "uniform":
        return (indices >= 0).astype(np.float32)
    if weights == "gaussian":
        return _gaussian(distances, indices, floor)
    if weights == "fuzzy":
        return _fuzzy(distances, indices)
    factor = BY_BOTH_ENDS[weights]
    own = node_scales(distances, indices, weights, floor) if own_scales is None else own_scales
    return _by_both_ends(
        distances, indices, factor, own, own if scales is None else scales, scales is None
    )


@numba.njit(nogil=True, cache=True)
def _scale_squares(distances: Any, indices: Any, place: int) -> Any:
    n, k = distances.shape
    out = np.full(n, -1.0)
    for i in range(n):
        for j in range(min(place, k)):
            if indices[i, j] >= 0:
                out[i] = distances[i, j]
    return out


@numba.njit(nogil=True, cache=True)
def _gaussian(distances: Any, indices: Any, floor: float) -> Any:
    n, k = distances.shape
    weights = np.zeros((n, k), np.float32)
    for i in range(n):
        last = 0.0
        for j in range(k):
            if indices[i, j] >= 0:
                last = distances[i, j]
        scale = max(last, floor)
        for j in range(k):
            if indices[i, j] >= 0:
                weights[i, j] = 1.0 if scale == 0 else np.exp(-4.0 * distances[i, j] / scale)
    return weights


@numba.njit(nogil=True, cache=True)
def _by_both_ends(
    distances: Any, indices: Any, factor: float, own: Any, scales: Any, alike: bool
) -> Any:
    n, k = distances.shape
    weights = np.zeros((n, k), np.float32)
    for i in range(n):
        for j in range(k):
            if indices[i, j] < 0:
                continue
            other = scales[i] if alike else scales[indices[i, j]]
            square = np.float64(own[i]) * np.float64(other)
            if square > 0:
                weight = np.exp(-factor * distances[i, j] / square)
            else:
                weight = 1.0 if distances[i, j] == 0 else 0.0
            weights[i, j] = max(weight, LEAST_WEIGHT)
    return weights


@numba.njit(nogil=True, cache=True)
def _fuzzy(distances: Any, indices: Any) -> Any:
    n, k = distances.shape
    weights = np.zeros((n, k), np.float32)
    beyond = np.empty(k)
    for i in range(n):
        rho, total, there = 0.0, 0.0, 0
        for j in range(k):
            if indices[i, j] >= 0:
                beyond[there] = np.sqrt(distances[i, j])
                if rho == 0.0:
                    rho = beyond[there]
                total += beyond[there]
                there += 1
        if there == 0:
            continue
        for j in range(there):
            beyond[j] = max(beyond[j] - rho, 0.0)
        rate = _fuzzy_rate(beyond, there, np.log2(there + 1.0), total / (there + 1.0))
        place = 0
        for j in range(k):
            if indices[i, j] >= 0:
                weights[i, j] = max(np.exp(-beyond[place] * rate), LEAST_WEIGHT)
                place += 1
    return weights


@numba.njit(nogil=True, cache=True)
def _fuzzy_rate(beyond: Any, n: int, target: float, mean: float) -> float:
    """Return 1 / sigma: the root u of sum exp(-beyond u) = target, at most 1e3 / mean.

    The sum is convex and falls with u, so Newton's method from 0 never passes the root.
    """
    if mean == 0.0:
        return 0.0
    most = 1.0 / (SIGMA_SHARE * mean)
    u = 0.0
    for _ in range(100):
        value, slope = -target, 0.0
        for j in range(n):
            e = np.exp(-beyond[j] * u)
            value += e
            slope += e * beyond[j]
        if value <= 1e-9 * target:
            break
        if slope * (most - u) <= value:
            return most
        u += value / slope
    return min(u, most)


def radial_strip(rows: Any, first_row: int, panels: list[Any], gamma: float) -> sp.csr_array:
    """Return the RBF kernel exp(-gamma |x - y|^2) of some rows with all rows, CSR float32 (n, N).

    The diagonal and weights below the smallest normal float32, 1.2e-38, are dropped. Distances are
    float64 in a fixed order, so w(x, y) = w(y, x) exactly. n N d flops; two arrays of
    `BATCH_BYTES`.

    Parameters
    ----------
    rows
        float32 (n, d), dense or CSR: the rows `first_row`, `first_row + 1`, ...
    panels
        All N rows, in runs.
    """
    n, n_all = rows.shape[0], sum(panel.shape[0] for panel in panels)
    batch = max(BATCH_BYTES // (16 * n_all), 1)
    parts = []
    for start in range(0, n, batch):
        some = rows[start : start + batch]
        squares = np.concatenate([squared_distances(some, panel) for panel in panels], axis=1)
        weights = np.exp(-gamma * squares).astype(np.float32)
        weights[weights < np.finfo(np.float32).tiny] = 0
        own = np.arange(weights.shape[0])
        weights[own, first_row + start + own] = 0
        parts.append(with_index_dtype(sp.csr_array(weights)))
    return stack_strips(parts)
