"""Routing of rows to shards for approximate kNN (inverted-file index), and sparse sketches.

k-means cells of a sample are grouped into shards of nearly equal weight. A shard owns the rows
whose nearest cell it has. It borrows rows with one of its cells among their nearest few, so that
neighbours across the border of a shard can be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
import scipy.linalg
import scipy.sparse as sp

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.kernels.knn.cells import TILE_ROWS, balanced_groups, k_means, nearest_cells
from ssl_dask.kernels.knn.exact_distance import squared_lengths

WIDE = 256
"""Rows with more columns are searched by their first `SKETCH_COLUMNS` principal components."""
SKETCH_COLUMNS = 64
CENTRE_SAMPLE = 1000
"""Rows that the centre is estimated from."""
USUAL_SPREAD = 2.0**40
"""Rows are rescaled if their spread is above this or below its inverse, so that squares neither
overflow nor underflow in float32."""
FARTHEST = np.float32(2.0**50)
"""Bound of searched values, so that squares of outliers stay finite."""
HASHED_COLUMNS = 128
"""Columns of `column_sketch`, a power of two."""
PLACES = 4
"""Sketch columns per feature: with one alone, two heavy features could collide."""


@dataclass(frozen=True)
class Routing:
    """Maps rows to cells and shards."""

    centre: Float32
    """float32 (d,), or (128,) for sketched sparse rows: subtracted from each row first, so that
    float32 products keep their digits."""
    axes: Float32 | None
    """float32 (d, s): principal axes; None: s = d, rows are not projected."""
    cosine: bool
    """Whether rows are first scaled to unit length."""
    scale: float
    """Power of two that multiplies rows of unusual spread; else 1."""
    centres: Float32
    """float32 (m, s): cell centres, in the order of their ranks."""
    shard_of_cell: Int32
    """int32 (m,), ascending."""

    @property
    def n_shards(self) -> int:
        """Number of shards P."""
        return int(self.shard_of_cell[-1]) + 1

    def searchable(self, X: Any) -> Float32:
        """Return rows, dense or CSR, as they are searched: float32 (n, s), C-contiguous."""
        rows = column_sketch(X) if sp.issparse(X) else X
        return _searchable(rows, self.centre, self.axes, self.cosine, self.scale)


class RoutedRows(NamedTuple):
    """Rows of one strip, sorted by shard."""

    X: Any
    """float32 (r, d), dense or CSR: each row once per shard that owns or borrows it."""
    cell: Int32
    """int32 (r,): rank of each row's own cell."""
    place: Int32
    """int32 (r,): number of rows of the strip before it that have the same cell."""
    bounds: Int64
    """int64 (P + 1,): shard p has the rows bounds[p] to bounds[p + 1]."""

    def piece(self, shard: int) -> tuple[Any, Int32, Int32]:
        """Return (X, cell, place) of the rows for one shard."""
        part = slice(self.bounds[shard], self.bounds[shard + 1])
        return self.X[part], self.cell[part], self.place[part]


class RowPlaces(NamedTuple):
    """Cells of the rows of one strip, from which node numbers are made."""

    cell: Int32
    """int32 (n,): rank of each row's own cell; -1 for a copy of another row."""
    place: Int32
    """int32 (n,): number of rows of the strip before it that have the same cell."""
    counts: Int64
    """int64 (m,): rows of each cell."""


