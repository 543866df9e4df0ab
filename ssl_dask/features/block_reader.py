"""How columns of a block are read, and trees of tasks that merge statistics of blocks."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Float64

Columns = Mapping[str, npt.NDArray[Any]]
"""Arrays of one block by column name, in the forms of `BlockReader.read`."""

MERGE_WIDTH = 4
"""Statistics that one task merges, and holds at a time."""
SURVEYS_PER_SLOT = 8
"""Tasks of a pass for each task slot."""

Statistics = TypeVar("Statistics")


class BlockReader(Protocol):
    """Reads columns of one block of rows; picklable, `read` runs on a worker."""

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Rows of each block."""

    def read(self, block: int, kinds: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns named by `kinds` of block number `block`.

        Parameters
        ----------
        block
            Counts from 0.
        kinds
            For each column "numeric" (float64 (n,), null as NaN), "string" (object (n,) of str or
            None), "vector" (float32 or float64 (n, width)) or "vector_or_null" (the same with NaN
            in null rows; (n, 0) if all rows are null and the schema gives no length).
        """


def add_all(parts: Sequence[Any]) -> Any:
    """Add statistics with `+`, first to last."""
    return reduce(operator.add, parts)


def runs_of_blocks(n_blocks: int, n_slots: int) -> list[range]:
    """Cut the blocks into at most `SURVEYS_PER_SLOT` runs a slot, of nearly equal length.

    >>> runs_of_blocks(20, n_slots=1)[:3]
    [range(0, 2), range(2, 5), range(5, 7)]
    """
    n_runs = min(n_blocks, n_slots * SURVEYS_PER_SLOT)
    bounds = [n_blocks * i // n_runs for i in range(n_runs + 1)] if n_runs else [0]
    return [range(a, b) for a, b in pairwise(bounds)]


def merge_on_workers(
    parts: Sequence[Delayed], merge: Callable[[Sequence[Statistics]], Statistics]
) -> Delayed:
    """Return the root of a reduction tree in which each task merges `MERGE_WIDTH` parts.

    `merge` must be associative and commutative: exact sums, counts, extremes.
    """
    level = list(parts)
    task = delayed(merge, pure=False)
    while len(level) > 1:
        level = [
            task(level[i : i + MERGE_WIDTH]) if len(level[i : i + MERGE_WIDTH]) > 1 else level[i]
            for i in range(0, len(level), MERGE_WIDTH)
        ]
    return level[0]


def is_null(cells: npt.NDArray[np.object_]) -> Bool:
    """Return which cells of a string column are None, bool (n,)."""
    return np.asarray(np.equal(cells, np.array(None)), dtype=np.bool_)


def stack_columns(columns: Columns, names: Sequence[str]) -> Float64:
    """Return numeric columns side by side, float64 (n, d)."""
    return np.column_stack([columns[name] for name in names]).astype(np.float64, copy=False)
