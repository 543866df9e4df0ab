"""Partition of a graph: a run of nodes with its CSR rows and its halo of neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from ssl_dask.array_types import Float64, Int32, Int64, Integer
from ssl_dask.kernels.arithmetic.pairwise_sums import LEAF_ROWS
from ssl_dask.kernels.propagation.sweep import WalkRows, walk_rows

MIN_RANGE_ENTRIES = 2**16
"""Least entries of the runs of rows that threads share a sweep in."""


@dataclass
class GraphPart:
    """Nodes `start` to `stop` of a graph, and their neighbours in other parts: the halo.

    Scores of a part are arrays with a row for each own node, then one for each halo node.
    """

    number: int
    """Number of the part."""
    start: int
    stop: int
    """Range of its nodes."""
    pieces: list[tuple[int, WalkRows]]
    """(first own row, rows): rows of the walk, one piece a strip. Rows are summed in the order of
    node numbers for any partition."""
    halo: Int64
    """int64 (h,), increasing: nodes of other parts with an edge into this one."""
    receive: dict[int, slice]
    """Part -> rows of the halo that it owns."""
    send: dict[int, Int64] = field(default_factory=dict)
    """Part -> own rows in its halo, int64."""

    @property
    def n_own(self) -> int:
        """Number of its nodes."""
        return self.stop - self.start

    @property
    def n_entries(self) -> int:
        """Stored edges that end in it."""
        return sum(len(rows.indices) for _, rows in self.pieces)

    @property
    def degree(self) -> Float64:
        """Sum of the weights of each own node, float64 (n_own,); 1 for a node without edges."""
        return np.concatenate([rows.degree for _, rows in self.pieces])

    def asked_of(self, other: int) -> Int64:
        """Return the halo nodes that part `other` owns."""
        return self.halo[self.receive[other]] if other in self.receive else self.halo[:0]

    def row_ranges(self, n_ranges: int) -> list[tuple[int, int, int]]:
        """Cut the rows into about `n_ranges` ranges (piece, start, stop) of equal entries."""
        wanted = max(-(-self.n_entries // n_ranges), MIN_RANGE_ENTRIES)
        ranges = []
        for number, (_, rows) in enumerate(self.pieces):
            n_cuts = -(-len(rows.indices) // wanted)
            aims = np.arange(1, n_cuts) * wanted
            cuts = [0, *np.searchsorted(rows.indptr, aims).tolist(), rows.n_rows]
            ranges += [(number, a, b) for a, b in itertools.pairwise(cuts) if a < b]
        return ranges


def part_of_strips(
    strips: Sequence[sp.csr_array], strip_starts: Sequence[int], cuts: Sequence[int], number: int
) -> GraphPart:
    """Return part `number`: nodes `cuts[number]` to `cuts[number + 1]`.

    A column after the last node, `cuts[-1]`, is the ground: it has no row, is in every halo and has
    score 0, so weight towards it is lost. 8 bytes an entry for the part, 4 if it is the only one,
    and twice that meanwhile.

    Parameters
    ----------
    strips
        The strips with nodes of the part, in order.
    strip_starts
        First node of each.
    cuts
        Bounds of all parts.
    """
    start, stop = cuts[number], cuts[number + 1]
    runs = []
    for strip, first in zip(strips, strip_starts, strict=True):
        low, high = max(start, first), min(stop, first + strip.shape[0])
        if low < high:
            indptr = strip.indptr[low - first : high - first + 1]
            entries = slice(int(indptr[0]), int(indptr[-1]))
            runs.append((low - start, indptr - indptr[0], strip.indices[entries], strip, entries))
    alone = len(cuts) == 2
    halo = np.zeros(0, dtype=np.int64)
    if alone and runs and strips[0].shape[1] > stop:
        halo = np.array([stop], dtype=np.int64)
    elif not alone:
        outside = [np.unique(ids[(ids < start) | (ids >= stop)]) for _, _, ids, _, _ in runs]
        halo = np.unique(np.concatenate([halo, *outside])).astype(np.int64)
    pieces = []
    for first, indptr, ids, strip, entries in runs:
        local = ids if alone else _local_numbers(ids, start, stop, halo)
        pieces.append((first, walk_rows(indptr, local, strip.data[entries])))
    bounds = np.searchsorted(halo, cuts)
    receive = {
        other: slice(int(bounds[other]), int(bounds[other + 1]))
        for other in range(len(cuts) - 1)
        if bounds[other] < bounds[other + 1]
    }
    return GraphPart(number, start, stop, pieces, halo, receive)


def even_cuts(entries: Int64, n_nodes: int, n_parts: int) -> tuple[int, ...]:
    """Return the bounds, from 0 to `n_nodes`, of at most `n_parts` parts of about equal edges.

    Parameters
    ----------
    entries
        int64 (L,): edges of each run of `LEAF_ROWS` nodes; parts begin with such a run.

    Examples
    --------
    >>> even_cuts(np.array([1000, 1000, 1000, 1000]), n_nodes=256, n_parts=2)
    (0, 128, 256)
    """
    # A node also costs reading and writing its scores.
    upto = np.cumsum(entries + 4 * LEAF_ROWS)
    aims = upto[-1] * np.arange(1, n_parts) / n_parts
    inner = (np.searchsorted(upto, aims) + 1) * LEAF_ROWS
    cuts = {0, n_nodes} | {int(cut) for cut in inner if cut < n_nodes}
    return tuple(sorted(cuts))


def leaf_entries(strip: sp.csr_array, first_node: int) -> Int64:
    """Return the edges of each run of `LEAF_ROWS` nodes of a strip, int64."""
    leaf = (first_node + np.arange(strip.shape[0])) // LEAF_ROWS - first_node // LEAF_ROWS
    return np.bincount(leaf, weights=np.diff(strip.indptr)).astype(np.int64)


def _local_numbers(ids: Integer, start: int, stop: int, halo: Int64) -> Int32:
    own = (ids >= start) & (ids < stop)
    local = np.empty(len(ids), dtype=np.int32)
    local[own] = ids[own] - start
    local[~own] = (stop - start) + np.searchsorted(halo, ids[~own])
    return local
