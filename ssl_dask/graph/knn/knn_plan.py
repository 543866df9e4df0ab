"""How the exact neighbour search is cut into tasks that fit a worker."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ssl_dask.errors import GraphError
from ssl_dask.kernels.knn import exact_dense, exact_sparse

MAX_STRIPS = 64
"""The exchange of edges makes a task for each pair of strips: 4,096 at most."""
STRIPS_PER_SLOT = 3
MIN_STRIP_ROWS = 1000
TASK_SHARE = 0.5
"""Share of `memory_per_task` that a task may fill; the rest is for rows the worker keeps."""
LINK_FLOPS = 1e12
"""A task of about so much work (10 s) leaves the search in steps that can be seen and repeated."""
SHARED_COLUMNS = 0.05
"""Share of the rows that have one of a sparse row's columns: measured on n-grams of short texts."""
EDGE_BYTES = 120
"""Working memory a neighbour during the exchange: lists, edges both ways round, two matrices."""


@dataclass(frozen=True)
class RowCost:
    """Bytes and work of a row in the search, for rows of one kind."""

    n_features: int
    nonzeros_per_row: float | None
    """Columns d; mean number of stored entries, None for dense rows."""
    n_neighbors: int
    """Places k in a row's list."""

    @property
    def stored(self) -> float:
        """Bytes of a row as it is kept and moved."""
        if self.nonzeros_per_row is None:
            return 4.0 * self.n_features
        return 8.0 * self.nonzeros_per_row + 8.0

    @property
    def working(self) -> float:
        """Bytes of the copies of a row while it is searched for or in: moved, of unit length."""
        return (8.0 * self.n_features if self.nonzeros_per_row is None else 0.0) + 40.0

    @property
    def lists(self) -> float:
        """Bytes of a row's lists in a task: those handed over and those handed on."""
        return 32.0 * self.n_neighbors

    @property
    def query(self) -> float:
        """Bytes of a row that is searched for."""
        return self.stored + self.working + max(self.lists, float(EDGE_BYTES * self.n_neighbors))

    @property
    def fixed(self) -> float:
        """Bytes of a search task whatever its rows: a tile of products, or an inverted index."""
        if self.nonzeros_per_row is None:
            tile = 4 * exact_dense.TILE_QUERIES * exact_dense.TILE_POINTS
            return tile + 2.0**21 + 8.0 * exact_dense.CENTRE_SAMPLE * 2 * self.n_features
        entries = exact_sparse.TILE_POINTS * self.nonzeros_per_row
        return 12.0 * self.n_features + entries * (8 + 4 * exact_sparse.DENSE_SHARE)

    @property
    def flops_per_pair(self) -> float:
        """Floating point operations of one pair of rows."""
        if self.nonzeros_per_row is None:
            return 2.0 * self.n_features
        return 2.0 * self.nonzeros_per_row * SHARED_COLUMNS + 1.0


def strip_count(n_rows: int, cost: RowCost, n_slots: int, memory_per_task: int) -> int:
    """Return into how many strips `n_rows` rows are cut: enough for all slots and for memory.

    Raises
    ------
    GraphError
        Even 64 strips are too large for `memory_per_task`; says what would do.
    """
    room = memory_per_task * TASK_SHARE - cost.fixed
    per_row = cost.query + cost.stored + cost.working
    by_memory = ceil(n_rows * per_row / room) if room > 0 else MAX_STRIPS + 1
    if by_memory > MAX_STRIPS:
        needed = (cost.fixed + ceil(n_rows / MAX_STRIPS) * per_row) / TASK_SHARE
        raise GraphError(
            f"the exact neighbour graph of {n_rows} rows needs {needed / 2**20:.0f} MiB a task;"
            f" there are {memory_per_task / 2**20:.0f} MiB",
            hint="give workers more memory (cluster.memory of a job) or fewer threads, or the rows"
            " fewer columns",
        )
    return max(usual_strips(n_rows, n_slots), by_memory)


def usual_strips(n_rows: int, n_slots: int) -> int:
    """Return into how many strips rows are cut where memory is no question."""
    return min(STRIPS_PER_SLOT * n_slots, max(n_rows // MIN_STRIP_ROWS, 1), MAX_STRIPS)


def strips_per_link(query_rows: int, point_rows: int, cost: RowCost, memory_per_task: int) -> int:
    """Return how many strips of `point_rows` points one task searches for `query_rows` rows."""
    room = (
        memory_per_task * TASK_SHARE
        - cost.fixed
        - query_rows * cost.query
        - point_rows * cost.working
    )
    by_memory = int(room // (point_rows * cost.stored))
    by_work = int(LINK_FLOPS // (query_rows * point_rows * cost.flops_per_pair))
    return max(min(by_memory, by_work), 1)
