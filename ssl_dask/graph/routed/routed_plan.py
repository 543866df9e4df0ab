"""How the routed neighbour search is cut into shards, and how hard it looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from numbers import Integral
from pathlib import Path

import numpy as np

from ssl_dask.errors import GraphError
from ssl_dask.graph.knn.knn_plan import MAX_STRIPS, TASK_SHARE, RowCost
from ssl_dask.kernels.knn.cells import TILE_ROWS
from ssl_dask.kernels.knn.routing import HASHED_COLUMNS, SKETCH_COLUMNS, WIDE
from ssl_dask.kernels.knn.shard_dense import SearchEffort
from ssl_dask.kernels.knn.shard_sparse import SparseEffort

SHARD_MEMORY = 384 * 2**20
"""Bytes of a shard's task unless the job says otherwise. No number of workers or of their bytes
enters: the same job gives the same graph on any cluster."""
SHOWN = 2.3
"""Rows a shard holds for each that it owns; measured 1.5 with 2 shards, 2.3 with 32."""
SPARSE_SHOWN = 3.0
"""The same of sparse rows; measured 1.5 to 2 with 2 shards, 2 to 3.5 with 4."""
TWO_SHARDS_ROWS = 30_000
CELLS_PER_SHARD = 128
USUAL_CELLS = 2048
"""Cells are no more than this, as every row is compared with each..."""
LEAST_CELLS_PER_SHARD = 4
"""... unless shards would get too few: they are as large as whole cells allow."""
SKETCH_CANDIDATES = 3
"""Candidates a place that a search in a sketch keeps for exact distances: on images of 784 pixels 2
find .969 of the neighbours, 3 find .988, and more of anything else finds no more."""
HIGH_RECALL = 0.98
VERY_HIGH_RECALL = 0.99
FEW_SHARDS = 4
MANY_SHARDS = 48
"""More borders ask for a harder first attempt: a second one costs as much as the first."""
ROUTES_PER_FEW_SHARDS = 2
MOST_ROUTES_MORE = 10
MOST_ROUTES_MORE_AT_EASE = 4
"""With 32 shards, 10 routes find .983 of the neighbours and 16 find .989, for a quarter more rows
in each shard."""
SHORT_ROW_ENTRIES = 40
LARGEST_SAMPLE = 64 * 2**20
SPARSE_COLUMN_BYTES = 20
"""Bytes of a column in the index of a shard of sparse rows."""


@dataclass(frozen=True)
class RoutedOptions:
    """What a user may choose of a routed search.

    Raises
    ------
    GraphError
        The share or the size is not usable.
    """

    target_recall: float = 0.98
    """Share of the true neighbours to be found."""
    shard_memory: int = SHARD_MEMORY
    """Bytes of the task of a shard."""
    scratch: str | Path | None = None
    """An existing, empty folder that all workers see: rows move through it. None: by tasks."""
    index_folder: str | Path | None = None
    """Another one: the shards are kept there for new rows. None: they are not."""

    def __post_init__(self) -> None:
        share, size = self.target_recall, self.shard_memory
        if not (isinstance(share, (int, float, np.number)) and 0 < share <= 1):
            raise GraphError(
                f"target_recall is {share!r}; it must be a number above 0 and at most 1"
            )
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise GraphError(
                f"shard_memory is {size!r}; it must be a whole number of bytes above 0",
                hint="384MiB are 384 * 2**20",
            )


@dataclass(frozen=True)
class RoutedPlan:
    """Numbers that say how a routed search runs."""

    n_shards: int
    n_cells: int
    """Shards and routing cells."""
    n_sample: int
    """Rows that routing is trained on."""
    n_strips: int
    """Strips that rows are cut into; each begins at a multiple of `TILE_ROWS`."""
    task_bytes: int
    """Memory of the largest task."""


@dataclass(frozen=True)
class Attempt:
    """How hard to look: the next one is tried where the recall measured is too small."""

    effort: SearchEffort | SparseEffort
    n_routes: int


def attempts(n_columns: int, target_recall: float, n_shards: int) -> tuple[Attempt, ...]:
    """Return what is tried, one after the other: the first is usually enough.

    Parameters
    ----------
    n_columns
        Of a row.
    target_recall, n_shards
        More is asked of the first attempt for a high target, and where there are many borders.
    """
    ladder = (
        Attempt(SearchEffort(n_probes=10, reach=0.4, n_joined=12), 6),
        Attempt(SearchEffort(n_probes=12, reach=0.5), 6),
        Attempt(SearchEffort(n_probes=16, reach=0.6), 6),
        Attempt(SearchEffort(n_probes=24, reach=0.8), 8),
        Attempt(SearchEffort(n_probes=24, reach=1.0, n_rounds=2, n_candidates=2), 12),
        Attempt(SearchEffort(n_probes=48, reach=4.0, n_rounds=2, n_candidates=4), 16),
    )
    first = int(n_shards > FEW_SHARDS) + int(n_shards > MANY_SHARDS)
    first += target_recall > (HIGH_RECALL if n_shards > FEW_SHARDS else VERY_HIGH_RECALL)
    kept = SKETCH_CANDIDATES if n_columns > WIDE else 1
    # Of many shards, more lie around a row; what is lost there no effort in a shard finds.
    most = MOST_ROUTES_MORE if target_recall > HIGH_RECALL else MOST_ROUTES_MORE_AT_EASE
    more = min(max(n_shards // FEW_SHARDS - 1, 0) * ROUTES_PER_FEW_SHARDS, most)
    return tuple(
        Attempt(
            replace(step.effort, n_candidates=kept * step.effort.n_candidates), step.n_routes + more
        )
        for step in ladder[first:]
    )


def sparse_attempts(
    target_recall: float, n_shards: int, nonzeros_per_row: float
) -> tuple[Attempt, ...]:
    """Return what is tried, one after the other, for sparse rows.

    Ever more columns propose neighbours, up to those that a third of the rows have; and rows go to
    more shards than dense ones, since a sketch is a blurred view of where they lie.

    Parameters
    ----------
    target_recall, n_shards, nonzeros_per_row
        More is asked of the first attempt for a high target, where there are many borders, and of
        rows of many columns, each of which says little.
    """
    easy = (
        target_recall <= VERY_HIGH_RECALL
        and n_shards <= FEW_SHARDS
        and nonzeros_per_row <= SHORT_ROW_ENTRIES
    )
    first = (Attempt(SparseEffort(n_probes=6, n_joined=15), 6),)
    efforts = (
        SparseEffort(n_probes=16, n_joined=15, n_candidates=4, column_share=0.02),
        SparseEffort(n_probes=20, n_joined=15, n_rounds=2, n_candidates=4, column_share=0.05),
        SparseEffort(n_probes=48, n_joined=15, n_rounds=2, n_candidates=6, column_share=0.1),
        SparseEffort(n_probes=128, n_joined=15, n_rounds=2, n_candidates=8, column_share=0.33),
    )
    # Few shards can see nearly all rows; of many, a row of many routes would go to too many.
    routes = (32, 64, 128, 256) if n_shards <= FEW_SHARDS else (12, 24, 48, 64)
    return (*(first if easy else ()), *map(Attempt, efforts, routes))


def plan_routed(
    n_rows: int, cost: RowCost, *, shard_memory: int, memory_per_task: int, n_slots: int
) -> RoutedPlan:
    """Return how a routed search of N rows is cut.

    Parameters
    ----------
    shard_memory, memory_per_task
        Bytes a shard should take, and a task has.
    n_slots
        Tasks that run at a time.

    Raises
    ------
    GraphError
        A shard would not fit `memory_per_task`; says what would do.
    """
    n_columns, nonzeros_per_row = cost.n_features, cost.nonzeros_per_row
    per_owned = bytes_per_owned_row(cost)
    fixed = 2**25 + (0 if nonzeros_per_row is None else SPARSE_COLUMN_BYTES * n_columns)
    wanted = max(ceil(n_rows * per_owned / shard_memory), 2 if n_rows >= TWO_SHARDS_ROWS else 1)
    # A power of two, or a multiple of 8: shards of equal size also for the workers.
    n_shards = 1 << (wanted - 1).bit_length() if wanted <= 8 else ceil(wanted / 8) * 8
    n_cells = min(
        CELLS_PER_SHARD * n_shards,
        max(USUAL_CELLS, LEAST_CELLS_PER_SHARD * n_shards),
        max(n_rows // 64, 1),
    )
    # A shard has a cell at least; what it then needs is what has to fit.
    n_shards = min(n_shards, n_cells)
    task_bytes = int(n_rows / n_shards * per_owned) + fixed
    if task_bytes > memory_per_task * TASK_SHARE:
        raise GraphError(
            f"a shard of {ceil(n_rows / n_shards):,} rows needs {task_bytes / 2**20:.0f} MiB of a"
            f" task's {memory_per_task / 2**20:.0f} MiB, of which half may be used",
            hint=f"give a thread {2 * task_bytes / 2**20:.0f} MiB (cluster.memory in a job), or"
            " lower shard_memory, which makes more and smaller shards",
        )
    row_bytes = 4 * n_columns if nonzeros_per_row is None else int(8 * nonzeros_per_row) + 512
    n_sample = min(n_rows, 48 * n_cells, max(LARGEST_SAMPLE // row_bytes, 4096))
    strip_rows = max(
        ceil(n_rows / min(3 * n_slots, MAX_STRIPS)),
        ceil(n_rows / MAX_STRIPS),
        min(n_rows, 8 * TILE_ROWS),
    )
    return RoutedPlan(n_shards, n_cells, n_sample, ceil(n_rows / strip_rows), task_bytes)


def bytes_per_owned_row(cost: RowCost) -> float:
    """Return the bytes of a shard's task over the rows that it owns."""
    n_columns, n_neighbors, nonzeros_per_row = (
        cost.n_features, cost.n_neighbors, cost.nonzeros_per_row,
    )  # fmt: skip
    if nonzeros_per_row is not None:
        # Pieces, the shard, its rows by number, rare columns; three sketches; lists twice.
        entries = 4 * (8 * nonzeros_per_row + 8)
        shown = SPARSE_SHOWN * (entries + 12 * HASHED_COLUMNS + 32 * n_neighbors + 64)
        return shown + 48 * n_neighbors
    searched = 8 * min(n_columns, SKETCH_COLUMNS if n_columns > WIDE else n_columns)
    shown = SHOWN * (4 * n_columns + searched + 12 * n_neighbors + 64)
    return shown + 48 * n_neighbors


def aligned_chunks(n_rows: int, n_strips: int) -> tuple[int, ...]:
    """Return sizes of at most `n_strips` strips, all but the last multiples of `TILE_ROWS`."""
    size = ceil(n_rows / n_strips / TILE_ROWS) * TILE_ROWS
    return (size,) * (n_rows // size) + ((n_rows % size,) if n_rows % size else ())
