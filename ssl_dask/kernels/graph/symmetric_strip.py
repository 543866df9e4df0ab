"""Neighbour lists to CSR row strips of a symmetric weight matrix (transpose and merge)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Float32, Int64
from ssl_dask.kernels.arithmetic.sparse_rows import index_dtype, with_index_dtype

SYMMETRIZE = ("average", "union", "mutual", "fuzzy_union")
SHORT_LIST = 32
"""Longest list that is sorted by insertion."""

Ints = npt.NDArray[Any]


class Edges(NamedTuple):
    """Edges into a run of nodes."""

    rows: Ints
    """(E,): targets, counted from the first node of the run."""
    columns: Ints
    """(E,): sources, node numbers."""
    weights: Float32
    """float32 (E, q): one column a weighting."""


class Owned(NamedTuple):
    """Neighbour lists of a strip: indices (n, k) and weights float32 (n, k, q)."""

    indices: Ints
    weights: Float32


def owned_edges(indices: Int64, weights: Sequence[Float32], n_nodes: int) -> Owned:
    """Return lists (n, k), in int32 if that suffices, with the weights (n, k) of each weighting."""
    dtype = index_dtype(n_nodes)
    return Owned(indices.astype(dtype), np.ascontiguousarray(np.stack(weights, axis=-1)))


def edges_by_run(own: Owned, first_node: int, starts: Int64) -> tuple[Edges, ...]:
    """Transpose lists: return the edges into each run of nodes, by source and place in its list.

    A counting sort in two passes over the lists.

    Parameters
    ----------
    own
        Lists of the nodes `first_node`, `first_node + 1`, ...
    starts
        int64 (R + 1,): first node of each run, ascending from 0, and the number of nodes.
    """
    run_of, counts = _runs(own.indices, starts)
    stops = np.cumsum(counts)
    n_edges, q = int(stops[-1]), own.weights.shape[2]
    rows, columns = (np.empty(n_edges, own.indices.dtype) for _ in range(2))
    w = np.empty((n_edges, q), np.float32)
    _deal(own.indices, own.weights, run_of, first_node, starts, stops - counts, rows, columns, w)
    return tuple(
        Edges(rows[a:b].copy(), columns[a:b].copy(), w[a:b].copy())
        for a, b in pairwise([0, *stops.tolist()])
    )


def symmetric_strips(
    owned: Sequence[Owned], incoming: Sequence[Edges], n_nodes: int, symmetrize: str
) -> list[tuple[sp.csr_array, *tuple[Float32, ...]]]:
    """Return the rows of the symmetric matrices of a run of strips, for each weighting.

    "average" is (W + W^T) / 2, "union" max(W, W^T), "mutual" min(W, W^T), "fuzzy_union"
    W + W^T - W * W^T elementwise. w_ij and w_ji have the same bits for any strips. A counting sort
    of the incoming edges by row, then a merge of two sorted lists a row.

    Parameters
    ----------
    owned
        Lists of each strip of the run, in order: rows of W.
    incoming
        Edges into the run, in the order of their sources: rows of W^T.
    n_nodes
        Columns M.
    symmetrize
        One of `SYMMETRIZE`.

    Returns
    -------
    For each strip: csr_array float32 (n, M) with sorted columns and the first weighting, then the
    weights of each further weighting, float32, on the same entries.
    """
    sizes = [len(one.indices) for one in owned]
    inbound, columns, w = _by_row(incoming, sum(sizes), owned[0])
    strips, first = [], 0
    for own, size in zip(owned, sizes, strict=True):
        bounds = inbound[first : first + size + 1]
        strips.append(_merged(own, bounds, columns, w, n_nodes, symmetrize))
        first += size
    return strips


def _by_row(incoming: Sequence[Edges], n_rows: int, like: Owned) -> tuple[Ints, Ints, Any]:
    """Return (indptr (n + 1,), columns, weights) of `incoming` by row."""
    counts = np.zeros(n_rows + 1, np.int64)
    for edges in incoming:
        _count_rows(edges.rows, counts)
    bounds = np.cumsum(counts)
    columns = np.empty(int(bounds[-1]), like.indices.dtype)
    w = np.empty((int(bounds[-1]), like.weights.shape[2]), np.float32)
    free = bounds[:-1].copy()
    for edges in incoming:
        _place_rows(edges.rows, edges.columns, edges.weights, free, columns, w)
    return bounds, columns, w


def _merged(
    own: Owned, bounds: Ints, columns: Ints, w: Any, n_nodes: int, symmetrize: str
) -> tuple[sp.csr_array, *tuple[Float32, ...]]:
    n, k = own.indices.shape
    most = n * k + int(bounds[-1] - bounds[0])
    indices = np.empty(most, own.indices.dtype)
    data = np.empty((own.weights.shape[2], most), np.float32)
    indptr = np.zeros(n + 1, np.int64)
    _merge(
        own.indices, own.weights, bounds, columns, w, SYMMETRIZE.index(symmetrize), indptr,
        indices, data,
    )  # fmt: skip
    n_entries = int(indptr[-1])
    parts = (data[0, :n_entries].copy(), indices[:n_entries].copy(), indptr)
    strip = with_index_dtype(sp.csr_array(parts, shape=(n, n_nodes)))
    strip.has_sorted_indices = True
    return strip, *(more[:n_entries].copy() for more in data[1:])


@numba.njit(nogil=True, cache=True)
def _runs(indices: Any, starts: Any) -> Any:
    """Return the run of each list entry, uint16 (n, k), and the number of edges into each run."""
    n, k = indices.shape
    n_runs = len(starts) - 1
    per_node = n_runs / starts[-1]
    run_of = np.empty((n, k), np.uint16)
    counts = np.zeros(n_runs, np.int64)
    for i in range(n):
        for j in range(k):
            node = indices[i, j]
            if node < 0:
                continue
            # Runs have nearly equal sizes: the guess is a few steps off at most.
            run: Any = min(np.int64(node * per_node), n_runs - 1)
            while node < starts[run]:
                run -= 1
            while node >= starts[run + 1]:
                run += 1
            run_of[i, j] = run
            counts[run] += 1
    return run_of, counts


@numba.njit(nogil=True, cache=True)
def _deal(
    indices: Any, weights: Any, run_of: Any, first_node: int, starts: Any, free: Any, rows: Any,
    columns: Any, w: Any,
) -> None:  # fmt: skip
    n, k = indices.shape
    for i in range(n):
        for j in range(k):
            node = indices[i, j]
            if node < 0:
                continue
            run = run_of[i, j]
            place = free[run]
            free[run] += 1
            rows[place] = node - starts[run]
            columns[place] = first_node + i
            for v in range(w.shape[1]):
                w[place, v] = weights[i, j, v]


@numba.njit(nogil=True, cache=True)
def _count_rows(rows: Any, counts: Any) -> None:
    for e in range(len(rows)):
        counts[rows[e] + 1] += 1


@numba.njit(nogil=True, cache=True)
def _place_rows(rows: Any, columns: Any, weights: Any, free: Any, to: Any, w: Any) -> None:
    for e in range(len(rows)):
        place = free[rows[e]]
        free[rows[e]] += 1
        to[place] = columns[e]
        for v in range(w.shape[1]):
            w[place, v] = weights[e, v]


@numba.njit(nogil=True, cache=True)
def _sort_list(indices: Any, i: int, shift: int, keys: Any) -> int:
    """Write (column << shift | place) of list `i` to `keys`, ascending; return their number."""
    k = indices.shape[1]
    there = 0
    for j in range(k):
        if indices[i, j] < 0:
            continue
        key = (np.int64(indices[i, j]) << shift) | j
        place = there
        there += 1
        if k <= SHORT_LIST:
            while place > 0 and keys[place - 1] > key:
                keys[place] = keys[place - 1]
                place -= 1
        keys[place] = key
    if k > SHORT_LIST:
        keys[:there].sort()
    return there


@numba.njit(nogil=True, cache=True)
def _joined(mine: Any, other: Any, rule: int) -> Any:
    """Combine two weights; commutative to the bit."""
    if rule == 0:
        return (mine + other) * np.float32(0.5)
    if rule == 1:
        return max(mine, other)
    if rule == 2:
        return min(mine, other)
    return np.float32((np.float64(mine) + other) - np.float64(mine) * other)


@numba.njit(nogil=True, cache=True)
def _merge(
    indices: Any, weights: Any, bounds: Any, columns: Any, w: Any, rule: int, indptr: Any,
    out: Any, data: Any,
) -> None:  # fmt: skip
    n, k = indices.shape
    none = np.float32(0.0)
    shift = 0
    while (1 << shift) < k:
        shift += 1
    mask = (1 << shift) - 1
    keys = np.empty(k, np.int64)
    p = 0
    for i in range(n):
        there = _sort_list(indices, i, shift, keys)
        a, e = 0, bounds[i]
        stop = bounds[i + 1]
        while a < there or e < stop:
            mine = keys[a] >> shift if a < there else np.int64(-1)
            other = np.int64(columns[e]) if e < stop else np.int64(-1)
            if other < 0 or 0 <= mine < other:
                if rule != 2:
                    for v in range(data.shape[0]):
                        data[v, p] = _joined(weights[i, keys[a] & mask, v], none, rule)
                    out[p] = mine
                    p += 1
                a += 1
            elif mine < 0 or other < mine:
                if rule != 2:
                    for v in range(data.shape[0]):
                        data[v, p] = _joined(none, w[e, v], rule)
                    out[p] = other
                    p += 1
                e += 1
            else:
                for v in range(data.shape[0]):
                    data[v, p] = _joined(weights[i, keys[a] & mask, v], w[e, v], rule)
                out[p] = mine
                p += 1
                a += 1
                e += 1
        indptr[i + 1] = p
