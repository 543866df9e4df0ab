"""COO to CSR: entries of a symmetric matrix to row strips, with duplicates combined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.kernels.arithmetic.sparse_rows import index_dtype, with_index_dtype

COMBINE = ("sum", "max")

Ints = npt.NDArray[Any]


class Entries(NamedTuple):
    """COO entries of a matrix: integer rows and columns (E,), float64 weights (E,).

    `backward`, bool (E,), marks the entries of W^T of a directed graph; None: undirected.
    """

    rows: Ints
    columns: Ints
    weights: Float64
    backward: Bool | None = None


def both_ways(u: Ints, v: Ints, w: Float64, *, directed: bool) -> Entries:
    """Return the entries of W and W^T for edges from `u` to `v` with weights `w`, (E,) each.

    `directed`: the edge from u to v differs from that from v to u.

    >>> both_ways(np.array([0]), np.array([3]), np.array([0.5]), directed=False)[:3]
    (array([0, 3]), array([3, 0]), array([0.5, 0.5]))
    """
    rows, columns = (np.stack(pair, axis=1).ravel() for pair in ((u, v), (v, u)))
    backward = np.tile(np.array([False, True]), len(u)) if directed else None
    return Entries(rows, columns, np.repeat(w, 2), backward)


def joined_entries(parts: Sequence[Entries]) -> Entries:
    """Concatenate entries."""
    rows, columns, weights = (np.concatenate([part[i] for part in parts]) for i in range(3))
    marks = [part.backward for part in parts if part.backward is not None]
    return Entries(rows, columns, weights, np.concatenate(marks) if marks else None)


def entries_by_strip(entries: Entries, starts: Int64) -> tuple[Entries, ...]:
    """Partition entries by strip, in the order given.

    Parameters
    ----------
    starts
        int64 (P + 1,): first row of each strip, ascending from 0, and the number of rows.
    """
    strip = np.searchsorted(starts, entries.rows, side="right") - 1
    order = np.argsort(strip, kind="stable")
    bounds = np.searchsorted(strip[order], np.arange(len(starts)))
    return tuple(_taken(entries, order[a:b]) for a, b in pairwise(bounds))


def summed_strip(
    entries: Entries, first_row: int, n_rows: int, n_nodes: int, combine: str
) -> sp.csr_array:
    """Return the rows `first_row` to `first_row + n_rows` as CSR float32 (n_rows, M), sorted.

    Duplicate entries are added in float64 in the order given, or their maximum is taken. With
    `backward` entries the rows are those of (W + W^T) / 2. w_ij and w_ji have the same bits if
    their entries come in the same order; no positive weight is rounded to 0.

    Raises
    ------
    OverflowError
        A sum exceeds float32.
    """
    local = entries.rows.astype(np.int64) - first_row
    places, weights = _combined(local * n_nodes + entries.columns, entries, combine)
    if len(weights) and weights.max() > np.finfo(np.float32).max:
        raise OverflowError("weights of duplicate edges add up to more than a float32 can hold")
    tiny = float(np.finfo(np.float32).tiny)
    kept = weights > 0
    rows, columns = np.divmod(places[kept], n_nodes)
    data = np.maximum(weights[kept], tiny).astype(np.float32)
    indptr = np.searchsorted(rows, np.arange(n_rows + 1))
    dtype = index_dtype(n_nodes, len(data))
    parts = (data, columns.astype(dtype), indptr.astype(dtype))
    return with_index_dtype(sp.csr_array(parts, shape=(n_rows, n_nodes)))


def _combined(places: Ints, entries: Entries, combine: str) -> tuple[Ints, Float64]:
    """Return the distinct places, ascending, and the weight of each."""
    if entries.backward is None:
        return _once_each(places, entries.weights, combine)
    places, weights = _once_each(places * 2 + entries.backward, entries.weights, combine)
    return _once_each(places >> 1, weights * 0.5, "sum")


def _once_each(places: Ints, weights: Float64, combine: str) -> tuple[Ints, Float64]:
    if len(places) == 0:
        return places, weights
    order = np.argsort(places, kind="stable")
    places, weights = places[order], weights[order]
    first = np.ones(len(places), dtype=bool)
    first[1:] = places[1:] != places[:-1]
    add = np.add if combine == "sum" else np.maximum
    return places[first], add.reduceat(weights, np.flatnonzero(first))


def _taken(entries: Entries, chosen: Ints) -> Entries:
    rows, columns, weights, backward = entries
    mark = None if backward is None else backward[chosen]
    return Entries(rows[chosen], columns[chosen], weights[chosen], mark)