def train_routing(sample: Any, *, cosine: bool, n_cells: int, n_shards: int, seed: int) -> Routing:
    """Train a routing on sampled rows: centre, principal axes, k-means, balanced shards.

    Parameters
    ----------
    sample
        float32 (m, d), dense or CSR; for cosine rows of zeros are left out.
    n_cells, n_shards
        Wanted numbers; fewer if the sample has fewer distinct rows.
    seed
        Random state of k-means.

    Notes
    -----
    10 m n_cells s flops, and d^2 m more for a sketch.
    """
    if sp.issparse(sample):
        sample = column_sketch(sample)
    if cosine:
        sample = sample[squared_lengths(sample) > 0]
    centre = np.zeros(sample.shape[1], dtype=np.float32)
    if len(sample) == 0:
        return Routing(centre, None, cosine, 1.0, centre[None], np.zeros(1, dtype=np.int32))
    # The median, because a few outliers would pull a mean away from most rows. The compiled sums
    # need contiguous rows.
    some = np.ascontiguousarray(sample[:: max(len(sample) // CENTRE_SAMPLE, 1)])
    if cosine:
        some = _searchable(some, centre, None, cosine, 1.0)
    middle = np.median(some.astype(np.float64), axis=0)
    centre = middle.astype(np.float32)
    scale = 1.0 if cosine else _scale(np.abs(some - middle).max(axis=1))
    axes = None
    if sample.shape[1] > WIDE:
        axes = _principal_axes(_searchable(sample, centre, None, cosine, scale), SKETCH_COLUMNS)
    Z = _searchable(sample, centre, axes, cosine, scale)
    centres = k_means(Z, n_cells, seed)
    weights = np.bincount(nearest_cells(Z, centres, 1)[:, 0], minlength=len(centres))
    shard, rank = balanced_groups(centres, weights.astype(float), min(n_shards, len(centres)))
    order = np.argsort(rank)
    ranked = np.ascontiguousarray(centres[order])
    return Routing(centre, axes, cosine, scale, ranked, shard[order])


def route_rows(
    X: Any, is_copy: Bool | None, routing: Routing, n_routes: int
) -> tuple[RoutedRows, RowPlaces]:
    """Return the rows of a strip sorted by shard, each once per shard that owns or borrows it.

    Parameters
    ----------
    X
        float32 (n, d), C-contiguous or CSR. The strip begins at a multiple of `TILE_ROWS` rows.
    is_copy
        bool (n,): copies of other rows, which are not routed; None: there are none.
    n_routes
        A row goes to the shards of its `n_routes` nearest cells.
    """
    nearest = nearest_cells(
        routing.searchable(X), routing.centres, min(n_routes, len(routing.centres))
    )
    cell = nearest[:, 0].copy()
    if is_copy is not None:
        cell[is_copy] = -1
    counts, place = _places(cell, len(routing.centres))
    shard, row = _by_shard(routing.shard_of_cell[nearest], cell >= 0, routing.n_shards)
    bounds = np.searchsorted(shard, np.arange(routing.n_shards + 1))
    return RoutedRows(X[row], cell[row], place[row], bounds), RowPlaces(cell, place, counts)


def home_shards(X: Any, routing: Routing) -> Int32:
    """Return the shard that owns each row, dense or CSR, int32 (n,)."""
    return routing.shard_of_cell[nearest_cells(routing.searchable(X), routing.centres, 1)[:, 0]]


def _by_shard(shards: Int32, goes: Bool, n_shards: int) -> tuple[Int64, Int64]:
    """Return the distinct pairs (shard, row) of all routes, sorted."""
    shown = np.zeros((n_shards, len(shards)), dtype=bool)
    rows = np.flatnonzero(goes)
    for column in shards.T:
        shown[column[rows], rows] = True
    return np.nonzero(shown)  # type: ignore[return-value]


def _scale(spreads: Float64) -> float:
    """Return the power of two that brings an unusual median spread into [0.5, 1), else 1."""
    spread = float(np.median(spreads)) or float(spreads.max())
    if spread == 0 or 1 / USUAL_SPREAD <= spread <= USUAL_SPREAD:
        return 1.0
    return 2.0 ** min(-int(np.frexp(spread)[1]), 126)


def _searchable(
    X: Float32, centre: Float32, axes: Float32 | None, cosine: bool, scale: float
) -> Float32:
    n_columns = X.shape[1] if axes is None else axes.shape[1]
    Z = np.empty((len(X), n_columns), dtype=np.float32)
    factor = np.float32(scale)
    for start in range(0, len(X), TILE_ROWS):
        rows = X[start : start + TILE_ROWS]
        if cosine:
            length = np.sqrt(squared_lengths(rows))
            rows = (rows / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)
        moved = rows - centre if scale >= 1 else rows * factor - centre * factor
        if scale > 1:
            moved *= factor
        np.clip(moved, -FARTHEST, FARTHEST, out=moved)
        if axes is None:
            Z[start : start + TILE_ROWS] = moved
        else:
            np.matmul(moved, axes, out=Z[start : start + TILE_ROWS])
    return Z


def _principal_axes(centred: Float32, n_axes: int) -> Float32:
    """Return the axes of the largest variance of centred rows, float32 (d, n_axes)."""
    scatter = (centred.T @ centred).astype(np.float64)
    d = len(scatter)
    _, axes = scipy.linalg.eigh(scatter, subset_by_index=[max(d - n_axes, 0), d - 1])
    return np.ascontiguousarray(axes[:, ::-1], dtype=np.float32)


@numba.njit(nogil=True, cache=True)
def _places(cell: Any, n_cells: int) -> Any:
    counts = np.zeros(n_cells, np.int64)
    place = np.zeros(len(cell), np.int32)
    for i in range(len(cell)):
        if cell[i] >= 0:
            place[i] = counts[cell[i]]
            counts[cell[i]] += 1
    return counts, place


def column_sketch(X: sp.csr_array) -> Float32:
    """Project sparse rows at random to 128 dense columns, CSR (n, d) -> float32 (n, 128).

    Used to route rows, not to rank neighbours: inner products are right on average, with an error
    of about |x| |y| / sqrt(128). Each feature is added with a sign to `PLACES` columns that a fixed
    hash of its number picks, so the bits of a row depend on the row alone. `PLACES` additions an
    entry.

    Parameters
    ----------
    X
        csr_array float32 with sorted columns.

    References
    ----------
    K. Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009; several
    places a feature as in D. Kane, J. Nelson, Sparser Johnson-Lindenstrauss transforms, J. ACM
    2014.
    """
    Z = np.zeros((X.shape[0], HASHED_COLUMNS), dtype=np.float32)
    _add_columns(X.data, X.indices, X.indptr, Z)
    return Z


@numba.njit(nogil=True, cache=True)
def _mixed(word: Any) -> Any:
    """Hash 64 bits: the finaliser of MurmurHash3."""
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> np.uint64(33))


@numba.njit(nogil=True, cache=True)
def _add_columns(data: Any, indices: Any, indptr: Any, Z: Any) -> None:
    mask = np.uint64(Z.shape[1] - 1)
    scale = np.float32(1.0 / np.sqrt(PLACES))
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            bits = _mixed(np.uint64(indices[p]) + np.uint64(1))
            value = scale * data[p]
            for _ in range(PLACES):
                place = bits & mask
                if bits & np.uint64(0x8000):
                    Z[i, place] -= value
                else:
                    Z[i, place] += value
                bits >>= np.uint64(16)
