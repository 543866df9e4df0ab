"""Dense and sparse rows are searched by other kernels: which ones is chosen here only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ssl_dask.kernels.knn.exact_dense import update_nearest
from ssl_dask.kernels.knn.exact_sparse import update_nearest_sparse
from ssl_dask.kernels.knn.missed_neighbours import missed_neighbours, missed_sparse_neighbours
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds
from ssl_dask.kernels.knn.shard_dense import SearchEffort, search_shard
from ssl_dask.kernels.knn.shard_sparse import SparseEffort, search_sparse_shard


class RowKind(NamedTuple):
    """The kernels that search rows of one kind."""

    name: str
    """"dense" or "sparse"."""
    exact_rows: int
    """Below so many rows all pairs are compared: that takes no longer than routing."""
    update: Callable[..., None]
    """Brings neighbour lists up to date with further points."""
    search: Callable[..., tuple[Distances, RowIds]]
    """Looks among the rows of a shard."""
    missed: Callable[..., tuple[RowIds, Distances]]
    """Finds the rows that neighbour lists lack."""
    new_row_effort: SearchEffort | SparseEffort
    """How hard new rows look in a shard: they meet no neighbours of neighbours, since the shard's
    own rows are not searched again."""


def kind_of(rows: Any) -> RowKind:
    """Return the kind of a block of rows."""
    return SPARSE if sp.issparse(rows) else DENSE


def _missed_dense(Q: Any, known: Any, kth: Any, X: Any, nodes: Any, routing: Any, how: str) -> Any:
    Zq, Z = routing.searchable(Q), routing.searchable(X)
    return missed_neighbours(Q, Zq, known, kth, X, Z, nodes, how, routing.scale)


def _missed_sparse(Q: Any, known: Any, kth: Any, X: Any, nodes: Any, _: Any, metric: str) -> Any:
    return missed_sparse_neighbours(Q, known, kth, X, nodes, metric)


DENSE = RowKind(
    "dense",
    30_000,
    update_nearest,
    search_shard,
    _missed_dense,
    SearchEffort(n_probes=16, n_joined=0, reach=np.inf),
)
# Templates of logs would gain from routing at half of it, long texts lose: a pair of texts shares
# few columns, so that all pairs cost little.
SPARSE = RowKind(
    "sparse",
    60_000,
    update_nearest_sparse,
    search_sparse_shard,
    _missed_sparse,
    SparseEffort(n_probes=32, n_joined=0, n_candidates=4, column_share=0.05),
)
